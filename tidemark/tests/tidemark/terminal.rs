//! A command on a real pseudo-terminal, which `script` of util-linux makes: keys go in, and what a person would see comes out.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::until;

use crate::process::tidemark;

pub(crate) const ENTER: &str = "\r";
pub(crate) const TAB: &str = "\t";
pub(crate) const UP: &str = "\u{1b}[A";
pub(crate) const CTRL_C: &str = "\u{3}";
pub(crate) const CTRL_D: &str = "\u{4}";

const SOON: Duration = Duration::from_secs(20);

/// A terminal of 100 columns in which a command of the binary runs; ended on drop.
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    bytes: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Terminal {
    /// Runs a command of the binary; its state is kept in a folder.
    pub(crate) fn run(arguments: &[&str], state: &Path) -> Self {
        let command = tidemark(arguments);
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
        let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        script.args(["-qfec", &format!("stty rows 40 cols 100; exec {}", words.join(" ")), "/dev/null"]);
        for (name, _) in command.get_envs() {
            script.env_remove(name);
        }
        script.env("XDG_STATE_HOME", state).env("TERM", "xterm").env_remove("NO_COLOR").env("SHELL", "/bin/sh");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut chunk) {
                collected.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { child, keys, bytes, seen: 0 }
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until a text is shown after everything that was waited for before; gives what was shown up to its end.
    pub(crate) async fn shows(&mut self, text: &str) -> String {
        let begin = self.seen;
        let found = until(&format!("`{text}` on the terminal; it shows {}", self.screen()), SOON, async || {
            self.screen()[begin..].find(text).map(|at| begin + at + text.len())
        })
        .await;
        self.seen = found;
        self.screen()[begin..found].to_owned()
    }

    /// Waits until the command has ended; its exit code.
    pub(crate) async fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        until("the command on the terminal to end", SOON, || std::future::ready(child.try_wait().unwrap())).await.code()
    }

    /// Everything shown so far, without the codes that move the cursor and colour.
    pub(crate) fn screen(&self) -> String {
        console::strip_ansi_codes(&self.raw()).into_owned()
    }

    /// Everything shown so far, with its codes.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the terminal shows:\n{}", self.screen());
        }
    }
}
