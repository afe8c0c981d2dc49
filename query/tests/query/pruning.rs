//! What a question reads from the store, in bytes and requests, against what it needs.

use std::{collections::BTreeMap, ops::Range, time::Instant};

use datafusion::{
    object_store::{ObjectStoreExt, path::Path},
    parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};
use query::Config;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use serde_json::json;
use service::settings::ByteSize;

use crate::{
    app::{TestApp, commit, config},
    rows::{DAY_US, Row, bare, batches, us},
    watched::Read,
};

/// The end of a file is read at once, so that footer and page index are one request.
const FOOTER_BYTES: u64 = 512 << 10;
/// Ranges that are nearer to each other are read as one: a request costs more than this.
const GAP_BYTES: u64 = 1 << 20;
/// On how many threads a query runs: where two share a file, both may ask for its footer at the same moment.
const THREADS: usize = 2;
/// Rows of a page; the events of one name fill two.
const PAGE_ROWS: usize = 16 * 1024;
const ROWS_OF_NAME: usize = 2 * PAGE_ROWS;
const NAMES: [&str; 4] = ["anmeldung", "page_view", "purchase", "signup"];

/// `count` events of one day, of four names in turn, at equal distances; `metadata` is as long as `width`, and does not compress.
fn day(start: i64, count: usize, width: usize, first_sequence: i64) -> Vec<Row> {
    let mut random = SmallRng::seed_from_u64(first_sequence.unsigned_abs());
    let step = DAY_US / i64::try_from(count).unwrap();
    let row = |at: usize| {
        let mut noise = vec![0; width / 2];
        random.fill_bytes(&mut noise);
        let noise: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = (first_sequence + i64::try_from(at).unwrap(), 0);
        Row {
            user_id: Some(format!("user-{}", at % 1000)),
            channel: Some("web"),
            site_id: Some("shop"),
            path: Some(if at.is_multiple_of(3) { "/" } else { "/about" }),
            metadata: Some(format!(r#"{{"n":"{noise}"}}"#)),
            ..bare(place, start + step * i64::try_from(at).unwrap(), NAMES[at % NAMES.len()])
        }
    };
    (0..count).map(row).collect()
}

fn total(reads: &[Read]) -> u64 {
    reads.iter().map(Read::bytes).sum()
}

/// How often each file was asked for something.
fn requests(reads: &[Read]) -> BTreeMap<String, usize> {
    reads.iter().fold(BTreeMap::new(), |mut requests, read| {
        *requests.entry(read.file.clone()).or_default() += 1;
        requests
    })
}

/// Asks a question; gives what was read for it.
async fn reads_for(app: &TestApp, question: &str) -> Vec<Read> {
    app.watch.take_reads();
    app.sql(question).await;
    app.watch.take_reads()
}

async fn footer(app: &TestApp, file: &str) -> (ParquetMetaData, u64) {
    let bytes = app.events.object_store().get(&Path::from(file)).await.unwrap().bytes().await.unwrap();
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    (reader.parse_and_finish(&bytes).unwrap(), bytes.len() as u64)
}

/// The bytes of a column's pages that hold any of these rows, and of its dictionary.
fn pages(footer: &ParquetMetaData, column: &str, rows: &Range<usize>) -> u64 {
    let rows = i64::try_from(rows.start).unwrap()..i64::try_from(rows.end).unwrap();
    let group = footer.row_group(0);
    let place = group.columns().iter().position(|chunk| chunk.column_path().string().split('.').next() == Some(column)).unwrap();
    let pages = footer.offset_index().unwrap()[0][place].page_locations();
    let ends = pages.iter().skip(1).map(|page| page.first_row_index).chain([group.num_rows()]);
    let held = pages.iter().zip(ends).filter(|(page, end)| page.first_row_index < rows.end && rows.start < *end);
    let data: i64 = held.map(|(page, _)| i64::from(page.compressed_page_size)).sum();
    let chunk = group.column(place);
    let dictionary = chunk.dictionary_page_offset().map_or(0, |offset| chunk.data_page_offset() - offset);
    (data + dictionary).unsigned_abs()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_one_event_reads_its_pages_and_the_footer() {
    let app = TestApp::empty(config()).await;
    let start = us("2026-11-20T00:00:00Z");
    let rows = day(start, 4 * ROWS_OF_NAME, 128, 1);
    app.commit(&rows, u64::try_from(rows.len()).unwrap()).await;
    let file = app.events.snapshot().await.unwrap().files()[0].path.to_string();
    let (footer, size) = footer(&app, &file).await;
    let whole = reads_for(&app, "SELECT sum(length(metadata)) AS n FROM events WHERE event_name <> 'x'").await;

    let hour = "event_name = 'purchase' AND timestamp >= '2026-11-20T12:00:00Z' AND timestamp < '2026-11-20T13:00:00Z'";
    let (from, to) = (start + 12 * 3_600_000_000, start + 13 * 3_600_000_000);
    let count = rows.iter().filter(|row| row.event_name == "purchase" && (from..to).contains(&row.timestamp)).count();
    // Rows stand by name, then time: two names come before, and the first page of this one ends at noon.
    let page = 2 * ROWS_OF_NAME + PAGE_ROWS..3 * ROWS_OF_NAME;
    let question = format!("SELECT count(*) AS n, sum(length(metadata)) AS bytes FROM events WHERE {hour}");
    assert_eq!(app.sql(&question).await[0]["n"], json!(count));
    let read = reads_for(&app, &question).await;
    let needed: u64 = ["timestamp", "event_name", "metadata"].iter().map(|column| pages(&footer, column, &page)).sum();
    println!("file {size}, whole question {}, hour {} in {} requests, pages {needed}", total(&whole), total(&read), read.len());
    assert!(total(&read) <= needed + 2 * GAP_BYTES, "{} bytes for {needed}: {read:?}", total(&read));
    assert!(total(&read) * 4 < total(&whole), "{} of {}", total(&read), total(&whole));
    assert!(total(&whole) <= size + THREADS as u64 * FOOTER_BYTES, "nothing but the footer is read twice: {whole:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_of_one_user_in_a_large_file_are_read_from_the_pages_of_his_rows() {
    let app = TestApp::empty(config()).await;
    let mut rows = day(us("2026-11-20T00:00:00Z"), 4 * ROWS_OF_NAME, 128, 1);
    // Between those of every page, so that no range tells where it is.
    rows[5 * PAGE_ROWS].user_id = Some("user-500x".to_owned());
    app.commit(&rows, u64::try_from(rows.len()).unwrap()).await;
    let file = app.events.snapshot().await.unwrap().files()[0].path.to_string();
    let (footer, size) = footer(&app, &file).await;

    let question = "SELECT count(*) AS n, sum(length(metadata)) AS bytes FROM events WHERE user_id = 'user-500x'";
    assert_eq!(app.sql(question).await, [json!({"n": 1, "bytes": rows[5 * PAGE_ROWS].metadata.as_ref().unwrap().len()})]);
    let read = reads_for(&app, question).await;
    let page = pages(&footer, "user_id", &(0..rows.len())) + pages(&footer, "metadata", &(0..PAGE_ROWS));
    println!("file {size}, read {} in {} requests, pages {page}", total(&read), read.len());
    assert!(total(&read) <= page + GAP_BYTES, "{} bytes of {size}, {page} hold all users and one page: {read:?}", total(&read));
    assert!(total(&read) * 3 < size, "{} of {size}", total(&read));

    let of_day = |day| format!("SELECT count(metadata) AS n FROM events WHERE event_date = '{day}' AND user_id = 'user-500x'");
    assert_eq!(app.sql(&of_day("2026-11-20")).await, [json!({"n": 1})], "a column that is in no file");
    assert_eq!(app.sql(&of_day("2026-11-19")).await, [json!({"n": 0})]);
    let (status, problem) = app.sql_problem("SELECT count(metadata) FROM events WHERE user_id LIKE 'user%' AND path::int > 1").await;
    assert_eq!((status, &problem["code"]), (422, &json!("sql_failed")), "what can fail is told as ever: {problem}");
    app.end().await;
}

/// Thirty days, a file for each.
async fn thirty_days(config: Config) -> TestApp {
    let app = TestApp::empty(config).await;
    let start = us("2026-10-01T00:00:00Z");
    let rows: Vec<Row> = (0..30).flat_map(|at| day(start + at * DAY_US, 1000, 64, 1 + at * 1000)).collect();
    app.commit(&rows, 30_000).await;
    app
}

fn reads_footers(reads: &[Read], sizes: &BTreeMap<String, u64>) -> usize {
    reads.iter().filter(|read| read.range.end == sizes[&read.file]).count()
}

async fn sizes(app: &TestApp) -> BTreeMap<String, u64> {
    let snapshot = app.events.snapshot().await.unwrap();
    snapshot.files().iter().map(|file| (file.path.to_string(), file.size_bytes)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_thirty_reads_its_own_file_and_every_footer_once() {
    let app = thirty_days(config()).await;
    let sizes = sizes(&app).await;
    let question = |day: &str| format!("SELECT count(DISTINCT user_id) AS n, sum(length(metadata)) AS m FROM events WHERE {day}");
    let one_day = question("event_date = '2026-10-17'");
    let first = reads_for(&app, &one_day).await;
    assert!(first.iter().all(|read| read.file.contains("event_date=2026-10-17")), "{first:?}");
    assert!(first.len() <= 2 && total(&first) <= 2 * sizes[&first[0].file], "the footer, then the columns: {first:?}");
    let again = reads_for(&app, &one_day).await;
    assert_eq!((again.len(), reads_footers(&again, &sizes)), (1, 0), "the footer is known: {again:?}");

    let month = question("event_name = 'purchase'");
    let whole = reads_for(&app, &month).await;
    let footers = reads_footers(&whole, &sizes);
    assert!((29..29 + THREADS).contains(&footers), "{footers}: all but the one that is known");
    println!("a day {} bytes, then {}; the month {}", total(&first), total(&again), total(&whole));
    assert!(total(&first) * 20 < total(&whole));
    let whole_again = reads_for(&app, &month).await;
    assert_eq!((reads_footers(&whole_again, &sizes), whole_again.len()), (0, 30), "{:?}", &whole_again[..4]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn footers_beyond_their_memory_are_read_again() {
    let app = thirty_days(Config { footers: ByteSize(64 << 10), ..config() }).await;
    let sizes = sizes(&app).await;
    let month = "SELECT sum(length(metadata)) AS n FROM events WHERE event_name = 'purchase'";
    let first = reads_footers(&reads_for(&app, month).await, &sizes);
    assert!((30..30 + THREADS).contains(&first), "{first}");
    let again = reads_footers(&reads_for(&app, month).await, &sizes);
    println!("{again} of 30 footers are read again when 64 KiB are kept");
    assert!(again > 10, "{again}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_many_users_that_takes_a_sixth_of_its_memory_is_kept() {
    let app = TestApp::empty(Config { cache: ByteSize(4 << 20), ..config() }).await;
    let mut rows = day(us("2026-11-20T00:00:00Z"), 40_000, 2, 1);
    rows.iter_mut().enumerate().for_each(|(at, row)| row.user_id = Some(format!("user-{at}")));
    app.commit(&rows, 40_000).await;
    let question =
        [("from", "2026-11-20T00:00:00Z"), ("to", "2026-11-20T23:59:59.999999Z"), ("group_by", "event_name"), ("uniques", "exact")];
    let users = async || app.json("/metrics", &question).await["unique_users"].clone();
    assert_eq!((users().await, app.watch.take_reads().is_empty()), (json!(40_000), false));
    assert_eq!((users().await, app.watch.take_reads().len()), (json!(40_000), 0), "from what was kept");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_over_a_thousand_files_asks_each_at_most_twice() {
    const FILES: i64 = 1000;
    let app = TestApp::empty(config()).await;
    let start = us("2023-01-01T00:00:00Z");
    let rows: Vec<Row> = (0..FILES).flat_map(|at| day(start + at * DAY_US, 20, 32, 1 + at * 20)).collect();
    commit(&app.events, batches(&rows), u64::try_from(FILES * 20).unwrap()).await;

    let app = app.restarted(config()).await;
    let began = Instant::now();
    let answer = app
        .sql("SELECT count(*) AS n, count(DISTINCT user_id) AS users, sum(length(metadata)) AS bytes FROM events WHERE path = '/'")
        .await;
    println!("the first answer over {FILES} files after {:?}", began.elapsed());
    assert_eq!((&answer[0]["n"], &answer[0]["users"]), (&json!(7 * FILES), &json!(7)));
    let requests_of_all = requests(&app.watch.take_reads());
    assert_eq!(requests_of_all.len(), 1000);
    assert!(requests_of_all.values().all(|requests| *requests <= 2), "{requests_of_all:?}");

    let app = app.restarted(config()).await;
    let answer = app.sql("SELECT count(*) AS n FROM events WHERE event_date BETWEEN '2024-02-01' AND '2024-02-10' AND path = '/'").await;
    assert_eq!(answer, [json!({"n": 70})]);
    let requests_of_ten = requests(&app.watch.take_reads());
    assert!(requests_of_ten.len() == 10 && requests_of_ten.values().all(|requests| *requests <= 2), "{requests_of_ten:?}");
    app.end().await;
}
