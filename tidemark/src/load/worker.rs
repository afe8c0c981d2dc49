//! One connection of a run: takes a request that is due, sends it, and notes what came back.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::rngs::SmallRng;
use schemas::Position;
use serde::Deserialize;
use service::clock::Clock;
use tokio::time::timeout;

use super::{
    answer::Answer,
    connection::{Connection, Fault},
    ledger::{Fate, Ledger},
    message::Messages,
    pace::{Pace, Ticket},
    recorder::{Outcome, Recorder, Sent},
};

/// How long a connection that could not be opened leaves the server alone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
const SERVER_ERROR: u16 = 500;

/// One connection with everything that it needs.
pub(super) struct Worker {
    pub(super) pace: Arc<Pace>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) connection: Connection,
    pub(super) messages: Messages,
    pub(super) random: SmallRng,
    pub(super) clock: Clock,
    /// Events in a request.
    pub(super) batch: u64,
    /// The probability that a request is one that was sent before.
    pub(super) repeats: f64,
    /// How long a request waits for a connection at most, and then for its answer.
    pub(super) timeout: Duration,
    /// Whether the answers are read, so that the rows can be counted.
    pub(super) is_checked: bool,
}

/// The members of a 2xx that are needed, of one event or many.
#[derive(Deserialize)]
struct Accepted<'a> {
    accepted: u64,
    #[serde(borrow)]
    position: Option<Cow<'a, str>>,
}

impl Worker {
    /// Sends until the pace has no more requests.
    pub(super) async fn run(mut self) -> Ledger {
        let mut ledger = Ledger::default();
        while let Some(ticket) = self.pace.next().await {
            let now = Instant::now();
            if now - ticket.intended > self.timeout {
                self.recorder.dropped(ticket.step, ticket.intended, now);
            } else if self.send(ticket, now, &mut ledger).await == Outcome::Unreachable {
                self.clock.sleep_until(self.clock.now() + RECONNECT_PAUSE).await;
            }
        }
        ledger
    }

    async fn send(&mut self, Ticket { step, intended }: Ticket, sent: Instant, ledger: &mut Ledger) -> Outcome {
        let choice = ledger.choose(self.repeats, &mut self.random);
        let exchange = self.connection.exchange(self.messages.request(choice.number));
        let (outcome, fate) = match timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => (Outcome::Answered(answer.status), self.fate(&answer, ledger)),
            Ok(Err(Fault::Unreachable(_))) => (Outcome::Unreachable, Fate::NotStored),
            Ok(Err(Fault::Broken(_) | Fault::Garbled(_))) => (Outcome::Broken, Fate::Unknown),
            Err(_) => (Outcome::TimedOut, Fate::Unknown),
        };
        ledger.settle(choice, self.batch, fate);
        let acknowledged = if let Fate::Acknowledged(events) = fate { events } else { 0 };
        let is_repeat = choice.is_repeat;
        self.recorder.ended(&Sent { step, intended, sent, is_repeat, outcome, acknowledged }, Instant::now());
        outcome
    }

    /// What an answer says about the events of its request.
    fn fate(&self, answer: &Answer, ledger: &mut Ledger) -> Fate {
        if answer.status >= SERVER_ERROR {
            return Fate::Unknown;
        }
        if !Outcome::Answered(answer.status).is_good() {
            return Fate::NotStored;
        }
        if !self.is_checked {
            return Fate::Acknowledged(self.batch);
        }
        let Ok(accepted) = serde_json::from_slice::<Accepted<'_>>(self.connection.bytes(answer.body.clone())) else {
            return Fate::Acknowledged(self.batch);
        };
        let positions = accepted.position.iter().flat_map(|list| list.split(','));
        positions.filter_map(|text| text.parse::<Position>().ok()).for_each(|position| ledger.saw(position));
        Fate::Acknowledged(accepted.accepted)
    }
}
