//! Helps while somebody types: completes names, and knows when a statement is complete.

use std::{cell::OnceCell, rc::Rc};

use rustyline::{
    Context, Helper, Result,
    completion::Completer,
    highlight::Highlighter,
    hint::Hinter,
    validate::{ValidationContext, ValidationResult, Validator},
};
use sqlparser::{keywords::Keyword, tokenizer::Token};
use tokio::runtime::Handle;

use super::{
    command::{COMMANDS, Command},
    names::{KEYWORDS, Names},
    view::Form,
};
use crate::sql::{
    server::Server,
    statements::{self, Statements},
};

/// The words after which a table is meant.
const BEFORE_TABLE: [Keyword; 4] = [Keyword::FROM, Keyword::JOIN, Keyword::DESCRIBE, Keyword::TABLE];

/// The names of a server, asked for when they are first wanted.
pub(super) struct Assistant {
    server: Rc<Server>,
    names: OnceCell<Names>,
}

impl Assistant {
    /// Nothing is asked yet.
    pub(super) fn new(server: Rc<Server>) -> Self {
        Self { server, names: OnceCell::new() }
    }

    /// The names; none while the server does not tell them, and then the next wish asks again.
    fn names(&self) -> Option<&Names> {
        if self.names.get().is_none() {
            let loaded = Handle::current().block_on(Names::load(&self.server))?;
            return Some(self.names.get_or_init(|| loaded));
        }
        self.names.get()
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _context: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(complete(&line[..position], &mut || self.names()))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

/// Whether Enter ends the input: a command, or nothing that still waits for its `;`.
fn is_complete(input: &str) -> bool {
    Command::read(input).is_some() || matches!(statements::split(input), Statements { rest: None, .. })
}

/// Where the word before the cursor begins, and what it may become.
fn complete<'a>(before: &str, names: &mut dyn FnMut() -> Option<&'a Names>) -> (usize, Vec<String>) {
    let is_command = before.starts_with('\\');
    if is_command && !before.contains(char::is_whitespace) {
        return (0, beginning(before, &COMMANDS));
    }
    let start = word_start(before);
    let (context, word) = before.split_at(start);
    (start, if is_command { of_command(context.trim_end(), word, names) } else { of_statement(context, word, names) })
}

fn word_start(before: &str) -> usize {
    let word = before.char_indices().rev().take_while(|(_, character)| character.is_alphanumeric() || *character == '_');
    word.last().map_or(before.len(), |(at, _)| at)
}

fn of_command<'a>(command: &str, word: &str, names: &mut dyn FnMut() -> Option<&'a Names>) -> Vec<String> {
    match command {
        "\\d" => names().map(|names| beginning(word, &names.tables)).unwrap_or_default(),
        "\\format" => beginning(word, &Form::NAMES.map(|(name, _)| name)),
        _ => Vec::new(),
    }
}

fn of_statement<'a>(context: &str, word: &str, names: &mut dyn FnMut() -> Option<&'a Names>) -> Vec<String> {
    let (tokens, is_outside_of_texts) = statements::tokens(context);
    let previous = tokens.iter().rev().map(|token| &token.token).find(|token| !matches!(token, Token::Whitespace(_)));
    let wants_table = matches!(previous, Some(Token::Word(word)) if BEFORE_TABLE.contains(&word.keyword));
    let tables = names().filter(|_| is_outside_of_texts && wants_table).map(|names| beginning(word, &names.tables)).unwrap_or_default();
    match (is_outside_of_texts, word, &tables[..]) {
        (false, ..) | (true, "", []) => Vec::new(),
        (true, _, []) => anywhere(word, names()),
        (true, ..) => tables,
    }
}

/// What may stand at any place in a statement.
fn anywhere(word: &str, names: Option<&Names>) -> Vec<String> {
    let is_lower = !word.contains(char::is_uppercase);
    let mut candidates = beginning(word, &KEYWORDS.map(|keyword| if is_lower { keyword.to_lowercase() } else { keyword.to_owned() }));
    if let Some(Names { tables, columns, functions }) = names {
        candidates.extend([beginning(word, columns), beginning(word, tables)].concat());
        candidates.extend(beginning(word, functions).into_iter().map(|function| format!("{function}(")));
    }
    candidates.sort();
    candidates.dedup();
    candidates
}

/// The names that begin like a word, whatever its case.
fn beginning(word: &str, names: &[impl AsRef<str>]) -> Vec<String> {
    let word = word.to_lowercase();
    names.iter().map(AsRef::as_ref).filter(|name| name.to_lowercase().starts_with(&word)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> (usize, Vec<String>) {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names {
            tables: texts(&["events", "event_names", "quarantine"]),
            columns: texts(&["event_name", "channel", "_shard"]),
            functions: texts(&["count", "char_length"]),
        };
        complete(before, &mut || Some(&names))
    }

    #[test]
    fn a_word_becomes_a_keyword_a_column_a_table_or_a_function() {
        assert_eq!(completed("SELECT cha"), (7, vec!["channel".to_owned(), "char_length(".to_owned()]));
        assert_eq!(completed("SELECT e.event_n"), (9, vec!["event_name".to_owned(), "event_names".to_owned()]));
        assert_eq!(completed("SELECT max(_s"), (11, vec!["_shard".to_owned()]));
        assert_eq!(completed("sel"), (0, vec!["select".to_owned()]));
        assert_eq!(completed("SELECT 'ü' WHER"), (12, vec!["WHERE".to_owned()]));
    }

    #[test]
    fn after_from_and_join_only_tables_are_offered() {
        assert_eq!(completed("SELECT 1 FROM e").1, ["events", "event_names"]);
        assert_eq!(completed("SELECT 1\nfrom  ").1, ["events", "event_names", "quarantine"]);
        assert_eq!(completed("SELECT 1 FROM events JOIN q").1, ["quarantine"]);
    }

    #[test]
    fn in_a_text_or_after_a_space_nothing_is_offered() {
        assert_eq!(completed("SELECT 'cha").1, [""; 0]);
        assert_eq!(completed("SELECT ").1, [""; 0]);
    }

    #[test]
    fn commands_are_completed_with_what_they_take() {
        assert_eq!(completed("\\"), (0, COMMANDS.map(str::to_owned).to_vec()));
        assert_eq!(completed("\\fo"), (0, vec!["\\format".to_owned()]));
        assert_eq!(completed("\\format js"), (8, vec!["json".to_owned(), "jsonl".to_owned()]));
        assert_eq!(completed("\\d qu"), (3, vec!["quarantine".to_owned()]));
    }

    #[test]
    fn without_the_server_the_words_of_sql_remain() {
        assert_eq!(complete("SELECT co", &mut || None).1, ["columns"]);
    }

    #[test]
    fn enter_ends_a_command_and_a_statement_with_its_semicolon() {
        for input in ["", "\\d events", "SELECT 1;", "SELECT 1; -- done", "quit"] {
            assert!(is_complete(input), "{input}");
        }
        for input in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "/* ;"] {
            assert!(!is_complete(input), "{input}");
        }
    }
}
