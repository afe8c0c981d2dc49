//! What begins with `\`: commands to the shell itself.

/// What `\?` shows.
pub(super) const HELP: &str = "  SELECT ...;      a statement ends with `;` and may have several lines
  \\d               the tables
  \\d TABLE         the columns of a table
  \\format NAME     the shape of answers: pretty, csv, tsv, json or jsonl
  \\x               each column on a line of its own, or no longer
  \\timing          how long each answer took, or no longer
  \\?               this text
  \\q               leave; also Ctrl-D

  Tab completes; Ctrl-R searches what was typed before, except what began with a space.
  Ctrl-C clears the input, and cancels a running query on the server.";

/// All commands, for completion.
pub(super) const COMMANDS: [&str; 6] = ["\\d", "\\format", "\\q", "\\timing", "\\x", "\\?"];

/// A command to the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// Show the tables.
    Tables,
    /// Show the columns of a table.
    Describe(&'a str),
    /// Change the shape of answers; without a name, tell it.
    Format(Option<&'a str>),
    /// Show the time of answers, or no longer.
    Timing,
    /// Show each column on a line, or no longer.
    Expanded,
    /// Show the commands.
    Help,
    /// End the shell.
    Quit,
}

/// A text that begins like a command and is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no command; \\? shows all")]
pub(super) struct Unknown(String);

impl<'a> Command<'a> {
    /// Reads a command; `None` for what is not meant as one.
    pub(super) fn read(input: &'a str) -> Option<Result<Self, Unknown>> {
        let input = input.trim().trim_end_matches(';').trim_end();
        let (name, argument) = input.split_once(char::is_whitespace).map_or((input, None), |(name, rest)| (name, Some(rest.trim())));
        let command = match (name, argument) {
            ("\\d", None) => Self::Tables,
            ("\\d", Some(table)) => Self::Describe(table),
            ("\\format", name) => Self::Format(name),
            ("\\timing", None) => Self::Timing,
            ("\\x", None) => Self::Expanded,
            ("\\?" | "\\h" | "help", None) => Self::Help,
            ("\\q" | "quit" | "exit", None) => Self::Quit,
            _ if name.starts_with('\\') => return Some(Err(Unknown(input.to_owned()))),
            _ => return None,
        };
        Some(Ok(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_backslash_and_a_name_and_quit_is_understood() {
        let read = |input| Command::read(input).unwrap().unwrap();
        assert_eq!(read("\\d"), Command::Tables);
        assert_eq!(read(" \\d  events ; "), Command::Describe("events"));
        assert_eq!(read("\\format csv"), Command::Format(Some("csv")));
        assert_eq!(read("\\format"), Command::Format(None));
        assert_eq!((read("quit"), read("exit;")), (Command::Quit, Command::Quit));
        for command in COMMANDS {
            assert!(Command::read(command).unwrap().is_ok() && HELP.contains(command), "{command}");
        }
    }

    #[test]
    fn a_statement_is_no_command_and_another_backslash_is_refused() {
        assert_eq!(Command::read("SELECT 1;"), None);
        assert_eq!(Command::read("help me;"), None);
        assert!(Command::read("\\dt").unwrap().unwrap_err().to_string().contains("`\\dt` is no command"));
    }
}
