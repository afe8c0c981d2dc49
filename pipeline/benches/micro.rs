//! What an event costs on its way, step by step. One iteration is one block of [`EVENTS`] events.
//!
//! `just bench-micro` times the steps; `just bench-micro --instructions` counts instructions, which a busy machine does not change.
//! Each step is a function of its own that is never inlined, so that callgrind can be told to look at it alone.

use std::{fmt::Write as _, hint::black_box, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use pipeline::writer::{Identified, Index};
use schemas::{
    Block, BlockBuilder, Event, EventDate, Identity, IdentityRule, RawEvent, Rules, Sequence, Timestamp, block,
    raw::{Body, Dialect},
    tables,
};
use serde_json::json;
use table::{Picked, Store, Table, Users, UsersUnion};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const EVENTS: u64 = 1_000;
const NOW: Timestamp = Timestamp(1_795_253_400_000_000);
const NAMES: [&str; 5] = ["page_view", "product_view", "search", "add_to_cart", "purchase"];
const CHANNELS: [&str; 3] = ["web", "mobile_app", "email"];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("a runtime can be started");
    doors(&mut criterion);
    blocks(&mut criterion);
    index(&mut criterion);
    files(&mut criterion, &runtime);
    sketches(&mut criterion);
    criterion.final_summary();
}

/// About 300 bytes each, with a user and a path of many.
fn json(events: u64) -> String {
    let mut text = String::from("[");
    for number in 0..events {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (name, channel) = (NAMES[mixed as usize % NAMES.len()], CHANNELS[mixed as usize / 7 % CHANNELS.len()]);
        let time_ms = NOW.0 / 1000 - 3_600_000 + i64::try_from(number * 3).expect("a few thousand");
        let comma = if number == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"event_name":"{name}","user_id":"user_{}","timestamp":{time_ms},"channel":"{channel}","site_id":"demo-shop","path":"/products/{}","tags":["electronics","flash_sale"],"metadata":{{"product_id":"prod-{}","price":{}.99,"currency":"EUR","referrer":"https://example.com/"}}}}"#,
            mixed % 100_000,
            mixed % 1_000,
            mixed % 5_000,
            mixed % 300
        )
        .expect("a text takes everything");
    }
    text + "]"
}

/// Parsing, validation and identity.
#[inline(never)]
fn step_parse(json: &[u8], rules: &Rules, rule: &IdentityRule) -> usize {
    let Ok(Body::Many(events)) = Body::of_json(json, Dialect::Tidemark) else { panic!("the events are a list") };
    let mut valid = 0;
    let mut take = |raw: RawEvent<'_>| {
        let event = Event::validate(raw, rules, NOW).expect("the events are valid");
        valid += usize::from(rule.of(&event).0 != [0; 16]);
    };
    events.for_each(usize::MAX, false, |item| take(item.expect("the events are JSON"))).expect("the list has an end");
    valid
}

/// The same, and the rows of a block.
#[inline(never)]
fn step_encode(json: &[u8], rules: &Rules, rule: &IdentityRule) -> Bytes {
    encode(json, rules, rule)
}

fn encode(json: &[u8], rules: &Rules, rule: &IdentityRule) -> Bytes {
    let Ok(Body::Many(events)) = Body::of_json(json, Dialect::Tidemark) else { panic!("the events are a list") };
    let mut block = BlockBuilder::default();
    let mut take = |raw: RawEvent<'_>| {
        let event = Event::validate(raw, rules, NOW).expect("the events are valid");
        let identity = rule.of(&event);
        block.push(&event, identity);
    };
    events.for_each(usize::MAX, false, |item| take(item.expect("the events are JSON"))).expect("the list has an end");
    block.finish().into_bytes()
}

#[inline(never)]
fn step_decode(block: &Bytes) -> RecordBatch {
    decode(block)
}

fn decode(block: &Bytes) -> RecordBatch {
    Block::decode(block).expect("the block is ours")
}

#[inline(never)]
fn step_admit(index: &mut Index, events: &Identified) -> usize {
    index.admit(events, Sequence(1)).into_iter().filter(|is_first| *is_first).count()
}

#[inline(never)]
fn step_refuse(index: &mut Index, events: &Identified) -> usize {
    index.admit(events, Sequence(1)).into_iter().filter(|is_first| !is_first).count()
}

#[inline(never)]
fn step_write(runtime: &Runtime, table: &Table, rows: &Picked) -> u64 {
    runtime.block_on(table.write(EventDate::of(NOW), rows)).expect("the folder takes files").rows
}

#[inline(never)]
fn step_unite(sketches: &[Users]) -> u64 {
    let mut union = UsersUnion::new();
    sketches.iter().for_each(|sketch| union.add(sketch));
    union.to_users().estimate()
}

fn doors(criterion: &mut Criterion) {
    let (json, rules, rule) = (json(EVENTS), Rules::default(), IdentityRule::default());
    let mut group = criterion.benchmark_group("door");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("parse, validate, identify", |bencher| bencher.iter(|| step_parse(black_box(json.as_bytes()), &rules, &rule)));
    group.bench_function("and encode a block", |bencher| bencher.iter(|| step_encode(black_box(json.as_bytes()), &rules, &rule)));
    group.finish();
}

fn encoded() -> Bytes {
    encode(json(EVENTS).as_bytes(), &Rules::default(), &IdentityRule::default())
}

fn blocks(criterion: &mut Criterion) {
    let block = encoded();
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("decode", |bencher| bencher.iter(|| step_decode(black_box(&block))));
    group.finish();
}

fn index(criterion: &mut Criterion) {
    let rows = decode(&encoded());
    let identities = rows.column_by_name(block::IDENTITY).expect("a block has identities").as_fixed_size_binary();
    let identities = (0..identities.len()).map(|row| Identity(identities.value(row).try_into().expect("16 bytes"))).collect();
    let events = Identified { rows, identities };
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(EVENTS));
    let new = || {
        let mut index = Index::new(64 << 20);
        let minutes = index.missing(&events);
        index.expect(&minutes);
        index
    };
    group.bench_function("admit new", |bencher| bencher.iter_batched_ref(new, |index| step_admit(index, &events), BatchSize::SmallInput));
    let mut full = new();
    full.admit(&events, Sequence(1));
    group.bench_function("refuse repeats", |bencher| bencher.iter(|| step_refuse(&mut full, &events)));
    group.finish();
}

fn files(criterion: &mut Criterion, runtime: &Runtime) {
    let folder = TempDir::new().expect("a folder can be made");
    let s3 =
        json!({ "endpoint": "", "region": "", "access_key_id": "", "secret_access_key": "", "allow_http": false, "create_bucket": false });
    let config = serde_json::from_value(json!({ "url": folder.path(), "s3": s3 })).expect("a folder is a place for tables");
    let store = runtime.block_on(Store::open(&config)).expect("the folder is there");
    let table = runtime.block_on(Table::open_or_create(&store, "events", tables::events())).expect("the folder takes a table");
    let rows = Picked::all(&[table_rows(&decode(&encoded()))]);
    let mut group = criterion.benchmark_group("file");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function("write and sync Parquet", |bencher| bencher.iter(|| step_write(runtime, &table, &rows)));
    group.finish();
}

/// The rows of a block, with the columns that the journal gives.
fn table_rows(block: &RecordBatch) -> RecordBatch {
    let count = block.num_rows();
    let numbers = || 0..i32::try_from(count).expect("a block is small");
    let column = |name: &str| -> ArrayRef {
        match name {
            tables::EVENT_DATE => Arc::new(arrow::array::Date32Array::from_value(EventDate::of(NOW).0, count)),
            "_shard" => Arc::new(Int32Array::from_value(0, count)),
            "_sequence" => Arc::new(Int64Array::from_value(1, count)),
            "_index" => Arc::new(Int32Array::from_iter_values(numbers())),
            sent => Arc::clone(block.column_by_name(sent).expect("a block has what a client sends")),
        }
    };
    let schema = tables::events();
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).expect("the columns are those of the table")
}

fn sketches(criterion: &mut Criterion) {
    let sketch = |seed: u64| {
        let mut users = Users::new();
        (0..EVENTS).for_each(|number| users.add(&format!("user_{}", seed * 700 + number)));
        users.united()
    };
    let sketches: Vec<Users> = (0..24).map(sketch).collect();
    let mut group = criterion.benchmark_group("summary");
    group.throughput(Throughput::Elements(24));
    group.bench_function("unite sketches", |bencher| bencher.iter(|| step_unite(black_box(&sketches))));
    group.finish();
}
