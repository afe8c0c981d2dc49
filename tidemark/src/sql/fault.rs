//! What the server objects to, shown in the statement: the line, and a caret under the column.

use crate::client::{Error, Problem};

/// The most characters of a line that are shown, and how many of them stand before the caret in a longer one.
const WINDOW: usize = 100;
const BEFORE_CARET: usize = 60;

/// A statement that the server refuses.
#[derive(Debug, thiserror::Error)]
#[error("{problem}{excerpt}")]
struct BadStatement {
    problem: Problem,
    excerpt: String,
}

/// The error with its place in the statement, when the server names one.
pub(super) fn shown(error: Error, statement: &str) -> anyhow::Error {
    match error {
        Error::Refused(problem) => {
            let excerpt = problem.place().and_then(|(line, column)| excerpt(statement, line, column)).unwrap_or_default();
            BadStatement { problem, excerpt }.into()
        }
        other => other.into(),
    }
}

/// The line and a caret under the column, both counted from 1; `None` when the statement has no such place.
fn excerpt(statement: &str, line: u64, column: u64) -> Option<String> {
    let text = statement.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?.replace('\t', " ");
    let text: Vec<char> = text.chars().collect();
    let column = usize::try_from(column).ok()?.checked_sub(1).filter(|column| *column <= text.len())?;
    let first = if text.len() > WINDOW { column.saturating_sub(BEFORE_CARET) } else { 0 };
    let shown: String = text.iter().skip(first).take(WINDOW).collect();
    let before: String = text[first..column].iter().collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let indent = " ".repeat(console::measure_text_width(&before));
    Some(format!("\n  {number} | {shown}\n  {gutter} | {indent}^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let shown = excerpt("SELECT 1,\n  chanel\nFROM events", 2, 3).unwrap();
        assert_eq!(shown, "\n  2 |   chanel\n    |   ^");
        assert_eq!(
            excerpt("SELECT '日本', x", 1, 14).unwrap(),
            "\n  1 | SELECT '日本', x\n    |                ^",
            "by width, not by bytes"
        );
        assert_eq!(excerpt("SELECT\tx", 1, 8).unwrap(), "\n  1 | SELECT x\n    |        ^");
        assert_eq!(excerpt("SELECT", 1, 7).unwrap(), "\n  1 | SELECT\n    |       ^", "the end is a place");
    }

    #[test]
    fn a_place_that_is_not_there_shows_nothing() {
        for (line, column) in [(0, 1), (1, 0), (2, 1), (1, 10)] {
            assert_eq!(excerpt("SELECT 1", line, column), None, "{line}:{column}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let statement = format!("SELECT {} AS x FROM nowhere", "1 + ".repeat(200));
        let column = statement.find("nowhere").unwrap() + 1;
        let shown = excerpt(&statement, 1, u64::try_from(column).unwrap()).unwrap();
        let lines: Vec<&str> = shown.lines().skip(1).collect();
        assert!(lines[0].chars().count() <= WINDOW + 8, "{shown}");
        assert_eq!(lines[0].find("nowhere"), lines[1].find('^'), "{shown}");
    }
}
