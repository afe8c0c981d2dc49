//! The cut: the one consistent set of rows that a query reads (INVARIANTS I7).
//!
//! ```text
//! tails now (tidemark T, rows above T) -> snapshot with a tidemark of at least T -> the tails' rows above the snapshot's tidemark
//! ```
//!
//! [`Lake`] pins a [`Cut`]; from then on the query reads nothing else, however long it runs and whatever is committed meanwhile.
//! The tails are asked first: what they no longer hold by then is in the snapshot, and what both hold is taken once.
//! `quarantine` is pinned after `events`, and the pipeline commits it before, so what a cut's tidemark covers is there: as a row or
//! in quarantine. When a tail cannot be had, the cut is exactly the committed tables, never a part of the tail.
//!
//! While no commit moves a tidemark the snapshots are kept, but not for long: maintenance replaces and erases without moving any.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use datafusion::arrow::array::RecordBatch;
use schemas::{Position, Sequence, ShardId, tables};
use table::{Snapshot, Store, Table, TailView, Tails, rows_above};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// How long to wait before looking again for a position that is not visible yet.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Snapshots that no tail contradicts are taken for the newest ones for so long.
const LOOK_AT_TABLES: Duration = Duration::from_secs(1);

/// The tables of the lake, and the tails above them.
pub(crate) struct Lake {
    events: Table,
    quarantine: Table,
    tails: Option<Arc<dyn Tails>>,
    newest: Mutex<Option<Newest>>,
}

/// The newest cut.
struct Newest {
    /// When its pinning began.
    began: Instant,
    /// When its snapshots were the newest of the tables.
    looked: Instant,
    cut: Cut,
}

/// A pinned set of rows. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The committed events.
    pub(crate) events: Snapshot,
    /// The committed quarantine.
    pub(crate) quarantine: Snapshot,
    /// What is above them; absent when it could not be had.
    pub(crate) tail: Option<Arc<Tail>>,
}

/// The rows above a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Rows of `events`.
    pub(crate) events: Vec<RecordBatch>,
    /// Rows of `quarantine`.
    pub(crate) quarantined: Vec<RecordBatch>,
    heads: BTreeMap<ShardId, Sequence>,
}

/// What a client asked to see is not there yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    /// Ask again: the pipeline has not got there yet.
    #[error("position `{position}` is not visible yet: what is visible reaches to {as_of}")]
    NotVisible { position: Position, as_of: String },
    /// The store of the tables failed.
    #[error("the tables cannot be read")]
    Table(#[from] table::Error),
}

impl Lake {
    /// Opens the tables; creates them when this is the first process that needs them.
    pub(crate) async fn open(store: &Store, tails: Option<Arc<dyn Tails>>) -> Result<Self, table::Error> {
        let events = Table::open_or_create(store, "events", tables::events()).await?;
        let quarantine = Table::open_or_create(store, "quarantine", tables::quarantine()).await?;
        Ok(Self { events, quarantine, tails, newest: Mutex::new(None) })
    }

    /// The table of the events.
    pub(crate) fn events(&self) -> &Table {
        &self.events
    }

    /// The newest cut. Those who ask at the same time share one look: the one that began after they asked.
    pub(crate) async fn pin(&self) -> Result<Cut, table::Error> {
        let asked = Instant::now();
        let mut newest = self.newest.lock().await;
        if let Some(newest) = &*newest
            && newest.began >= asked
        {
            return Ok(newest.cut.clone());
        }
        let began = Instant::now();
        let views = self.views().await;
        let is_enough = |newest: &Newest| newest.looked + LOOK_AT_TABLES > began && newest.cut.is_enough_for(views.as_deref());
        let (looked, events, quarantine) = match newest.take().filter(is_enough) {
            Some(Newest { looked, cut, .. }) => (looked, cut.events, cut.quarantine),
            None => (Instant::now(), self.events.snapshot().await?, self.quarantine.snapshot().await?),
        };
        let tail = views.and_then(|views| Tail::above(&events, &quarantine, &views)).map(Arc::new);
        let cut = Cut { events, quarantine, tail };
        *newest = Some(Newest { began, looked, cut: cut.clone() });
        Ok(cut)
    }

    /// The tails, or nothing when any of them cannot be had.
    async fn views(&self) -> Option<Vec<TailView>> {
        let views = self.tails.as_ref()?.views().await;
        views.inspect_err(|error| tracing::debug!(%error, "answering from the committed tables alone")).ok()
    }

    /// The newest cut that covers `positions`, waiting for it until `deadline`.
    pub(crate) async fn pin_at_least(&self, positions: &[Position], deadline: Instant) -> Result<Cut, PinError> {
        loop {
            let cut = self.pin().await?;
            let Some(position) = cut.first_uncovered(positions) else { return Ok(cut) };
            if Instant::now() + LOOK_AGAIN >= deadline {
                let as_of = if cut.as_of().is_empty() { "nothing".to_owned() } else { format!("`{}`", cut.as_of_text()) };
                return Err(PinError::NotVisible { position, as_of });
            }
            self.wait_for(position).await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a pause between looks at a store, on the clock of the query's deadline")]
    async fn wait_for(&self, position: Position) {
        if let Some(tails) = &self.tails {
            tails.reached(position.shard, position.sequence).await;
        }
        sleep(LOOK_AGAIN).await;
    }
}

impl Tail {
    /// The views' rows that the snapshots do not hold; nothing when a shard of the table has no view.
    fn above(events: &Snapshot, quarantine: &Snapshot, views: &[TailView]) -> Option<Self> {
        let mut tail = Self::default();
        for view in views {
            tail.events.extend(rows_above(&view.events, events.tidemark(view.shard)));
            tail.quarantined.extend(rows_above(&view.quarantined, quarantine.tidemark(view.shard)));
            tail.heads.insert(view.shard, view.head);
        }
        events.tidemarks().keys().all(|shard| tail.heads.contains_key(shard)).then_some(tail)
    }
}

impl Cut {
    /// Whether these snapshots reach up to where the tails begin. Without tails only a new look tells what was committed.
    fn is_enough_for(&self, views: Option<&[TailView]>) -> bool {
        views.is_some_and(|views| views.iter().all(|view| self.events.tidemark(view.shard) >= view.tidemark))
    }

    /// Shard -> the highest sequence whose events are all in this cut.
    pub(crate) fn as_of(&self) -> BTreeMap<u16, u64> {
        let heads = self.tail.iter().flat_map(|tail| tail.heads.keys()).chain(self.events.tidemarks().keys());
        heads.map(|shard| (shard.0, self.reach(*shard).0)).collect()
    }

    /// [`Self::as_of`] as `shard:sequence`, joined by commas.
    pub(crate) fn as_of_text(&self) -> String {
        self.as_of().iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect::<Vec<_>>().join(",")
    }

    /// Whether events that are not committed yet are in the cut.
    pub(crate) fn is_fresh(&self) -> bool {
        self.tail.is_some()
    }

    /// The same cut without what is not committed.
    pub(crate) fn committed(&self) -> Self {
        Self { tail: None, ..self.clone() }
    }

    fn reach(&self, shard: ShardId) -> Sequence {
        let head = self.tail.as_ref().and_then(|tail| tail.heads.get(&shard)).copied();
        self.events.tidemark(shard).max(head.unwrap_or_default())
    }

    fn first_uncovered(&self, positions: &[Position]) -> Option<Position> {
        positions.iter().find(|position| self.reach(position.shard) < position.sequence).copied()
    }
}
