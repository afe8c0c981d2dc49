//! The cut: the one consistent set of rows that a query reads (INVARIANTS I7).
//!
//! [`Lake`] pins a [`Cut`]; from then on the query reads nothing else, however long it runs and whatever is committed
//! meanwhile. `quarantine` is pinned after `events`, and the pipeline commits it before, so what a cut's tidemark covers is
//! there: as a row or in quarantine.

use std::{collections::BTreeMap, time::Duration};

use schemas::{Position, tables};
use table::{Snapshot, Store, Table};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// How long to wait before looking again for a position that is not visible yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The tables of the lake.
pub(crate) struct Lake {
    events: Table,
    quarantine: Table,
    /// The newest cut, and when its pinning began.
    newest: Mutex<Option<(Instant, Cut)>>,
}

/// A pinned set of rows. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The committed events.
    pub(crate) events: Snapshot,
    /// The committed quarantine.
    pub(crate) quarantine: Snapshot,
}

/// What a client asked to see is in no commit yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    /// Ask again: the pipeline has not got there yet.
    #[error("position `{position}` is not visible yet: the answer would be as of `{as_of}`")]
    NotVisible { position: Position, as_of: String },
    /// The store of the tables failed.
    #[error("the tables cannot be read")]
    Table(#[from] table::Error),
}

impl Lake {
    /// Opens the tables; creates them when this is the first process that needs them.
    pub(crate) async fn open(store: &Store) -> Result<Self, table::Error> {
        let events = Table::open_or_create(store, "events", tables::events()).await?;
        let quarantine = Table::open_or_create(store, "quarantine", tables::quarantine()).await?;
        Ok(Self { events, quarantine, newest: Mutex::new(None) })
    }

    /// The newest cut. Those who ask at the same time share one look at the store: the one that began after they asked.
    pub(crate) async fn pin(&self) -> Result<Cut, table::Error> {
        let asked = Instant::now();
        let mut newest = self.newest.lock().await;
        if let Some((began, cut)) = &*newest
            && *began >= asked
        {
            return Ok(cut.clone());
        }
        let began = Instant::now();
        let events = self.events.snapshot().await?;
        let cut = Cut { events, quarantine: self.quarantine.snapshot().await? };
        *newest = Some((began, cut.clone()));
        Ok(cut)
    }

    /// The newest cut that covers `positions`, waiting for it until `deadline`.
    pub(crate) async fn pin_at_least(&self, positions: &[Position], deadline: Instant) -> Result<Cut, PinError> {
        loop {
            let cut = self.pin().await?;
            let Some(position) = cut.first_uncovered(positions) else { return Ok(cut) };
            if Instant::now() + LOOK_AGAIN >= deadline {
                return Err(PinError::NotVisible { position, as_of: cut.as_of_text() });
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Cut {
    /// Shard -> the highest sequence whose events are all in this cut.
    pub(crate) fn as_of(&self) -> BTreeMap<u16, u64> {
        self.events.tidemarks().iter().map(|(shard, sequence)| (shard.0, sequence.0)).collect()
    }

    /// [`Self::as_of`] as `shard:sequence`, joined by commas.
    pub(crate) fn as_of_text(&self) -> String {
        self.as_of().iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect::<Vec<_>>().join(",")
    }

    /// Whether events that are not committed yet are in the cut. A cut of tables alone is exactly what is committed.
    pub(crate) const fn is_fresh(&self) -> bool {
        false
    }

    fn first_uncovered(&self, positions: &[Position]) -> Option<Position> {
        positions.iter().find(|position| self.events.tidemark(position.shard) < position.sequence).copied()
    }
}
