//! Which step of an adoption comes next. Pure: what stands on the server decides.

use std::fmt;

use schemas::Sequence;

use super::{COMPLETE, OF, is_parked};
use crate::jetstream::server::StreamInfo;

/// A step of an adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The helper is created.
    Begin,
    /// The old stream takes nothing more, and its messages are in the helper.
    CopyOut {
        /// How many there are.
        messages: u64,
    },
    /// The old stream is gone.
    DeleteOld,
    /// The new stream is there.
    CreateNew {
        /// Its first number.
        first: Sequence,
    },
    /// The table has moved on during the adoption: the new stream is made once more.
    DeleteNew,
    /// The new stream holds what the helper holds.
    CopyBack {
        /// How many messages.
        messages: u64,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Take(Step),
    /// The new stream holds everything.
    Ready,
    /// The stream is neither the old nor the new one.
    InTheWay,
}

/// The two streams of an adoption, as they are now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) stream: Option<&'a StreamInfo>,
    pub(super) helper: Option<&'a StreamInfo>,
}

impl Standing<'_> {
    pub(super) fn next(self, above: Sequence) -> Next {
        let Some(helper) = self.helper else { return Next::Take(Step::Begin) };
        if !helper.config.metadata.contains_key(COMPLETE) {
            return Next::Take(Step::CopyOut { messages: helper.state.messages });
        }
        match self.stream {
            None => Next::Take(Step::CreateNew { first: above.next().next() }),
            Some(stream) if stream.config.metadata.get(OF) == Some(&helper.created) => next_of_new(stream, helper, above),
            Some(stream) if helper.config.metadata.get(OF) == Some(&stream.created) => Next::Take(Step::DeleteOld),
            Some(_) => Next::InTheWay,
        }
    }
}

/// A new stream that is open may have taken and released messages of its own: it is never touched again.
fn next_of_new(new: &StreamInfo, helper: &StreamInfo, above: Sequence) -> Next {
    if !is_parked(&new.config) {
        return Next::Ready;
    }
    if new.config.first_sequence.unwrap_or(1) <= above.0 {
        return Next::Take(Step::DeleteNew);
    }
    if new.state.messages < helper.state.messages {
        return Next::Take(Step::CopyBack { messages: new.state.messages });
    }
    Next::Ready
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("the adoption has begun"),
            Self::CopyOut { messages } => write!(f, "the stream takes nothing more; its {messages} messages are copied aside"),
            Self::DeleteOld => f.write_str("the stream is deleted"),
            Self::CreateNew { first } => write!(f, "the stream is created again, its numbers begin at {first}"),
            Self::DeleteNew => f.write_str("the table has moved on meanwhile; the new stream is deleted and made once more"),
            Self::CopyBack { messages } => write!(f, "all {messages} messages are in the new stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::Config;

    use super::*;
    use crate::jetstream::server::StreamState;

    fn info(name: &str, created: &str, messages: u64, subject: &str, metadata: &[(&str, &str)]) -> StreamInfo {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (name, subjects) = (name.to_owned(), vec![subject.to_owned()]);
        let config = Config { name, subjects, metadata, first_sequence: Some(12), ..Config::default() };
        let state = StreamState { messages, bytes: 0, first_seq: 12, last_seq: 11 + messages };
        StreamInfo { config, created: created.to_owned(), state }
    }

    fn old(created: &str) -> StreamInfo {
        info("t-0", created, 3, "t.0", &[])
    }

    fn new(messages: u64, subject: &str) -> StreamInfo {
        info("t-0", "new", messages, subject, &[(OF, "helper")])
    }

    fn helper(messages: u64, is_complete: bool) -> StreamInfo {
        let marks = [(OF, "old"), (COMPLETE, "true")];
        info("t-0-adopting", "helper", messages, "t-adopting.0", &marks[..1 + usize::from(is_complete)])
    }

    fn next(stream: Option<StreamInfo>, helper: Option<StreamInfo>, above: u64) -> Next {
        Standing { stream: stream.as_ref(), helper: helper.as_ref() }.next(Sequence(above))
    }

    #[test]
    fn an_adoption_goes_on_from_whatever_stands_on_the_server() {
        assert_eq!(next(None, None, 10), Next::Take(Step::Begin));
        assert_eq!(next(Some(old("old")), None, 10), Next::Take(Step::Begin));
        assert_eq!(next(Some(old("old")), Some(helper(1, false)), 10), Next::Take(Step::CopyOut { messages: 1 }));
        assert_eq!(next(Some(old("old")), Some(helper(3, true)), 10), Next::Take(Step::DeleteOld));
        assert_eq!(next(None, Some(helper(3, true)), 10), Next::Take(Step::CreateNew { first: Sequence(12) }));
        assert_eq!(next(Some(new(2, "t-0-parked")), Some(helper(3, true)), 10), Next::Take(Step::CopyBack { messages: 2 }));
        assert_eq!(next(Some(new(3, "t-0-parked")), Some(helper(3, true)), 11), Next::Ready);
        assert_eq!(next(Some(new(3, "t-0-parked")), Some(helper(3, true)), 12), Next::Take(Step::DeleteNew));
    }

    #[test]
    fn a_stream_that_is_open_or_that_nobody_knows_is_never_touched() {
        assert_eq!(next(Some(new(1, "t.0")), Some(helper(3, true)), 500), Next::Ready);
        assert_eq!(next(Some(old("another")), Some(helper(3, true)), 10), Next::InTheWay);
    }
}
