use std::collections::HashMap;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema},
};
use schemas::tables::timestamp_type;

use super::*;

/// Time in hours, event name, channel, user.
type Row<'a> = (f64, &'a str, Option<&'a str>, Option<&'a str>);

#[expect(clippy::cast_possible_truncation, reason = "hours of a test")]
fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let times = rows.iter().map(|row| (row.0 * 3600.0).round() as i64 * 1_000_000);
    let text = |text: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(text).collect::<StringArray>()) };
    let field = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema =
        Schema::new(vec![Field::new("timestamp", timestamp_type(), false), field("event_name"), field("channel"), field("user_id")]);
    let columns = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")) as ArrayRef,
        text(&|row| Some(row.1.to_owned())),
        text(&|row| row.2.map(str::to_owned)),
        text(&|row| row.3.map(str::to_owned)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn levels(rows: &[RecordBatch]) -> Vec<(Level, Vec<Cell>)> {
    let mut maker = Maker::new(rows.iter().map(|batch| batch.num_rows() as u64).sum());
    rows.iter().for_each(|batch| maker.push(batch));
    maker.finish()
}

/// Hour, event, channel, events, users.
type Told<'a> = (i64, Option<&'a str>, Option<&'a str>, u64, u64);

fn told(cells: &[Cell]) -> Vec<Told<'_>> {
    let told = cells.iter().map(|Cell { place, events, users }| {
        (place.start_us / Span::Hour.us(), place.event_name.as_deref(), place.channel.as_deref(), *events, users.estimate())
    });
    told.collect()
}

#[test]
fn every_level_counts_the_same_rows_and_an_hour_before_1970_is_floored() {
    let rows = [
        (-0.5, "view", Some("web"), Some("ann")),
        (0.25, "buy", None, Some("ann")),
        (0.5, "buy", Some("web"), None),
        (0.5, "view", Some("web"), Some("ann")),
        (0.75, "view", Some("web"), Some("bob")),
    ];
    let levels = levels(&[batch(&rows[..2]), batch(&rows[2..])]);
    let found: HashMap<Level, _> = levels.iter().map(|(level, cells)| (*level, told(cells))).collect();
    assert_eq!(found[&Level::Hour], [(-1, None, None, 1, 1), (0, None, None, 4, 2)]);
    assert_eq!(found[&Level::Day], [(-24, None, None, 1, 1), (0, None, None, 4, 2)]);
    assert_eq!(found[&Level::DayEvent], [(-24, Some("view"), None, 1, 1), (0, Some("buy"), None, 2, 1), (0, Some("view"), None, 2, 2)]);
    assert_eq!(found[&Level::HourChannel], [(-1, None, Some("web"), 1, 1), (0, None, None, 1, 1), (0, None, Some("web"), 3, 2)]);
    assert_eq!(found[&Level::HourEvent], [(-1, Some("view"), None, 1, 1), (0, Some("buy"), None, 2, 1), (0, Some("view"), None, 2, 2)]);
    assert_eq!(
        found[&Level::HourEventChannel],
        [
            (-1, Some("view"), Some("web"), 1, 1),
            (0, Some("buy"), None, 1, 1),
            (0, Some("buy"), Some("web"), 1, 0),
            (0, Some("view"), Some("web"), 2, 2)
        ]
    );
}

#[test]
fn a_level_with_too_many_cells_is_left_out_and_the_others_stay() {
    let names: Vec<String> = (0..1000).map(|number| format!("event-{number}")).collect();
    let rows: Vec<Row<'_>> = names.iter().map(|name| (0.0, name.as_str(), Some("web"), Some("ann"))).collect();
    let kept: Vec<Level> = levels(&[batch(&rows)]).into_iter().map(|(level, _)| level).collect();
    assert_eq!(kept, [Level::Day, Level::DayChannel, Level::Hour, Level::HourChannel]);
}

#[test]
fn a_level_that_becomes_too_fine_in_the_middle_leaves_the_others_with_every_row() {
    let names: Vec<String> = (0..1000).map(|number| format!("event-{number}")).collect();
    let few = [(0.0, "view", Some("web"), Some("ann")), (1.0, "buy", None, Some("bob"))];
    let many: Vec<Row<'_>> = names.iter().map(|name| (0.0, name.as_str(), Some("web"), Some("cid"))).collect();
    let found = levels(&[batch(&few), batch(&many), batch(&few)]);
    let found: HashMap<Level, _> = found.iter().map(|(level, cells)| (*level, told(cells))).collect();
    assert_eq!(found.len(), 4);
    assert_eq!(found[&Level::Day], [(0, None, None, 1004, 3)]);
    assert_eq!(found[&Level::Hour], [(0, None, None, 1002, 2), (1, None, None, 2, 1)]);
    assert_eq!(found[&Level::HourChannel], [(0, None, Some("web"), 1002, 2), (1, None, None, 2, 1)]);
}

#[test]
fn cells_come_back_as_they_were_stored() {
    let levels = levels(&[batch(&[(3.0, "view", Some("ünï"), Some("ann")), (4.0, "buy", None, None)])]);
    for (_, cells) in levels {
        assert_eq!(told(&decode(&encode(&cells).unwrap(), |_| true).unwrap()), told(&cells));
    }
}

#[test]
fn an_extent_knows_its_bytes_and_another_form_has_none() {
    let directory = Directory::new(100, &[(Level::Hour, vec![1, 2, 3]), (Level::HourEvent, vec![4])]);
    let text = directory.to_text();
    let directory = Directory::of(&text).unwrap();
    let extent = directory.extent(Level::HourEvent).unwrap();
    assert_eq!((extent.offset, extent.bytes), (103, 1));
    assert!(extent.holds(&[4]) && !extent.holds(&[5]) && !extent.holds(&[4, 4]));
    assert!(directory.extent(Level::HourChannel).is_none());
    assert!(Directory::of(&text.replace("\"version\":1", "\"version\":2")).is_none());
    assert!(Directory::of("rubbish").is_none());
}

#[test]
fn users_are_counted_within_the_stated_error_and_the_same_however_they_were_distributed() {
    let names: Vec<String> = (0..50_000).map(|number| format!("user-{number}")).collect();
    let union = |parts: usize| {
        let mut union = UsersUnion::new();
        for part in 0..parts {
            let mut users = Users::new();
            names.iter().skip(part).step_by(parts).chain(&names[..100]).for_each(|name| users.add(name));
            union.add(&Users::from_bytes(&users.to_bytes()).unwrap());
        }
        let users = union.to_users();
        assert_eq!(Users::from_bytes(&users.to_bytes()).unwrap().estimate(), users.estimate());
        users.estimate()
    };
    let whole = union(1);
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand")]
    let off = (whole as f64 / 50_000.0 - 1.0).abs();
    assert!(off <= Users::ERROR, "{whole}");
    assert_eq!([union(2), union(7), union(100)], [whole; 3]);
    let mut alone = Users::new();
    names.iter().for_each(|name| alone.add(name));
    assert_eq!([alone.estimate(), Users::from_bytes(&alone.to_bytes()).unwrap().estimate(), alone.united().estimate()], [whole; 3]);
}
