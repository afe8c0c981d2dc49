//! How the shell shows answers: their form, whether each column has a line, and what stands below them.

use std::{fmt::Write, time::Duration};

use anyhow::{Context, bail};
use indicatif::HumanCount;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::lines::LineCounter;
use crate::{members::Members, output, sql::answer::Answer, terminal};

/// The shapes of answers that are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Pretty,
    Csv,
    Tsv,
    Json,
    JsonLines,
}

impl Form {
    /// As `--format` and `\format` take them.
    pub(super) const NAMES: [(&str, Self); 5] =
        [("pretty", Self::Pretty), ("csv", Self::Csv), ("tsv", Self::Tsv), ("json", Self::Json), ("jsonl", Self::JsonLines)];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, form)| *form == self).map_or("pretty", |(name, _)| name)
    }
}

/// What the person has chosen.
pub(super) struct View {
    form: Form,
    is_expanded: bool,
    is_timed: bool,
}

impl View {
    /// Answers in this format, with their time.
    ///
    /// # Errors
    /// The format is not one that a shell can show.
    pub(super) fn new(format: &str) -> anyhow::Result<Self> {
        let Some(form) = Form::named(format) else { bail!("{}", unknown(format)) };
        Ok(Self { form, is_expanded: false, is_timed: true })
    }

    /// What to ask the server for.
    pub(super) fn format(&self) -> &'static str {
        if self.is_expanded { Form::Json.name() } else { self.form.name() }
    }

    /// Changes the form; says what it is now.
    pub(super) fn set_format(&mut self, name: Option<&str>) -> String {
        match name.map(|name| (name, Form::named(name))) {
            Some((name, None)) => return unknown(name),
            Some((_, Some(form))) => (self.form, self.is_expanded) = (form, false),
            None => {}
        }
        format!("answers are {}", self.form.name())
    }

    /// Changes whether each column has a line; says what holds now.
    pub(super) fn toggle_expanded(&mut self) -> &'static str {
        self.is_expanded = !self.is_expanded;
        if self.is_expanded { "each column has a line of its own" } else { "each row is a row again" }
    }

    /// Changes whether answers tell their time; says what holds now.
    pub(super) fn toggle_timing(&mut self) -> &'static str {
        self.is_timed = !self.is_timed;
        if self.is_timed { "answers tell how long they took" } else { "answers no longer tell how long they took" }
    }

    /// Prints the rows; gives their number.
    ///
    /// # Errors
    /// The rest of the answer does not come, or is not what was asked for.
    pub(super) async fn print(&self, answer: &mut Answer) -> anyhow::Result<u64> {
        match (self.is_expanded, self.form) {
            (true, _) => document(answer, expanded).await,
            (false, Form::Pretty) => document(answer, without_count).await,
            (false, Form::Json) => document(answer, counted).await,
            (false, Form::Csv | Form::Tsv) => Ok(lines(answer, LineCounter::with_quotes()).await?.saturating_sub(1)),
            (false, Form::JsonLines) => lines(answer, LineCounter::plain()).await,
        }
    }

    /// The line below an answer.
    pub(super) fn footer(&self, rows: u64, took: Duration) -> String {
        let rows = format!("{} {}", HumanCount(rows), if rows == 1 { "row" } else { "rows" });
        if self.is_timed { format!("({rows}, {})", elapsed(took)) } else { format!("({rows})") }
    }
}

fn unknown(format: &str) -> String {
    format!("`{format}` is no format of the shell; it has {}", Form::NAMES.map(|(name, _)| name).join(", "))
}

/// A duration as people read it.
pub(super) fn elapsed(took: Duration) -> String {
    if took < Duration::from_secs(1) { format!("{} ms", took.as_millis()) } else { format!("{:.2} s", took.as_secs_f64()) }
}

/// Prints an answer that is one document.
async fn document(answer: &mut Answer, render: fn(String) -> anyhow::Result<(String, u64)>) -> anyhow::Result<u64> {
    let (text, rows) = render(answer.text().await?)?;
    output::write(&terminal::visible(text.as_bytes()))?;
    Ok(rows)
}

/// Prints an answer line by line, as it comes.
async fn lines(answer: &mut Answer, mut counter: LineCounter) -> anyhow::Result<u64> {
    while let Some(chunk) = answer.chunk().await? {
        counter.take(&chunk);
        output::write(&terminal::visible(&chunk))?;
    }
    Ok(counter.lines())
}

/// A table of text without the line below it, `(3 rows)`, which the footer replaces.
fn without_count(text: String) -> anyhow::Result<(String, u64)> {
    let end = text.rfind("\n(").context("the table does not end with its number of rows")?;
    let rows = text[end + 2..].split(' ').next().unwrap_or_default().parse().context("the table does not tell its number of rows")?;
    Ok((text[..=end].to_owned(), rows))
}

fn counted(text: String) -> anyhow::Result<(String, u64)> {
    let rows: Vec<IgnoredAny> = serde_json::from_str(&text).context("the answer is not a JSON array")?;
    Ok((format!("{}\n", text.trim_end()), u64::try_from(rows.len())?))
}

/// A line for each column of each row.
fn expanded(text: String) -> anyhow::Result<(String, u64)> {
    let rows: Vec<Members> = serde_json::from_str(&text).context("the answer is not a JSON array of rows")?;
    let mut shown = String::new();
    for (place, Members(columns)) in rows.iter().enumerate() {
        let width = columns.iter().map(|(name, _)| console::measure_text_width(name)).max().unwrap_or_default();
        writeln!(shown, "-[ row {} ]-", place + 1)?;
        for (name, value) in columns {
            writeln!(shown, "{} | {}", console::pad_str(name, width, console::Alignment::Left, None), plain(value))?;
        }
    }
    Ok((shown, u64::try_from(rows.len())?))
}

/// A text without its quotes, nothing for null, and every other value as it was sent.
fn plain(value: &RawValue) -> String {
    let text = serde_json::from_str::<Option<String>>(value.get());
    text.map_or_else(|_| value.get().to_owned(), Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_rows_moves_from_the_table_to_the_footer() {
        let table = "+---+\n| a |\n+---+\n| 1 |\n+---+\n";
        assert_eq!(without_count(format!("{table}(12 rows)\n")).unwrap(), (table.to_owned(), 12));
        assert_eq!(without_count("++\n++\n(1 row)\n".to_owned()).unwrap().1, 1);
        assert!(without_count("a table".to_owned()).is_err());
    }

    #[test]
    fn the_footer_tells_rows_and_time_unless_told_not_to() {
        let mut view = View::new("pretty").unwrap();
        assert_eq!(view.footer(1, Duration::from_micros(12_900)), "(1 row, 12 ms)");
        assert_eq!(view.footer(12_345, Duration::from_millis(1_234)), "(12,345 rows, 1.23 s)");
        view.toggle_timing();
        assert_eq!(view.footer(0, Duration::from_secs(9)), "(0 rows)");
    }

    #[test]
    fn expanded_rows_have_a_line_for_each_column_with_every_digit() {
        let (shown, rows) = expanded(r#"[{"name":"a\nb","n":1.50},{"name":null,"n":{"x": 1e400}}]"#.to_owned()).unwrap();
        assert_eq!((shown.as_str(), rows), ("-[ row 1 ]-\nname | a\nb\nn    | 1.50\n-[ row 2 ]-\nname | \nn    | {\"x\": 1e400}\n", 2));
    }

    #[test]
    fn a_form_is_chosen_by_name_and_a_wrong_one_changes_nothing() {
        let mut view = View::new("pretty").unwrap();
        view.toggle_expanded();
        assert_eq!(view.format(), "json", "expanded rows are made of JSON");
        assert_eq!(view.set_format(Some("csv")), "answers are csv");
        assert_eq!(view.format(), "csv");
        assert!(view.set_format(Some("parquet")).contains("pretty, csv, tsv, json, jsonl"));
        assert_eq!(view.set_format(None), "answers are csv");
        assert!(View::new("arrow").is_err());
    }
}
