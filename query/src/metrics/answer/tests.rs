use super::*;
use crate::metrics::question::Limits;

const HOUR: i64 = 3_600_000_000;

fn question(query: &str) -> MetricsQuestion {
    MetricsQuestion::read(&format!("/metrics?from=0&to=7200&{query}").parse().unwrap(), Limits { now: Timestamp(0), max_groups: 6 })
        .unwrap()
}

fn group(bucket: i64, channel: Option<&str>, total: u64) -> Measured {
    Measured { keys: vec![Key::Time(bucket), Key::Text(channel.map(str::to_owned))], total, unique: total }
}

fn totals(groups: &[Measured]) -> Vec<u64> {
    groups.iter().map(|group| group.total).collect()
}

#[test]
fn filling_adds_every_bucket_for_every_value_that_occurs() {
    let question = question("group_by=hour,channel&fill=zero");
    let (groups, is_truncated) = arrange(vec![group(0, Some("web"), 3), group(2 * HOUR, None, 5)], &question).unwrap();
    assert_eq!(groups.len(), 6, "3 hours x 2 channels");
    assert_eq!(totals(&groups), [3, 0, 0, 0, 5, 0], "time ascending, then total descending");
    assert!(!is_truncated);
}

#[test]
fn the_limit_is_applied_after_filling_and_ordering() {
    let question = question("group_by=hour&fill=zero&order=-total&limit=2");
    let hour = |bucket: i64, total| Measured { keys: vec![Key::Time(bucket)], total, unique: 1 };
    let (groups, _) = arrange(vec![hour(HOUR, 7)], &question).unwrap();
    assert_eq!(groups, [hour(HOUR, 7), Measured { keys: vec![Key::Time(0)], total: 0, unique: 0 }]);
}

#[test]
fn filling_beyond_the_most_groups_is_refused() {
    let question = question("group_by=hour,channel&fill=zero");
    let groups = ["a", "b", "c"].map(|channel| group(0, Some(channel), 1)).to_vec();
    assert!(arrange(groups, &question).unwrap_err().message.contains("3 buckets times 3 values are more than 6 groups"));
}

#[test]
fn groups_beyond_the_most_are_left_out_and_it_is_said() {
    let question = question("group_by=hour,channel");
    let groups: Vec<Measured> = (0..7).map(|at| group(at, None, 1)).collect();
    let (groups, is_truncated) = arrange(groups, &question).unwrap();
    assert_eq!((groups.len(), is_truncated), (6, true));
}

#[test]
fn seconds_are_whole_where_they_can_be() {
    let text = |us: i64| serde_json::to_string(&Seconds(us)).unwrap();
    assert_eq!(text(1_723_400_000_000_000), "1723400000");
    assert_eq!(text(1_723_400_000_250_000), "1723400000.25");
    assert_eq!(text(-1_000_000), "-1");
}
