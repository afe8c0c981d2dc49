//! An answer in words: what was counted on top, the groups, and how current it is.

use chrono::DateTime;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use console::Style;
use indicatif::HumanCount;

use super::{
    answer::Answer,
    bars::{Bar, bars},
    columns::{Column, columns},
};
use crate::{client::NOT_FRESH, terminal::visible_text};

/// An answer and what it answers.
pub(super) struct Report<'a> {
    /// What came back.
    pub(super) answer: &'a Answer,
    /// The parameters that say which events.
    pub(super) filters: &'a [(&'a str, String)],
    /// Whether the server left groups out.
    pub(super) is_truncated: bool,
}

impl Report<'_> {
    /// For people: a chart in a terminal of this width. Without groups there is nothing to draw.
    pub(super) fn chart(&self, width: usize) -> String {
        let (bold, dim, colour) = (Style::new().bold(), Style::new().dim(), Style::new().cyan());
        let chart = match &self.answer.grouped_by {
            None => String::new(),
            Some(dimension) if self.answer.is_timeline() => format!("\n{}", columns(dimension, &self.times(), width, &colour)),
            Some(dimension) => format!("\n{}", bars(dimension, &self.bars(), width, &colour)),
        };
        let notes: String = self.notes().iter().map(|note| format!("\nnote: {note}")).collect();
        let (totals, scope, origin) = (bold.apply_to(self.totals()), dim.apply_to(self.scope()), dim.apply_to(self.origin()));
        format!("{totals}\n{scope}\n{chart}{origin}{notes}")
    }

    /// For programs and files: a table without colours and lines.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![self.totals(), self.scope()];
        if let Some(dimensions) = &self.answer.grouped_by {
            lines.push(self.rows(dimensions));
        }
        lines.push(self.origin());
        lines.extend(self.notes().iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }

    fn rows(&self, dimensions: &str) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(dimensions.split(',').chain(["events", "users"]));
        for group in &self.answer.data {
            let numbers = [group.total_events.to_string(), group.unique_users.to_string()];
            table.add_row(group.values().into_iter().chain(numbers));
        }
        let first_number = dimensions.split(',').count();
        table.column_iter_mut().skip(first_number).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table.trim_fmt()
    }

    fn totals(&self) -> String {
        let Answer { total_events, unique_users, uniques, .. } = self.answer;
        format!("{} events, {} users ({uniques})", HumanCount(*total_events), HumanCount(*unique_users))
    }

    fn scope(&self) -> String {
        let mut parts = vec![format!("{} to {} UTC", instant(self.answer.from), instant(self.answer.to))];
        parts.extend(self.answer.grouped_by.as_ref().map(|dimension| format!("by {dimension}")));
        parts.extend(self.filters.iter().map(|(name, value)| format!("{name}={}", visible_text(value))));
        parts.join(", ")
    }

    fn origin(&self) -> String {
        let Answer { as_of, fresh, took_ms, .. } = self.answer;
        let positions: Vec<String> = as_of.iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect();
        format!("as of {}, {}, {took_ms} ms", positions.join(","), if *fresh { "fresh" } else { "not fresh" })
    }

    fn notes(&self) -> Vec<&'static str> {
        let truncated = "there are more groups than `query.max_rows` allows; ask for fewer, or for a `--limit`";
        [(!self.answer.fresh, NOT_FRESH), (self.is_truncated, truncated)]
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, note)| note)
            .collect()
    }

    fn bars(&self) -> Vec<Bar> {
        let groups = self.answer.data.iter();
        groups.map(|group| Bar { label: group.values().join(", "), events: group.total_events, users: group.unique_users }).collect()
    }

    fn times(&self) -> Vec<Column> {
        self.answer.data.iter().map(|group| Column { label: group.values().concat(), events: group.total_events }).collect()
    }
}

/// Seconds since 1970 as UTC text, with a fraction only where there is one.
#[expect(clippy::cast_possible_truncation, reason = "the server's times are of the years 0 to 9999")]
fn instant(seconds: f64) -> String {
    let time = DateTime::from_timestamp_micros((seconds * 1e6).round() as i64);
    time.map_or_else(|| seconds.to_string(), |time| time.format("%F %T%.f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_CHANNEL: &str = r#"{"event_name":"purchase","from":1723400000,"to":1723486400.5,"grouped_by":"channel","group_by":"channel",
        "total_events":15420,"unique_users":8905,"uniques":"exact","data":[
        {"group":"web","total_events":10200,"unique_users":5100},{"group":null,"total_events":5220,"unique_users":4000}],
        "as_of":{"0":1234,"1":7},"fresh":true,"took_ms":3}"#;
    const BY_TWO: &str = r#"{"event_name":null,"from":0,"to":7200,"grouped_by":"hour,channel","group_by":"hour,channel","total_events":3,
        "unique_users":1,"uniques":"approx","data":[
        {"groups":["1970-01-01T00:00:00Z","we\u001b[31mb"],"bucket_start":0,"total_events":2,"unique_users":1},
        {"groups":["1970-01-01T01:00:00Z",null],"bucket_start":3600,"total_events":1,"unique_users":1}],
        "as_of":{"0":4},"fresh":false,"took_ms":1}"#;

    fn table(answer: &str, filters: &[(&str, String)], is_truncated: bool) -> String {
        Report { answer: &serde_json::from_str(answer).unwrap(), filters, is_truncated }.table()
    }

    #[test]
    fn a_fixed_answer_gives_this_table() {
        let expected = "\
15,420 events, 8,905 users (exact)
2024-08-11 18:13:20 to 2024-08-12 18:13:20.500 UTC, by channel, event_name=purchase
 channel  events  users
 web       10200   5100
 (none)     5220   4000
as of 0:1234,1:7, fresh, 3 ms";
        assert_eq!(table(BY_CHANNEL, &[("event_name", "purchase".to_owned())], false), expected);
    }

    #[test]
    fn two_dimensions_are_two_columns_and_what_is_missing_is_noted() {
        let shown = table(BY_TWO, &[], true);
        assert!(shown.contains("1970-01-01T00:00:00Z  we␛[31mb       2"), "{shown}");
        assert!(shown.contains("not fresh") && shown.contains("note: events that are not committed"), "{shown}");
        assert!(shown.contains("note: there are more groups"), "{shown}");
    }

    #[test]
    fn a_chart_has_the_totals_on_top_and_the_positions_below() {
        let answer: Answer = serde_json::from_str(BY_CHANNEL).unwrap();
        let chart = Report { answer: &answer, filters: &[], is_truncated: false }.chart(60);
        let chart = console::strip_ansi_codes(&chart);
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines[0], "15,420 events, 8,905 users (exact)");
        assert!(lines[4].starts_with("web ") && lines[4].ends_with("10,200  5,100"), "{chart}");
        assert_eq!(lines[6], "as of 0:1234,1:7, fresh, 3 ms");
    }
}
