//! When a block is published: the decisions of group commit, as a plain queue.
//!
//! Events gather in the open block. It is due when nothing of its shard is in flight; a full one is sealed and due as soon as a
//! place in flight is free. So a lone event waits for nothing, and under load one fsync carries all that came during the last.

use std::collections::VecDeque;

use schemas::{BlockBuilder, Event, Identity, Sequence};
use service::telemetry::traces::TraceContext;
use tokio::sync::watch;

use super::{batcher::Refusal, span::Requests};

/// What became of a block: where it stands, or why it does not.
pub(super) type Outcome = Result<Sequence, Refusal>;

/// The limits of one shard's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A block of this size is full.
    pub(super) target_bytes: usize,
    /// Blocks that may be in flight at once, at least 1.
    pub(super) in_flight: usize,
}

/// Events of several requests that become one block, and those who wait for it.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) events: BlockBuilder,
    pub(super) requests: Requests,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
}

impl Default for OpenBlock {
    fn default() -> Self {
        Self { events: BlockBuilder::default(), requests: Requests::default(), outcome: watch::Sender::new(None) }
    }
}

/// A place in a block: the index of a request's first event there, and the outcome to wait for.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) first_index: u32,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

/// The blocks of one shard that are not yet in flight, oldest first, and how many are.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    sealed: VecDeque<OpenBlock>,
    open: OpenBlock,
    in_flight: usize,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, sealed: VecDeque::new(), open: OpenBlock::default(), in_flight: 0 }
    }

    /// Adds the events of one request; they stay together in one block.
    pub(super) fn push<'e>(
        &mut self,
        size_bytes: usize,
        events: impl Iterator<Item = &'e (Event<'e>, Identity)>,
        request: Option<TraceContext>,
    ) -> Place {
        if self.open.events.rows() > 0 && self.open.events.size_bytes() + size_bytes > self.limits.target_bytes {
            self.seal();
        }
        let first_index =
            u32::try_from(self.open.events.rows()).expect("a block has far fewer rows than 2^32: it is sealed at its target size");
        events.for_each(|(event, identity)| self.open.events.push(event, *identity));
        self.open.requests.add(request);
        let place = Place { first_index, outcome: self.open.outcome.subscribe() };
        if self.open.events.size_bytes() >= self.limits.target_bytes {
            self.seal();
        }
        place
    }

    /// Whether a block is to be published now.
    pub(super) fn is_due(&self) -> bool {
        match self.sealed.is_empty() {
            true => self.in_flight == 0 && self.open.events.rows() > 0,
            false => self.in_flight < self.limits.in_flight,
        }
    }

    /// The next block to publish, if one is due. It is in flight until it [has landed](Self::landed).
    pub(super) fn take_due(&mut self) -> Option<OpenBlock> {
        self.is_due().then(|| {
            self.in_flight += 1;
            self.sealed.pop_front().unwrap_or_else(|| std::mem::take(&mut self.open))
        })
    }

    /// A block that was in flight is no more, whatever became of it.
    pub(super) fn landed(&mut self) {
        self.in_flight -= 1;
    }

    fn seal(&mut self) {
        self.sealed.push_back(std::mem::take(&mut self.open));
    }
}

#[cfg(test)]
mod tests {
    use schemas::{IdentityRule, Timestamp};

    use super::*;

    fn event() -> (Event<'static>, Identity) {
        let event = Event {
            timestamp: Timestamp(1),
            received_at: Timestamp(2),
            event_id: None,
            event_name: "a".into(),
            user_id: None,
            channel: None,
            campaign_id: None,
            site_id: None,
            path: None,
            tags: None,
            metadata: None,
        };
        let identity = IdentityRule::default().of(&event);
        (event, identity)
    }

    fn push(queue: &mut Queue, events: usize) -> u32 {
        let events = vec![event(); events];
        let size = events.iter().map(|(event, _)| schemas::block::size_bytes(event)).sum();
        queue.push(size, events.iter(), None).first_index
    }

    fn queue(events_per_block: usize) -> Queue {
        let size = schemas::block::size_bytes(&event().0);
        Queue::new(Limits { target_bytes: size * events_per_block, in_flight: 2 })
    }

    fn rows(block: Option<OpenBlock>) -> Option<usize> {
        block.map(|block| block.events.rows())
    }

    #[test]
    fn a_lone_event_is_due_at_once() {
        let mut queue = queue(10);
        assert_eq!(rows(queue.take_due()), None);
        push(&mut queue, 1);
        assert!(queue.is_due());
        assert_eq!(rows(queue.take_due()), Some(1));
    }

    #[test]
    fn what_comes_during_a_publish_goes_together_after_it() {
        let mut queue = queue(10);
        push(&mut queue, 1);
        queue.take_due();
        let indices: Vec<u32> = (0..3).map(|_| push(&mut queue, 2)).collect();
        assert_eq!(indices, [0, 2, 4]);
        assert!(!queue.is_due(), "an open block waits for the running publish");
        queue.landed();
        assert_eq!(rows(queue.take_due()), Some(6));
    }

    #[test]
    fn a_full_block_takes_a_free_place_and_no_more() {
        let mut queue = queue(4);
        push(&mut queue, 1);
        queue.take_due();
        push(&mut queue, 4);
        push(&mut queue, 4);
        push(&mut queue, 1);
        assert_eq!([rows(queue.take_due()), rows(queue.take_due())], [Some(4), None]);
        queue.landed();
        assert_eq!([rows(queue.take_due()), rows(queue.take_due())], [Some(4), None]);
        queue.landed();
        queue.landed();
        assert_eq!(rows(queue.take_due()), Some(1));
    }

    #[test]
    fn a_request_stays_in_one_block_and_a_large_one_has_its_own() {
        let mut queue = queue(4);
        for events in [1, 9, 1] {
            push(&mut queue, events);
        }
        let blocks = [(); 3].map(|()| {
            let block = rows(queue.take_due());
            queue.landed();
            block
        });
        assert_eq!(blocks, [Some(1), Some(9), Some(1)]);
    }
}
