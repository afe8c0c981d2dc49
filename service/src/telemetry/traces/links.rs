//! Many spans whose work is done together in one: requests in a block, blocks in a commit.

use tracing::Span;

use super::TraceContext;

/// The first of many spans; those beyond `MOST` are left out (INVARIANTS I6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links<const MOST: usize>(Vec<TraceContext>);

impl<const MOST: usize> Links<MOST> {
    /// Adds one, if there is one, and room.
    pub fn add(&mut self, context: Option<TraceContext>) {
        if self.0.len() < MOST {
            self.0.extend(context);
        }
    }

    /// The first that was added.
    #[must_use]
    pub fn first(&self) -> Option<&TraceContext> {
        self.0.first()
    }

    /// Links a span to all of them.
    pub fn link_to(&self, span: &Span) {
        self.0.iter().for_each(|context| context.link_to(span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_the_first_ones_and_bounded() {
        let context = |number: u32| TraceContext::parse(&format!("00-{number:032x}-{number:016x}-01"));
        let mut links = Links::<3>::default();
        for number in [None, Some(7), None, Some(8), Some(9), Some(10)] {
            links.add(number.and_then(context));
        }
        assert_eq!(links, Links([7, 8, 9].into_iter().filter_map(context).collect()));
        assert_eq!(links.first(), context(7).as_ref());
    }
}
