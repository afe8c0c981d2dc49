//! A block: the events of one journal message, the unit of durability.
//!
//! ```text
//! "TMB2" | schema version (u32 LE) | first 8 bytes of BLAKE3 of the body | body: length (u32 LE) and LZ4 block of an Arrow IPC stream
//! ```
//!
//! Blocks that begin with `TMB1` have the stream as it is, with each of its buffers as an LZ4 frame. They are read, not written: the frames
//! took two thirds of the time in which a block of a few dozen events was decoded.
//!
//! The checksum stands before the decoder, because Arrow's reader panics, or allocates what it is told to, on damaged bytes.
//! `BlockBuilder` takes valid events and writes them straight into column builders; `Block` is the bytes that the journal keeps.
//! The columns are those of `events` that a client or the door fills, and the [`Identity`], so the pipeline never parses or
//! hashes again what came through our door. What the journal adds (shard, sequence) and what follows from the rest (date,
//! index) is added by the pipeline, not stored here.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, FixedSizeBinaryBuilder, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt32Array},
    buffer::Buffer,
    compute::take_record_batch,
    datatypes::{DataType, Field as ArrowField, Schema, SchemaRef},
    error::ArrowError,
    ipc::{
        MetadataVersion,
        reader::StreamDecoder,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use bytes::Bytes;
use lz4_flex::block::{compress_prepend_size, decompress, uncompressed_size};

use crate::{
    event::Event,
    identity::Identity,
    tables::{SCHEMA_VERSION, tags_type, timestamp_type},
};

/// The column of the identity, 16 bytes.
pub const IDENTITY: &str = "identity";

/// The first bytes of a block, which no JSON text has.
const MAGIC: [u8; 4] = *b"TMB2";
/// Those of a block whose buffers are compressed one by one, as they were at first.
const MAGIC_1: [u8; 4] = *b"TMB1";
const HEADER_BYTES: usize = 16;
/// Buffers of a block begin at multiples of this, which the widest numbers of its columns need.
const ALIGNMENT: usize = 8;
/// No byte of LZ4 stands for more than this many.
const LZ4_LIMIT: usize = 255;

/// The columns of a block.
#[must_use]
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = vec![
            ArrowField::new("timestamp", timestamp_type(), false),
            ArrowField::new("received_at", timestamp_type(), false),
            ArrowField::new("event_id", DataType::Utf8, true),
            ArrowField::new("event_name", DataType::Utf8, false),
            ArrowField::new("user_id", DataType::Utf8, true),
            ArrowField::new("channel", DataType::Utf8, true),
            ArrowField::new("campaign_id", DataType::Utf8, true),
            ArrowField::new("site_id", DataType::Utf8, true),
            ArrowField::new("path", DataType::Utf8, true),
            ArrowField::new("tags", tags_type(), true),
            ArrowField::new("metadata", DataType::Utf8, true),
            ArrowField::new(IDENTITY, DataType::FixedSizeBinary(16), false),
        ];
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// Bytes that are no block of a version that this program reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else's message.
    #[error("not a block: the message begins with neither `TMB2` nor `TMB1`")]
    Foreign,
    /// Begins like a block, and is none.
    #[error("broken block: {reason}")]
    Broken {
        /// What is wrong.
        reason: String,
    },
}

/// The encoded events of one journal message.
#[derive(Clone, Debug)]
pub struct Block {
    bytes: Bytes,
    rows: usize,
}

impl Block {
    /// The bytes for the journal.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The length of the bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The number of events.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads a journal message back: one batch in the columns of [`schema`].
    ///
    /// # Errors
    /// [`Error::Foreign`] for what was never a block, [`Error::Broken`] for a damaged one or one of another version.
    pub fn decode(bytes: &Bytes) -> Result<RecordBatch, Error> {
        let mut stream = stream(bytes)?;
        let mut decoder = StreamDecoder::new();
        let rows = decoder.decode(&mut stream).map_err(|error: ArrowError| Error::Broken { reason: error.to_string() })?;
        if decoder.schema().is_none_or(|found| found != schema()) {
            return Err(broken("its columns are not those of its schema version"));
        }
        rows.ok_or_else(|| broken("it has no events"))
    }
}

/// Columns that take valid events, row by row.
#[derive(Debug)]
pub struct BlockBuilder {
    timestamp: TimestampMicrosecondBuilder,
    received_at: TimestampMicrosecondBuilder,
    event_id: StringBuilder,
    event_name: StringBuilder,
    user_id: StringBuilder,
    channel: StringBuilder,
    campaign_id: StringBuilder,
    site_id: StringBuilder,
    path: StringBuilder,
    tags: ListBuilder<StringBuilder>,
    metadata: StringBuilder,
    identity: FixedSizeBinaryBuilder,
    rows: usize,
    bytes: usize,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self {
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            received_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            event_id: StringBuilder::new(),
            event_name: StringBuilder::new(),
            user_id: StringBuilder::new(),
            channel: StringBuilder::new(),
            campaign_id: StringBuilder::new(),
            site_id: StringBuilder::new(),
            path: StringBuilder::new(),
            tags: ListBuilder::new(StringBuilder::new()).with_field(tags_element()),
            metadata: StringBuilder::new(),
            identity: FixedSizeBinaryBuilder::new(16),
            rows: 0,
            bytes: 0,
        }
    }
}

impl BlockBuilder {
    /// Appends an event; its index in the block is the number of rows before.
    pub fn push(&mut self, event: &Event<'_>, identity: Identity) {
        self.timestamp.append_value(event.timestamp.0);
        self.received_at.append_value(event.received_at.0);
        self.event_id.append_option(event.event_id.as_deref());
        self.event_name.append_value(&event.event_name);
        self.user_id.append_option(event.user_id.as_deref());
        self.channel.append_option(event.channel.as_deref());
        self.campaign_id.append_option(event.campaign_id.as_deref());
        self.site_id.append_option(event.site_id.as_deref());
        self.path.append_option(event.path.as_deref());
        self.tags.append_option(event.tags.as_ref().map(|tags| tags.iter().map(|tag| Some(tag.as_ref()))));
        self.metadata.append_option(event.metadata);
        self.identity.append_value(identity.0).expect("an identity has the 16 bytes of its column");
        self.rows += 1;
        self.bytes += size_bytes(event);
    }

    /// The number of events.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how much memory the events take; the encoded block is smaller.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// The events as a batch in the columns of [`schema`].
    #[must_use]
    pub fn into_batch(mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.timestamp.finish()),
            Arc::new(self.received_at.finish()),
            Arc::new(self.event_id.finish()),
            Arc::new(self.event_name.finish()),
            Arc::new(self.user_id.finish()),
            Arc::new(self.channel.finish()),
            Arc::new(self.campaign_id.finish()),
            Arc::new(self.site_id.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.tags.finish()),
            Arc::new(self.metadata.finish()),
            Arc::new(self.identity.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("the builders are those of the schema")
    }

    /// Encodes the events as a block.
    #[must_use]
    pub fn finish(self) -> Block {
        encode(&self.into_batch())
    }
}

/// About how much memory an event takes in columns.
#[must_use]
pub fn size_bytes(event: &Event<'_>) -> usize {
    const FIXED: usize = 8 + 8 + 16 + 9 * 4;
    let texts = [&event.event_id, &event.user_id, &event.channel, &event.campaign_id, &event.site_id, &event.path];
    let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
    let tags: usize = event.tags.iter().flatten().map(|tag| tag.len() + 4).sum();
    FIXED + event.event_name.len() + texts + tags + event.metadata.map_or(0, str::len)
}

/// The Arrow IPC stream of a block, once its header is right.
fn stream(bytes: &Bytes) -> Result<Buffer, Error> {
    let (magic, rest) = bytes.split_first_chunk::<4>().filter(|(magic, _)| [MAGIC, MAGIC_1].contains(magic)).ok_or(Error::Foreign)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| broken("it ends within its header"))?;
    let (sum, body) = rest.split_first_chunk::<8>().ok_or_else(|| broken("it ends within its header"))?;
    match u32::from_le_bytes(*version) {
        SCHEMA_VERSION if *sum != checksum(body) => Err(broken("its checksum does not fit its bytes")),
        SCHEMA_VERSION if *magic == MAGIC_1 => Ok(bytes.slice(HEADER_BYTES..).into()),
        SCHEMA_VERSION => decompressed(body),
        other => Err(Error::Broken { reason: format!("it has schema version {other}, this program reads {SCHEMA_VERSION}; upgrade it") }),
    }
}

fn decompressed(body: &[u8]) -> Result<Buffer, Error> {
    let sized = uncompressed_size(body).ok().filter(|(size, rest)| *size <= rest.len().saturating_mul(LZ4_LIMIT));
    let (size, rest) = sized.ok_or_else(|| broken("its length cannot be right"))?;
    decompress(rest, size).map(Buffer::from).map_err(|error| Error::Broken { reason: error.to_string() })
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(body).as_bytes()[..8]);
    sum
}

fn broken(reason: &str) -> Error {
    Error::Broken { reason: reason.to_owned() }
}

/// Encodes a batch in the columns of [`schema`].
fn encode(batch: &RecordBatch) -> Block {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).expect("the alignment is one that Arrow allows");
    let mut stream = Vec::with_capacity(batch.get_array_memory_size() + 2048);
    let written = StreamWriter::try_new_with_options(&mut stream, &batch.schema(), options).and_then(|mut writer| {
        writer.write(batch)?;
        writer.finish()
    });
    written.expect("writing to memory does not fail");
    block(MAGIC, &compress_prepend_size(&stream), batch.num_rows())
}

fn block(magic: [u8; 4], body: &[u8], rows: usize) -> Block {
    let bytes = [&magic[..], &SCHEMA_VERSION.to_le_bytes(), &checksum(body), body].concat();
    Block { bytes: Bytes::from(bytes), rows }
}

/// The rows of `batch` at `indices`, in that order.
///
/// # Panics
/// When an index lies outside the batch.
#[must_use]
pub fn select(batch: &RecordBatch, indices: Vec<u32>) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(indices)).expect("the indices are rows of the batch")
}

fn tags_element() -> Arc<ArrowField> {
    match tags_type() {
        DataType::List(element) => element,
        other => unreachable!("tags are a list, not {other}"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::ipc::CompressionType;
    use proptest::prelude::*;

    use super::*;
    use crate::{identity::IdentityRule, timestamp::Timestamp};

    type Sent = (i64, i64, String, Option<String>, Option<Vec<String>>, Option<String>);

    fn sent() -> impl Strategy<Value = Sent> {
        let tags = proptest::option::of(proptest::collection::vec(".{0,8}", 0..4));
        (any::<i64>(), any::<i64>(), ".{1,20}", proptest::option::of(".{0,20}"), tags, proptest::option::of(".{0,40}"))
    }

    fn event((timestamp, received_at, event_name, user_id, tags, metadata): &Sent) -> Event<'_> {
        Event {
            timestamp: Timestamp(*timestamp),
            received_at: Timestamp(*received_at),
            event_id: None,
            event_name: event_name.into(),
            user_id: user_id.as_ref().map(Into::into),
            channel: None,
            campaign_id: user_id.as_ref().map(Into::into),
            site_id: None,
            path: None,
            tags: tags.as_ref().map(|tags| tags.iter().map(Into::into).collect()),
            metadata: metadata.as_deref(),
        }
    }

    fn build(all: &[Sent]) -> BlockBuilder {
        let rule = IdentityRule::default();
        let mut builder = BlockBuilder::default();
        all.iter().map(event).for_each(|event| builder.push(&event, rule.of(&event)));
        builder
    }

    proptest! {
        #[test]
        fn a_block_comes_back_as_it_went(all in proptest::collection::vec(sent(), 1..20)) {
            let block = build(&all).finish();
            prop_assert_eq!(block.rows(), all.len());
            prop_assert_eq!(Block::decode(&block.into_bytes()).unwrap(), build(&all).into_batch());
        }

        #[test]
        fn a_block_of_the_first_form_is_read(all in proptest::collection::vec(sent(), 1..20)) {
            let batch = build(&all).into_batch();
            let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
            let mut stream = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
            stream.write(&batch).unwrap();
            let block = block(MAGIC_1, &stream.into_inner().unwrap(), all.len());
            prop_assert_eq!(Block::decode(&block.into_bytes()).unwrap(), batch);
        }

        #[test]
        fn a_damaged_block_is_an_error(all in proptest::collection::vec(sent(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = build(&all).finish().into_bytes().to_vec();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(Block::decode(&Bytes::from(bytes)).is_err());
        }

        #[test]
        fn an_id_read_from_a_row_is_the_one_of_the_door(all in proptest::collection::vec(sent(), 1..10)) {
            let rule = IdentityRule::default();
            let ids = crate::identity::event_ids(&rule, &build(&all).into_batch());
            for (row, one) in all.iter().enumerate() {
                prop_assert_eq!(ids.value(row), rule.of(&event(one)).to_string());
            }
        }
    }

    #[test]
    fn what_is_no_block_says_so() {
        assert!(matches!(Block::decode(&Bytes::from_static(b"{\"event_name\":\"a\"}")), Err(Error::Foreign)));
        assert!(matches!(Block::decode(&Bytes::from_static(b"")), Err(Error::Foreign)));
        assert!(matches!(Block::decode(&Bytes::from_static(b"TMB1\x01\0\0")), Err(Error::Broken { .. })));
        assert!(matches!(Block::decode(&Bytes::from_static(b"TMB2\x01\0\0")), Err(Error::Broken { .. })));
    }

    #[test]
    fn a_length_that_nothing_can_have_is_refused_before_it_is_allocated() {
        let body = [&u32::MAX.to_le_bytes()[..], &[0; 64]].concat();
        let refused = Block::decode(&block(MAGIC, &body, 1).into_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), "broken block: its length cannot be right");
    }
}
