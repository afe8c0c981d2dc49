//! What was found, for a person or as JSON.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::terminal;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it must be.
    Ok,
    /// Worth knowing, or not looked at.
    Note,
    /// It works, and may not tomorrow.
    Warning,
    /// Something has to be done.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    /// Stable, such as `journal.durability`.
    check: &'static str,
    level: Level,
    message: String,
    /// What to do, when the message does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

/// The findings with their number.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    problems: usize,
    warnings: usize,
    findings: &'a [Finding],
}

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Ok, message.into(), None);
    }

    pub(super) fn note(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Note, message.into(), None);
    }

    pub(super) fn warning(&mut self, check: &'static str, message: impl Into<String>, remedy: &str) {
        self.add(check, Level::Warning, message.into(), Some(remedy.to_owned()));
    }

    pub(super) fn problem(&mut self, check: &'static str, message: impl Into<String>, remedy: &str) {
        self.add(check, Level::Problem, message.into(), Some(remedy.to_owned()));
    }

    /// An error of Tidemark, which says itself what to do.
    pub(super) fn error(&mut self, check: &'static str, error: impl Into<anyhow::Error>) {
        self.add(check, Level::Problem, format!("{:#}", error.into()), None);
    }

    /// How many have to be done something about.
    pub(super) fn problems(&self) -> usize {
        self.count(Level::Problem)
    }

    pub(super) fn report(&self) -> Report<'_> {
        Report { problems: self.problems(), warnings: self.count(Level::Warning), findings: &self.0 }
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    fn add(&mut self, check: &'static str, level: Level, message: String, remedy: Option<String>) {
        self.0.push(Finding { check, level, message: terminal::visible_text(&message), remedy });
    }
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Problem => "PROBLEM",
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        if terminal::is_read() {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(terminal::width()).unwrap_or(u16::MAX));
        }
        for Finding { check, level, message, remedy } in &self.0 {
            let remedy = remedy.iter().map(|remedy| format!("\n-> {remedy}"));
            table.add_row([(*check).to_owned(), level.word().to_owned(), format!("{message}{}", remedy.collect::<String>())]);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        let (problems, warnings) = (self.problems(), self.count(Level::Warning));
        match (problems, warnings) {
            (0, 0) => write!(f, "everything that was looked at is as it must be"),
            (0, 1) => write!(f, "nothing has to be done now; see the warning"),
            (0, _) => write!(f, "nothing has to be done now; see the {warnings} warnings"),
            _ => write!(f, "{problems} to be done something about, {warnings} to be watched"),
        }
    }
}
