//! Where a reader stands, and what a message that arrives means for it. Pure: the reader obeys.
//!
//! Two counters tell a hole from a loss: the consumer numbers what it sends without holes, so a jump in
//! its numbers is a message lost on the way, and a jump in the stream's numbers alone is a message that is not there.

use schemas::Sequence;

/// The last message that was handed on, and the last that the present consumer sent.
#[derive(Debug)]
pub(super) struct Cursor {
    last: Sequence,
    sent: u64,
}

/// What a message is to the reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The one that was expected; the cursor stands on it now.
    Next,
    /// Handed on before.
    Seen,
    /// Others were sent before it and did not arrive: ask again from the cursor.
    Lost,
    /// The ones before it are not in the stream.
    Hole,
}

impl Cursor {
    /// Behind `last`, before anything was sent.
    pub(super) const fn after(last: Sequence) -> Self {
        Self { last, sent: 0 }
    }

    /// The last message that was handed on.
    pub(super) const fn last(&self) -> Sequence {
        self.last
    }

    /// A new consumer starts to count at 1.
    pub(super) const fn consumer_created(&mut self) {
        self.sent = 0;
    }

    /// Judges the message that the stream numbers `sequence` and the consumer `sent`.
    pub(super) fn judge(&mut self, sequence: Sequence, sent: u64) -> Verdict {
        if sequence <= self.last {
            self.sent = sent;
            return Verdict::Seen;
        }
        if sent != self.sent + 1 {
            return Verdict::Lost;
        }
        self.sent = sent;
        if sequence != self.last.next() {
            return Verdict::Hole;
        }
        self.last = sequence;
        Verdict::Next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_jump_of_both_counters_is_a_loss_and_of_the_stream_alone_a_hole() {
        let mut cursor = Cursor::after(Sequence(4));
        assert_eq!(cursor.judge(Sequence(5), 1), Verdict::Next);
        assert_eq!(cursor.judge(Sequence(7), 3), Verdict::Lost);
        assert_eq!(cursor.judge(Sequence(7), 2), Verdict::Hole);
        assert_eq!(cursor.last(), Sequence(5));
    }

    #[test]
    fn what_was_handed_on_is_seen_and_not_handed_on_again() {
        let mut cursor = Cursor::after(Sequence(4));
        assert_eq!(cursor.judge(Sequence(4), 1), Verdict::Seen);
        assert_eq!(cursor.judge(Sequence(5), 2), Verdict::Next);
        cursor.consumer_created();
        assert_eq!(cursor.judge(Sequence(5), 1), Verdict::Seen);
        assert_eq!(cursor.judge(Sequence(6), 2), Verdict::Next);
    }

    proptest! {
        /// Whatever arrives in whatever order, the ones handed on are contiguous.
        #[test]
        fn nothing_but_the_next_message_is_ever_handed_on(
            after in 0_u64..5,
            arrivals in prop::collection::vec((0_u64..20, 0_u64..20), 0..200),
        ) {
            let mut cursor = Cursor::after(Sequence(after));
            let mut expected = after + 1;
            for (sequence, sent) in arrivals {
                if cursor.judge(Sequence(sequence), sent) == Verdict::Next {
                    prop_assert_eq!(sequence, expected);
                    expected += 1;
                }
            }
            prop_assert_eq!(cursor.last(), Sequence(expected - 1));
        }

        /// However often messages get lost and the consumer is created again, everything is handed on.
        #[test]
        fn a_reader_that_asks_again_after_a_loss_gets_everything(lost in prop::collection::vec(any::<bool>(), 0..60), total in 1_u64..30) {
            let mut cursor = Cursor::after(Sequence::ZERO);
            let mut lost = lost.into_iter();
            while cursor.last() < Sequence(total) {
                cursor.consumer_created();
                let start = cursor.last().next().0;
                for (sent, sequence) in (1..).zip(start..=total) {
                    if lost.next().unwrap_or(false) {
                        continue;
                    }
                    let verdict = cursor.judge(Sequence(sequence), sent);
                    prop_assert!(matches!(verdict, Verdict::Next | Verdict::Lost));
                }
            }
        }
    }
}
