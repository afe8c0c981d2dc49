//! Columns over time, from left to right, with the highest number and zero beside them and the first and the last time below.

use console::{Style, measure_text_width};
use indicatif::HumanCount;

use super::bars::eighths;

const HEIGHT: usize = 10;
const WIDEST_COLUMN: usize = 6;
/// A column so wide that one of it may stay empty.
const WIDE_COLUMN: usize = 3;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A time and how much happened then.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The begin of the time.
    pub(super) label: String,
    /// Events; the height of the column.
    pub(super) events: u64,
}

/// A chart of at most `width` columns of text. When there are more times than that, several are added up, which the last line says.
pub(super) fn columns(unit: &str, times: &[Column], width: usize, style: &Style) -> String {
    let widest_number = times.iter().map(|time| time.events).fold(0, u64::saturating_add);
    let room = width.saturating_sub(HumanCount(widest_number).to_string().len() + 2).max(1);
    let together = times.len().div_ceil(room).max(1);
    let heights: Vec<u64> = times.chunks(together).map(|chunk| chunk.iter().map(|time| time.events).sum()).collect();
    let column_width = (room / heights.len().max(1)).clamp(1, WIDEST_COLUMN);
    let most = heights.iter().copied().max().unwrap_or_default();
    let number_width = HumanCount(most).to_string().len();

    let mut shown = String::new();
    for row in (0..HEIGHT).rev() {
        let cells: String = heights.iter().map(|events| cell(*events, most, row, column_width)).collect();
        let number = if row == HEIGHT - 1 { HumanCount(most).to_string() } else { String::new() };
        shown += &format!("{number:>number_width$} │{}\n", style.apply_to(cells.trim_end()));
    }
    let axis_width = heights.len() * column_width;
    shown += &format!("{:>number_width$} └{}\n", 0, "─".repeat(axis_width));
    shown += &format!("{:number_width$}  {}\n", "", ends(times, axis_width));
    if together > 1 {
        shown += &format!("each column is {together} {unit}s\n");
    }
    shown
}

/// What a column has in a row of text, counted from the bottom.
fn cell(events: u64, most: u64, row: usize, width: usize) -> String {
    let level = eighths(events, most, HEIGHT).saturating_sub(row * 8).min(8);
    let blocks = if width >= WIDE_COLUMN { width - 1 } else { width };
    format!("{:width$}", LEVELS[level].to_string().repeat(blocks))
}

/// The first time below the first column and the last one below the last, or side by side where there is no room.
fn ends(times: &[Column], width: usize) -> String {
    let labels = short(times);
    match &labels[..] {
        [] => String::new(),
        [only] => only.clone(),
        [first, .., last] => {
            let gap = width.saturating_sub(measure_text_width(first) + measure_text_width(last));
            if gap == 0 { format!("{first} … {last}") } else { format!("{first}{}{last}", " ".repeat(gap)) }
        }
    }
}

/// Times without what all have in common: days without a time of day, the others without seconds.
fn short(times: &[Column]) -> Vec<String> {
    const DAY: usize = 10;
    const MINUTE: usize = 16;
    let is_day = times.iter().all(|time| time.label.get(DAY..MINUTE) == Some("T00:00"));
    let length = if is_day { DAY } else { MINUTE };
    times.iter().map(|time| time.label.get(..length).unwrap_or(&time.label).replace('T', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(events: &[u64]) -> Vec<Column> {
        let hour = |(hour, events): (usize, &u64)| Column {
            label: format!("2026-11-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24),
            events: *events,
        };
        events.iter().enumerate().map(hour).collect()
    }

    #[test]
    fn a_fixed_answer_gives_this_chart() {
        let shown = columns("hour", &hours(&[0, 100, 1_000, 500, 1, 750, 250, 1_000]), 48, &Style::new());
        let expected = "
1,000 │          ████                     ████
      │          ████                     ████
      │          ████           ▄▄▄▄      ████
      │          ████           ████      ████
      │          ████           ████      ████
      │          ████ ████      ████      ████
      │          ████ ████      ████      ████
      │          ████ ████      ████ ▄▄▄▄ ████
      │          ████ ████      ████ ████ ████
      │     ████ ████ ████ ▁▁▁▁ ████ ████ ████
    0 └────────────────────────────────────────
       2026-11-01 00:00        2026-11-01 07:00
";
        assert_eq!(format!("\n{shown}"), expected);
    }

    #[test]
    fn more_times_than_columns_are_added_up() {
        let shown = columns("hour", &hours(&[1; 240]), 90, &Style::new());
        assert!(shown.ends_with("each column is 3 hours\n"), "{shown}");
        assert!(shown.starts_with("3 │"), "{shown}");
        assert!(shown.lines().all(|line| measure_text_width(line) <= 90), "{shown}");
        assert_eq!(shown.matches('█').count(), 80 * HEIGHT);
    }

    #[test]
    fn days_have_no_time_of_day_and_a_narrow_chart_names_both_ends() {
        let days: Vec<Column> = (1..=3).map(|day| Column { label: format!("2026-11-{day:02}T00:00:00+01:00"), events: day }).collect();
        let shown = columns("day", &days, 80, &Style::new());
        assert!(shown.contains("2026-11-01 … 2026-11-03"), "{shown}");
        assert!(columns("day", &[], 80, &Style::new()).contains('└'), "nothing is no panic");
    }
}
