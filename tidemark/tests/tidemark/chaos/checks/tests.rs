//! A judge that sees nothing is worth nothing: each broken rule is seen, and only that one.

use super::*;
use crate::chaos::rows::Row;

/// Two requests of two events, the first sent again in the third message; a foreign event and a rubbish behind them.
struct Story {
    book: Book,
    journal: Journal,
    tables: Tables,
}

fn story() -> Story {
    let key = EventKey::new;
    let mut book = Book::default();
    let acknowledged = |texts: &[&str]| texts.iter().map(|text| vec![text.parse().unwrap()]).collect();
    book.requests.insert(1, Sent { events: 2, has_ids: true, acknowledged: acknowledged(&["0:1", "0:3"]) });
    book.requests.insert(2, Sent { events: 2, has_ids: true, acknowledged: acknowledged(&["0:2"]) });
    book.requests.insert(3, Sent { events: 1, has_ids: false, acknowledged: Vec::new() });
    book.foreign_events.insert(7, true);
    book.rubbish.insert(8, true);
    let places = [(1, 0, key(1, 0)), (1, 1, key(1, 1)), (2, 0, key(2, 0)), (2, 1, key(2, 1)), (3, 0, key(1, 0)), (3, 1, key(1, 1))];
    let mut events: Vec<(Place, EventKey)> = places.into_iter().map(|(sequence, index, key)| ((0, sequence, index), key)).collect();
    events.push(((0, 4, 0), EventKey::foreign(7)));
    let rows = [0, 1, 2, 3, 6].map(|index| row(events[index]));
    let journal = Journal { events, rubbish: [(8, (0, 5, 0))].into(), last: [(0, 5)].into() };
    Story { book, journal, tables: Tables { events: rows.to_vec(), quarantine: vec![(0, 5, 0)] } }
}

fn row((place, key): (Place, EventKey)) -> Row {
    Row { place, key: Some(key), id: Some(key.to_string()) }
}

/// The rules that are broken once the story was changed.
fn broken(change: impl FnOnce(&mut Story)) -> Vec<Rule> {
    let mut story = story();
    change(&mut story);
    judge(&story.book, &story.journal, &story.tables).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_true_story_is_not_objected_to() {
    assert_eq!(broken(|_| {}), []);
    assert_eq!(broken(|story| story.book.requests.get_mut(&2).unwrap().acknowledged.clear()), [], "what was not acknowledged may be there");
}

#[test]
fn a_lost_event_is_seen() {
    let rules = broken(|story| {
        story.tables.events.remove(1);
    });
    assert_eq!(rules, [Rule::Lost, Rule::Unbalanced]);
}

#[test]
fn a_lost_foreign_event_is_seen() {
    let rules = broken(|story| {
        story.tables.events.pop();
    });
    assert_eq!(rules, [Rule::Lost, Rule::Unbalanced]);
}

#[test]
fn an_event_that_is_a_row_twice_is_seen() {
    let again = broken(|story| story.tables.events.push(row(story.journal.events[4])));
    assert!(again.contains(&Rule::Twice) && again.contains(&Rule::Unbalanced), "{again:?}");
}

#[test]
fn a_row_that_was_written_twice_is_seen() {
    let again = broken(|story| story.tables.events.push(story.tables.events[0].clone()));
    assert_eq!(again, [Rule::Twice, Rule::SamePlace, Rule::Unbalanced]);
}

#[test]
fn a_row_that_nobody_sent_is_seen() {
    let unknown = broken(|story| story.tables.events[0].key = None);
    assert_eq!(unknown, [Rule::Lost, Rule::Invented]);
    let never_sent = row(((0, 2, 2), EventKey::new(2, 2)));
    assert_eq!(broken(|story| story.tables.events.push(never_sent)), [Rule::Invented, Rule::Unbalanced]);
}

#[test]
fn a_repeat_that_became_the_row_is_seen() {
    assert_eq!(broken(|story| story.tables.events[0].place = (0, 3, 0)), [Rule::NotTheFirst]);
}

#[test]
fn a_row_with_the_id_of_another_or_with_none_is_seen() {
    assert_eq!(broken(|story| story.tables.events[0].id = Some("e1.1".to_owned())), [Rule::Altered]);
    assert_eq!(broken(|story| story.tables.events[0].id = None), [Rule::Altered]);
}

#[test]
fn quarantine_that_is_lost_or_invented_is_seen() {
    assert_eq!(broken(|story| story.tables.quarantine.clear()), [Rule::Unbalanced, Rule::Quarantine]);
    assert_eq!(broken(|story| story.tables.quarantine[0] = (0, 4, 0)), [Rule::Quarantine]);
}

#[test]
fn a_2xx_without_its_event_in_the_journal_is_seen() {
    let elsewhere = |position: &str| {
        let position = position.parse().unwrap();
        broken(|story| story.book.requests.get_mut(&2).unwrap().acknowledged[0][0] = position)
    };
    assert_eq!(elsewhere("0:3"), [Rule::NotInTheJournal]);
    assert_eq!(elsewhere("0:2:0"), [Rule::NotInTheJournal], "an exact place is the event's own");
}

#[test]
fn a_refusal_is_seen() {
    assert_eq!(broken(|story| story.book.refusals.push("answer 1 1 400 -".to_owned())), [Rule::Refused]);
}
