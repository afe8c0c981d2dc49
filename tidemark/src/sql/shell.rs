//! The shell: statements that end with `;`, and commands that begin with `\`, until Ctrl-D.
//!
//! [`assistant`] reads and completes the input with the [`names`] that the server has; [`command`] knows the commands; [`view`] shows
//! answers. Ctrl-C at the prompt clears the input; during a query it cancels the query on the server.

use std::{ops::ControlFlow, path::PathBuf, pin::pin, rc::Rc, time::Instant};

use anyhow::Context;
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::FileHistory};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
};

use self::{
    assistant::Assistant,
    command::{Command, HELP},
    view::{View, elapsed},
};
use super::{server, server::Server, statements};
use crate::output::print;

mod assistant;
mod command;
mod history;
mod lines;
mod names;
mod view;

const PROMPT: &str = "tidemark> ";
const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";

/// A conversation with a server.
pub(super) struct Shell {
    server: Rc<Server>,
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
    view: View,
}

impl Shell {
    /// A shell whose answers have this format.
    ///
    /// # Errors
    /// The format is not one for a terminal, or the terminal cannot be used.
    pub(super) fn open(server: Server, format: &str) -> anyhow::Result<Self> {
        let view = View::new(format)?;
        let server = Rc::new(server);
        let config = Config::builder().max_history_size(history::MOST_ENTRIES)?.history_ignore_space(true);
        let config = config.completion_type(CompletionType::List).build();
        let mut editor = Editor::with_config(config).context("the terminal cannot be used")?;
        editor.set_helper(Some(Assistant::new(Rc::clone(&server))));
        let history = history::open(&mut editor).inspect_err(|error| eprintln!("note: the history is not kept: {error:#}")).ok();
        Ok(Self { server, editor, history, view })
    }

    /// Answers until the person leaves.
    ///
    /// # Errors
    /// Nothing answers at the server's address, or the terminal fails.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        self.server.greet().await?;
        print(&format!("Tidemark at {}. A statement ends with `;`; \\? shows the commands, \\q leaves.", self.server.url()))?;
        loop {
            match block_in_place(|| self.editor.readline(PROMPT)) {
                Ok(input) => {
                    self.remember(&input);
                    if self.obey(input.trim()).await?.is_break() {
                        return Ok(());
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error).context("the terminal cannot be read"),
            }
        }
    }

    /// Keeps the input for later shells at once, so that none is lost however this one ends.
    fn remember(&mut self, input: &str) {
        let (Some(file), Ok(true)) = (&self.history, self.editor.add_history_entry(input.trim_end())) else { return };
        if let Err(error) = self.editor.append_history(file) {
            eprintln!("note: the history is no longer kept: {error}");
            self.history = None;
        }
    }

    async fn obey(&mut self, input: &str) -> anyhow::Result<ControlFlow<()>> {
        match Command::read(input) {
            Some(Ok(Command::Quit)) => return Ok(ControlFlow::Break(())),
            Some(Ok(Command::Help)) => print(HELP)?,
            Some(Ok(Command::Tables)) => self.answer(TABLES).await.map(|_| ())?,
            Some(Ok(Command::Describe(table))) => self.answer(&format!("DESCRIBE {table}")).await.map(|_| ())?,
            Some(Ok(Command::Format(name))) => print(&self.view.set_format(name))?,
            Some(Ok(Command::Timing)) => print(self.view.toggle_timing())?,
            Some(Ok(Command::Expanded)) => print(self.view.toggle_expanded())?,
            Some(Err(unknown)) => eprintln!("error: {unknown}"),
            None => self.answer_all(input).await?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Asks one statement after the other, up to the first that has no answer.
    async fn answer_all(&self, input: &str) -> anyhow::Result<()> {
        for statement in statements::split(input).complete {
            if !self.answer(statement).await? {
                break;
            }
        }
        Ok(())
    }

    /// Asks and shows the answer, or why there is none; then false. Ctrl-C cancels the query on the server, and a second one no longer
    /// waits for it to end.
    ///
    /// # Errors
    /// This process cannot get signals.
    async fn answer(&self, statement: &str) -> anyhow::Result<bool> {
        let (began, query_id) = (Instant::now(), server::new_query_id());
        let mut interrupts = signal(SignalKind::interrupt()).context("Ctrl-C cannot be noticed")?;
        let mut asked = pin!(self.show(statement, &query_id));
        let mut cancelled = None;
        loop {
            tokio::select! {
                shown = &mut asked => return Ok(told(shown, cancelled == Some(true), began)),
                _ = interrupts.recv() => match cancelled {
                    None => cancelled = Some(self.cancel(&query_id).await),
                    Some(_) => {
                        eprintln!("no longer waiting for the query");
                        return Ok(false);
                    }
                },
            }
        }
    }

    async fn show(&self, statement: &str, query_id: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut answer = self.server.ask(statement, self.view.format(), query_id).await?;
        let rows = self.view.print(&mut answer).await?;
        print(&self.view.footer(rows, began.elapsed()))?;
        answer.notes().for_each(|note| eprintln!("note: {note}"));
        Ok(())
    }

    /// Whether the server has been told to end the query.
    async fn cancel(&self, query_id: &str) -> bool {
        self.server.cancel(query_id).await.inspect_err(|error| eprintln!("not cancelled: {error:#}")).is_ok()
    }
}

/// Says why there is no answer; whether there is one.
fn told(shown: anyhow::Result<()>, is_cancelled: bool, began: Instant) -> bool {
    match &shown {
        Ok(()) => {}
        Err(_) if is_cancelled => eprintln!("cancelled on the server after {}", elapsed(began.elapsed())),
        Err(error) => eprintln!("error: {error:#}"),
    }
    shown.is_ok()
}
