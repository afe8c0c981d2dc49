//! A bar for each group: its name, the bar, and its numbers.

use console::{Alignment, Style, measure_text_width, pad_str, truncate_str};
use indicatif::HumanCount;

const BLOCK: char = '█';
/// From one to seven eighths of a block.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const SHORTEST_BAR: usize = 8;
const LONGEST_BAR: usize = 100;
const GAP: &str = "  ";

/// A group as it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// Its name.
    pub(super) label: String,
    /// Events; the length of the bar.
    pub(super) events: u64,
    /// Users.
    pub(super) users: u64,
}

/// Bars under a title, in at most `width` columns unless that is too few for a bar; the longest is that of the most events.
pub(super) fn bars(title: &str, bars: &[Bar], width: usize, style: &Style) -> String {
    let longest = |texts: &mut dyn Iterator<Item = String>, heading: &str| {
        texts.map(|text| measure_text_width(&text)).max().unwrap_or_default().max(measure_text_width(heading))
    };
    let events_width = longest(&mut bars.iter().map(|bar| HumanCount(bar.events).to_string()), "events");
    let users_width = longest(&mut bars.iter().map(|bar| HumanCount(bar.users).to_string()), "users");
    let numbers_width = events_width + users_width + 2 * GAP.len();
    let label_width = longest(&mut bars.iter().map(|bar| bar.label.clone()), title);
    let label_width = label_width.min(width.saturating_sub(numbers_width + GAP.len()) / 2).max(1);
    let bar_width = width.saturating_sub(label_width + GAP.len() + numbers_width).clamp(SHORTEST_BAR, LONGEST_BAR);
    let most = bars.iter().map(|bar| bar.events).max().unwrap_or_default();

    let row = |label: &str, bar: &str, events: &str, users: &str| {
        let label = pad_str(label, label_width, Alignment::Left, Some("…")).into_owned();
        let bar = style.apply_to(pad_str(bar, bar_width, Alignment::Left, None));
        format!("{label}{GAP}{bar}{GAP}{events:>events_width$}{GAP}{users:>users_width$}\n")
    };
    let heading = row(&truncate_str(title, label_width, "…"), "", "events", "users");
    let rows = bars.iter().map(|bar| {
        row(&bar.label, &drawn(bar.events, most, bar_width), &HumanCount(bar.events).to_string(), &HumanCount(bar.users).to_string())
    });
    std::iter::once(heading).chain(rows).collect()
}

/// A bar of a length in eighths of a block; what is not zero is seen.
fn drawn(events: u64, most: u64, width: usize) -> String {
    let eighths = eighths(events, most, width);
    let mut bar: String = std::iter::repeat_n(BLOCK, eighths / 8).collect();
    bar.extend((eighths % 8).checked_sub(1).map(|part| EIGHTHS[part]));
    bar
}

/// How many eighths of `blocks` blocks a part of the whole takes: at least one for what is not zero.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the result is at most eight times the columns of a terminal; a pixel has no more precision"
)]
pub(super) fn eighths(part: u64, whole: u64, blocks: usize) -> usize {
    if part == 0 {
        return 0;
    }
    ((part as f64 / whole.max(part) as f64 * (blocks * 8) as f64).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, events: u64, users: u64) -> Bar {
        Bar { label: label.to_owned(), events, users }
    }

    #[test]
    fn a_fixed_answer_gives_this_chart() {
        let groups = [bar("web", 10_200, 5_100), bar("mobile_app", 3_825, 2_000), bar("日本", 1, 1), bar("(none)", 0, 0)];
        let shown = bars("channel", &groups, 43, &Style::new());
        let expected = "\
channel                       events  users
web         ████████████████  10,200  5,100
mobile_app  ██████             3,825  2,000
日本        ▏                      1      1
(none)                             0      0
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_line_fits_into_the_terminal_and_a_long_name_is_cut() {
        let groups = [bar(&"x".repeat(200), u64::MAX, 7), bar("y", 1, 1)];
        for width in [60, 80, 200] {
            let shown = bars("path", &groups, width, &Style::new());
            assert!(shown.lines().all(|line| measure_text_width(line) <= width), "{width}:\n{shown}");
            assert!(shown.contains("x…") && shown.contains('▏'), "{shown}");
        }
        assert!(bars("path", &groups, 0, &Style::new()).contains('█'), "a terminal that does not tell its width");
    }

    #[test]
    fn colours_come_only_from_the_style() {
        let shown = bars("channel", &[bar("web", 1, 1)], 44, &Style::new().cyan().force_styling(true));
        assert!(shown.contains("\u{1b}[36m"), "{shown:?}");
        assert!(!bars("channel", &[bar("web", 1, 1)], 44, &Style::new()).contains('\u{1b}'));
    }
}
