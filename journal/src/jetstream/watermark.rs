//! What a publisher knows of the numbers of its stream: they only grow.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use schemas::Sequence;

/// The highest sequence that a stream is known to have had, and the proof that it has it no longer.
#[derive(Debug)]
pub(super) struct Watermark {
    seen: AtomicU64,
    broken: OnceLock<Break>,
}

/// A new message got a number that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) seen: Sequence,
    pub(super) found: Sequence,
}

impl Watermark {
    pub(super) fn new(seen: Sequence) -> Self {
        Self { seen: AtomicU64::new(seen.0), broken: OnceLock::new() }
    }

    /// Whatever is stored from now on has a higher sequence.
    pub(super) fn seen(&self) -> Sequence {
        Sequence(self.seen.load(Ordering::SeqCst))
    }

    /// Set once, for ever.
    pub(super) fn broken(&self) -> Option<Break> {
        self.broken.get().copied()
    }

    /// Takes the sequence of a message that was stored after [`seen`](Self::seen) gave `before`.
    pub(super) fn stored(&self, before: Sequence, found: Sequence) -> Result<(), Break> {
        if found <= before {
            return Err(self.distrust(before, found));
        }
        self.seen.fetch_max(found.0, Ordering::SeqCst);
        Ok(())
    }

    /// From here on the stream is not trusted.
    pub(super) fn distrust(&self, seen: Sequence, found: Sequence) -> Break {
        *self.broken.get_or_init(|| Break { seen, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_arrive_in_any_order_and_never_twice() {
        let watermark = Watermark::new(Sequence(5));
        let before = watermark.seen();
        watermark.stored(before, Sequence(7)).unwrap();
        watermark.stored(before, Sequence(6)).unwrap();
        assert_eq!((watermark.seen(), watermark.broken()), (Sequence(7), None));
        let broken = Break { seen: Sequence(7), found: Sequence(1) };
        assert_eq!(watermark.stored(watermark.seen(), Sequence(1)), Err(broken));
        assert_eq!(watermark.broken(), Some(broken), "for ever");
    }
}
