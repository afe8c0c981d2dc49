//! "Did you mean": the nearest of the names that exist.

/// Longer names are no slip of the pen.
const LONGEST: usize = 64;

/// The name in `known` that is at most half rewritten when `found` was meant, whatever its case.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > LONGEST {
        return None;
    }
    let found = found.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&found, &name.to_lowercase());
    let is_near = |distance: usize, name: &str| distance * 2 <= found.chars().count().max(name.chars().count());
    let near = known.into_iter().map(|name| (distance(name), name)).filter(|(distance, name)| is_near(*distance, name));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["event_name", "event_id", "user_id", "timestamp"];
        for (found, meant) in [("evnt_name", "event_name"), ("eventName", "event_name"), ("userID", "user_id"), ("timestmap", "timestamp")]
        {
            assert_eq!(nearest(found, known), Some(meant));
        }
        assert_eq!([nearest("price", known), nearest("", known), nearest(&"event_name".repeat(50), known)], [None; 3]);
    }
}
