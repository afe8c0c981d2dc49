//! "Did you mean": the nearest of the names that exist.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// The fewest letters that count as the beginning of a name.
const SHORTEST_BEGINNING: usize = 3;

/// The name in `known` that is at most half rewritten when `found` was meant, whatever its case. A beginning of a name is near to it.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&found, &name.to_lowercase()), name))
        .filter(|(distance, name)| distance * 2 <= name.chars().count().max(found.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn distance(found: &str, known: &str) -> usize {
    let is_beginning = found.len() >= SHORTEST_BEGINNING && known.starts_with(found);
    if is_beginning { 1 } else { levenshtein(found, known) }
}

/// `a, b or c`, for a message that lists what would be right.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("`{}` or `{last}`", first.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["event_name", "events", "campaign_id"];
        assert_eq!(nearest("evnt_name", known), Some("event_name"));
        assert_eq!(nearest("Events", known), Some("events"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest("site", ["date", "site_id"]), Some("site_id"));
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(one_of(&["a"]), "`a`");
    }
}
