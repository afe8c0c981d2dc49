//! What was sent and what was answered, one line each, on disk as it happens; and the same read back by who judges.
//!
//! ```text
//! sent <ms> <request> <origin> <events> <ids|plain>
//! answer <ms> <request> <status, or 0 for none> <positions, or ->
//! foreign <ms> <number> <event|rubbish> <stored|unknown>
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use schemas::Position;

use super::requests::{EventKey, Request, Source};

/// The writing side. It also counts what may be visible by now.
pub(crate) struct Ledger(RefCell<Open>);

struct Open {
    file: BufWriter<File>,
    started: Instant,
    origins: HashSet<u64>,
    counts: Counts,
    latest: Option<EventKey>,
    latest_positions: Option<String>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Different events that were sent at least once, foreign ones included: no count may be higher.
    pub(crate) events: u64,
    /// Requests sent, tries included.
    pub(crate) tries: u64,
    /// Requests that got a 2xx.
    pub(crate) acknowledged: u64,
    /// Events in requests that got a 2xx, repeats included.
    pub(crate) acknowledged_events: u64,
}

impl Ledger {
    pub(crate) fn create(path: &Path) -> Self {
        let file = BufWriter::new(File::create(path).expect("the folder of the run can be written"));
        let open = Open {
            file,
            started: Instant::now(),
            origins: HashSet::new(),
            counts: Counts::default(),
            latest: None,
            latest_positions: None,
        };
        Self(RefCell::new(open))
    }

    /// Notes a try, before it is sent.
    pub(crate) fn sent(&self, request: &Request) {
        let mut open = self.0.borrow_mut();
        open.counts.tries += 1;
        if open.origins.insert(request.origin) {
            open.counts.events += u64::from(request.events);
        }
        let ids = if request.has_ids { "ids" } else { "plain" };
        open.line(&format!("sent {{}} {} {} {} {ids}", request.number, request.origin, request.events));
    }

    /// Notes the answer to a try; status 0 stands for none.
    pub(crate) fn answered(&self, request: &Request, status: u16, positions: Option<&str>) {
        let mut open = self.0.borrow_mut();
        if (200..300).contains(&status) {
            open.counts.acknowledged += 1;
            open.counts.acknowledged_events += u64::from(request.events);
            open.latest_positions = positions.map(str::to_owned);
            if request.has_ids {
                open.latest = Some(EventKey::new(request.origin, request.events - 1));
            }
        }
        open.line(&format!("answer {{}} {} {status} {}", request.number, positions.unwrap_or("-")));
    }

    /// Notes that a foreign message is about to be published.
    pub(crate) fn publishing(&self, is_event: bool) {
        self.0.borrow_mut().counts.events += u64::from(is_event);
    }

    /// Notes a foreign message.
    pub(crate) fn published(&self, number: u64, is_event: bool, is_stored: bool) {
        let kind = if is_event { "event" } else { "rubbish" };
        let outcome = if is_stored { "stored" } else { "unknown" };
        self.0.borrow_mut().line(&format!("foreign {{}} {number} {kind} {outcome}"));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// An event of the last request with ids that was acknowledged.
    pub(crate) fn latest_acknowledged(&self) -> Option<EventKey> {
        self.0.borrow().latest
    }

    /// Where the last request that was acknowledged stands in the journal.
    pub(crate) fn latest_positions(&self) -> Option<String> {
        self.0.borrow().latest_positions.clone()
    }

    /// Puts every line on its way to the disk.
    pub(crate) fn flush(&self) {
        self.0.borrow_mut().file.flush().expect("the ledger can be written");
    }
}

impl Open {
    /// Writes a line with the time in place of `{}`.
    fn line(&mut self, text: &str) {
        let line = text.replacen("{}", &self.started.elapsed().as_millis().to_string(), 1);
        writeln!(self.file, "{line}").expect("the ledger can be written");
    }
}

/// Everything that is known of the requests with one content.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sent {
    /// How many events it has.
    pub(crate) events: u32,
    /// Whether they have ids of their own.
    pub(crate) has_ids: bool,
    /// The positions of each 2xx, one for each shard.
    pub(crate) acknowledged: Vec<Vec<Position>>,
}

/// A ledger read back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Book {
    /// By the origin of the requests.
    pub(crate) requests: BTreeMap<u64, Sent>,
    /// Foreign events, and whether a stream said that it has them.
    pub(crate) foreign_events: BTreeMap<u64, bool>,
    /// Foreign messages that are no events, and whether a stream said that it has them.
    pub(crate) rubbish: BTreeMap<u64, bool>,
    /// Answers that are neither a 2xx nor a 503: nothing in a run deserves them.
    pub(crate) refusals: Vec<String>,
}

impl Book {
    /// Reads a ledger.
    pub(crate) fn read(text: &str) -> Self {
        let (mut book, mut origins) = (Self::default(), BTreeMap::new());
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["sent", _, request, origin, events, ids] => {
                    origins.insert(request.to_owned(), number(origin));
                    let sent = book.requests.entry(number(origin)).or_default();
                    sent.events = u32::try_from(number(events)).expect("requests are small");
                    sent.has_ids = ids == "ids";
                }
                ["answer", _, request, status, positions] => book.note_answer(line, origins[request], status, positions),
                ["foreign", _, message, "event", outcome] => {
                    book.foreign_events.insert(number(message), outcome == "stored");
                }
                ["foreign", _, message, "rubbish", outcome] => {
                    book.rubbish.insert(number(message), outcome == "stored");
                }
                _ => panic!("no line of a ledger: {line}"),
            }
        }
        book
    }

    fn note_answer(&mut self, line: &str, origin: u64, status: &str, positions: &str) {
        match status {
            "202" | "204" => {
                let positions = positions.split(',').map(|text| text.parse().expect("a 2xx carries positions")).collect();
                self.requests.entry(origin).or_default().acknowledged.push(positions);
            }
            "0" | "503" => {}
            _ => self.refusals.push(line.to_owned()),
        }
    }

    /// The id that a reader finds with an event; none when it was sent without one.
    pub(crate) fn id_of(&self, key: EventKey) -> Option<String> {
        let has_id = match key.source() {
            Source::Request { origin, .. } => self.requests.get(&origin).is_some_and(|sent| sent.has_ids),
            Source::Foreign { .. } => true,
        };
        has_id.then(|| key.to_string())
    }

    /// Whether an event was ever on its way.
    pub(crate) fn was_sent(&self, key: EventKey) -> bool {
        match key.source() {
            Source::Request { origin, index } => self.requests.get(&origin).is_some_and(|sent| index < sent.events),
            Source::Foreign { number } => self.foreign_events.contains_key(&number),
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a ledger's numbers are numbers")
}

#[test]
fn a_ledger_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = Ledger::create(&path);
    let requests = super::requests::Requests::new(1, 0, 5000);
    let request = Request { number: 9, origin: 4, has_ids: true, ..requests.request(0) };
    ledger.sent(&request);
    ledger.answered(&request, 0, None);
    ledger.sent(&request);
    ledger.answered(&request, 202, Some("0:12,1:14"));
    ledger.answered(&request, 400, None);
    ledger.published(3, true, true);
    ledger.published(4, false, false);
    ledger.flush();
    assert_eq!(ledger.counts().events, u64::from(request.events), "a second try sends no further events");
    let book = Book::read(&std::fs::read_to_string(&path).unwrap());
    let positions = vec!["0:12".parse().unwrap(), "1:14".parse().unwrap()];
    assert_eq!(book.requests[&4], Sent { events: request.events, has_ids: true, acknowledged: vec![positions] });
    assert_eq!((book.refusals.len(), book.foreign_events[&3], book.rubbish[&4]), (1, true, false));
    assert!(book.was_sent(EventKey::new(4, 0)) && book.was_sent(EventKey::foreign(3)));
    assert!(
        !book.was_sent(EventKey::new(4, request.events)) && !book.was_sent(EventKey::new(9, 0)) && !book.was_sent(EventKey::foreign(4))
    );
}
