//! The stream of a shard: created as the journal needs it, or found to be so, field by field.
//!
//! `discard: new` with `max_bytes` refuses when full and never deletes; `max_age` 0 and `deny_delete` leave purging
//! as the only way out, and purging is ours (I5). Whatever the server can be told about a stream is compared, so
//! a field that a newer server adds is compared too; only what cannot hurt is left to the operator.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    ErrorCode,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use schemas::{Sequence, ShardId};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    OpenError, StreamsConfig, adoption,
    config::DUPLICATE_WINDOW,
    refusals::Refusals,
    server::{CallError, Server, StreamInfo},
    watermark::Watermark,
};
use crate::{Bounds, Error};

/// Left to the operator: names, notes, placement, compression, where the numbers begin, and the server's own bound for consumers.
const OPERATORS_CHOICE: [&str; 7] =
    ["description", "metadata", "placement", "compression", "max_consumers", "consumer_limits", "first_seq"];

/// An opened stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) shard: ShardId,
    pub(super) name: String,
    pub(super) subject: String,
    identity: String,
    max_bytes: u64,
    /// Clones share it.
    pub(super) watermark: Arc<Watermark>,
    /// Clones share it.
    pub(super) refusals: Arc<Refusals>,
}

impl Stream {
    pub(super) async fn open(server: &Server, streams: &StreamsConfig, shard: u16) -> Result<Self, OpenError> {
        let wanted = config(streams, shard);
        let found = find_or_create(server, streams, &wanted).await?;
        if adoption::is_parked(&found.config) {
            return Err(OpenError::BeingAdopted { stream: wanted.name });
        }
        verify(&wanted, &found.config)?;
        Ok(Self::of(&found, shard, streams))
    }

    /// A stream as the server described it.
    pub(super) fn of(found: &StreamInfo, shard: u16, streams: &StreamsConfig) -> Self {
        Self {
            shard: ShardId(shard),
            name: found.config.name.clone(),
            subject: found.config.subjects.first().cloned().unwrap_or_default(),
            identity: found.created.clone(),
            max_bytes: streams.max_bytes,
            watermark: Arc::new(Watermark::new(Sequence(found.state.last_seq))),
            refusals: Arc::default(),
        }
    }

    /// What the stream holds, whatever its identity.
    pub(super) async fn bounds(&self, server: &Server) -> Result<Bounds, Error> {
        let info = server.stream_info(&self.name).await.map_err(|error| error.about(&self.name))?;
        Ok(info.bounds(self.max_bytes))
    }

    /// An error while it refuses what it is given.
    pub(super) fn stores(&self) -> Result<(), Error> {
        let refused = self.refusals.recent(Instant::now()).map(|reason| Error::Refusing { reason });
        refused.map_or(Ok(()), Err)
    }

    /// An error when what comes after `position`, up to `last`, does not begin at once: the leader is asked for the next message.
    pub(super) async fn confirm_next(&self, server: &Server, position: Sequence, last: Sequence) -> Result<(), Error> {
        let (expected, found) = (position.next(), server.next_message(&self.name, position.next().0).await);
        let found = found.map_err(|error| error.about(&self.name))?.map_or(last.next(), Sequence);
        if found > expected {
            return Err(Error::Gap { stream: self.name.clone(), expected, found });
        }
        Ok(())
    }

    /// What the stream holds, if it is still the one that was opened (I8) and has everything up to `seen`.
    pub(super) async fn same_bounds(&self, server: &Server, seen: Sequence) -> Result<Bounds, Error> {
        let bounds = self.bounds(server).await?;
        if bounds.identity != self.identity {
            return Err(Error::Recreated { stream: self.name.clone(), opened: self.identity.clone(), found: bounds.identity });
        }
        if bounds.last < seen {
            return Err(Error::Truncated { stream: self.name.clone(), position: seen, last: bounds.last });
        }
        Ok(bounds)
    }

    /// Purges up to and including `up_to`, which is checked: the server would move its numbers on beyond its last message.
    pub(super) async fn release(&self, server: &Server, up_to: Sequence) -> Result<(), Error> {
        let bounds = self.same_bounds(server, up_to).await?;
        if up_to < bounds.first {
            return Ok(());
        }
        server.purge_before(&self.name, up_to.next().0).await.map_err(|error| error.about(&self.name))
    }
}

/// What the stream of a shard has to be.
pub(super) fn config(streams: &StreamsConfig, shard: u16) -> Config {
    Config {
        name: streams.stream_name(shard),
        subjects: vec![streams.subject(shard)],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(streams.max_bytes).expect("checked with the settings"),
        max_age: Duration::ZERO,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        deny_delete: true,
        deny_purge: false,
        num_replicas: usize::from(streams.replicas),
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        ..Config::default()
    }
}

async fn find_or_create(server: &Server, streams: &StreamsConfig, wanted: &Config) -> Result<StreamInfo, OpenError> {
    let found = match server.stream_info(&wanted.name).await {
        Err(CallError::Refused(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            if server.stream_info(&adoption::helper_name(&wanted.name)).await.is_ok() {
                return Err(OpenError::BeingAdopted { stream: wanted.name.clone() });
            }
            server.create_stream(wanted).await
        }
        found => found,
    };
    found.map_err(|error| match error {
        CallError::Refused(source) if means_no_room(source.error_code()) => {
            OpenError::NoRoom { stream: wanted.name.clone(), max_bytes: streams.max_bytes, source }
        }
        error => server.failed(error.about(&wanted.name)),
    })
}

fn means_no_room(code: ErrorCode) -> bool {
    [ErrorCode::STORAGE_RESOURCES_EXCEEDED, ErrorCode::INSUFFICIENT_RESOURCES, ErrorCode::ACCOUNT_RESOURCES_EXCEEDED].contains(&code)
}

/// Names the first difference that matters.
pub(super) fn verify(wanted: &Config, found: &Config) -> Result<(), OpenError> {
    let (wanted_fields, found_fields) = (fields(wanted), fields(found));
    let different = wanted_fields.keys().chain(found_fields.keys()).find(|field| wanted_fields.get(*field) != found_fields.get(*field));
    different.map_or(Ok(()), |field| {
        Err(OpenError::StreamDiffers {
            stream: wanted.name.clone(),
            field: field.clone(),
            found: readable(field, found_fields.get(field)),
            wanted: readable(field, wanted_fields.get(field)),
            remedy: remedy(field, &wanted.name),
        })
    })
}

/// The fields as the NATS API writes them; one that has its default is not there.
fn fields(config: &Config) -> Map<String, Value> {
    let fields = serde_json::to_value(config).and_then(serde_json::from_value);
    let mut fields: Map<String, Value> = fields.expect("it travels to the server as a JSON object");
    fields.retain(|field, value| !OPERATORS_CHOICE.contains(&field.as_str()) && !value.is_null());
    fields
}

fn readable(field: &str, value: Option<&Value>) -> String {
    match (field, value) {
        (_, None) => "not set".to_owned(),
        ("max_age" | "duplicate_window", Some(nanoseconds)) => {
            format!("{:?}", Duration::from_nanos(nanoseconds.as_u64().unwrap_or_default()))
        }
        (_, Some(Value::String(text))) => text.clone(),
        (_, Some(value)) => value.to_string(),
    }
}

fn remedy(field: &str, stream: &str) -> String {
    let setting = match field {
        "max_bytes" => "set `journal.max_bytes` to what it has",
        "num_replicas" => "set `journal.replicas` to what it has",
        _ => "name another stream in `journal.stream`",
    };
    format!("{setting}, or change it with `nats stream edit {stream}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Config {
        config(
            &StreamsConfig { stream: "t".into(), shards: 1, replicas: 1, max_bytes: 1 << 30, publish_timeout: Duration::from_secs(5) },
            0,
        )
    }

    fn difference(change: impl FnOnce(&mut Config)) -> Option<String> {
        let mut found = wanted();
        change(&mut found);
        verify(&wanted(), &found).err().map(|error| error.to_string())
    }

    #[test]
    fn an_operators_choice_is_no_difference() {
        assert_eq!(difference(|found| found.description = Some("events".into())), None);
        assert_eq!(difference(|found| found.max_consumers = 1000), None);
        assert_eq!(difference(|found| found.first_sequence = Some(7)), None);
    }

    #[test]
    fn a_difference_names_stream_field_both_values_and_a_remedy() {
        let message = difference(|found| found.max_age = Duration::from_secs(3600)).unwrap();
        assert_eq!(
            message,
            "stream `t-0` has `max_age` = `3600s`, but `0ns` is needed: \
             name another stream in `journal.stream`, or change it with `nats stream edit t-0`"
        );
        assert!(difference(|found| found.max_bytes = 5).unwrap().contains("`max_bytes` = `5`"));
    }

    #[test]
    fn a_field_that_only_the_found_stream_sets_is_a_difference() {
        assert!(difference(|found| found.allow_rollup = true).unwrap().contains("`allow_rollup_hdrs` = `true`, but `not set`"));
    }
}
