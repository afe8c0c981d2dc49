//! The rules, one function each; a rule takes the lake on which it must hold.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType},
};
use futures::{
    TryStreamExt,
    future::{join_all, try_join_all},
};
use object_store::path::Path;
use parquet::file::reader::{FileReader, SerializedFileReader};
use schemas::{
    EventDate, Sequence, ShardId, Timestamp,
    tables::{self, EVENT_DATE},
};
use table::{CommitError, Error, NewCommit, Picked, Scan, Snapshot, Table};

use crate::{
    faults::{Fault, faulty},
    lake::Lake,
    rows::{SHARD, TODAY, a_row_every_second, bytes, new_commit, read, rows},
};

pub(crate) async fn racing_creators_create_one_table(lake: Lake) {
    let tables = join_all((0..8).map(|_| lake.events())).await;
    for table in tables {
        assert_eq!(table.snapshot().await.unwrap().version(), 0);
    }
    assert_eq!(log(&lake).await, ["00000000000000000000.json"]);
}

pub(crate) async fn a_table_that_does_not_exist_is_none(lake: Lake) {
    assert!(Table::open(&lake.store().await, "events").await.unwrap().is_none());
}

pub(crate) async fn an_existing_table_with_other_columns_is_refused(lake: Lake) {
    lake.events().await;
    let mut fields = tables::events().fields().to_vec();
    fields[3] = Arc::new(Field::new("event_name", DataType::Int64, false));
    let other = Table::open_or_create(&lake.store().await, "events", Arc::new(Schema::new(fields))).await.err().unwrap();
    assert!(matches!(other, Error::SchemaDiffers { .. }), "{other:?}");
    assert!(other.to_string().contains("it has `event_name` string not null where `event_name` long not null is expected"), "{other}");
}

pub(crate) async fn a_read_between_two_times_skips_the_pages_outside(lake: Lake) {
    const SECONDS: i64 = 60_000;
    let table = lake.events().await;
    let file = table.write(TODAY, &Picked::all(&[a_row_every_second(SECONDS)])).await.unwrap();
    let Timestamp(start) = TODAY.start();
    let second = |second: i64| start + second * 1_000_000;
    for (ranges, wanted) in [
        (vec![(second(0), second(0))], vec![0]),
        (vec![(second(SECONDS - 1), second(SECONDS))], vec![SECONDS - 1]),
        (vec![(second(20_000), second(20_002)), (second(50_000), second(50_000))], vec![20_000, 20_001, 20_002, 50_000]),
        (vec![(second(-9), second(-1)), (second(SECONDS), second(SECONDS + 9))], vec![]),
    ] {
        let scan = Scan { columns: &["timestamp"], ranges_us: Some(&ranges), ..Scan::default() };
        let batches: Vec<RecordBatch> = table.scan(&file, &scan).await.unwrap().try_collect().await.unwrap();
        let read: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()).collect();
        assert!(wanted.iter().all(|wanted| read.contains(&second(*wanted))), "{ranges:?}");
        assert!(read.len() <= wanted.len() * 16 * 1024, "{ranges:?}: {} rows", read.len());
    }
}

pub(crate) async fn slices_are_all_rows_in_their_order(lake: Lake) {
    let table = lake.events().await;
    let written = a_row_every_second(50_000);
    let file = table.write(TODAY, &Picked::all(std::slice::from_ref(&written))).await.unwrap();
    let schema = table.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != EVENT_DATE).collect();
    for (slice_rows, batch_rows) in [(7_000, Some(4096)), (16 * 1024, Some(100_000)), (1_000_000, None)] {
        let scan = Scan { columns: &columns, slice_rows: Some(slice_rows), batch_rows, ..Scan::default() };
        let batches: Vec<RecordBatch> = table.scan(&file, &scan).await.unwrap().try_collect().await.unwrap();
        assert!(batches.iter().all(|batch| batch.num_rows() <= slice_rows.min(batch_rows.unwrap_or(slice_rows))));
        let read = concat_batches(&batches[0].schema(), &batches).unwrap();
        for column in &columns {
            assert_eq!(read.column_by_name(column), written.column_by_name(column), "{column} in slices of {slice_rows}");
        }
    }
}

pub(crate) async fn rows_come_back_as_written(lake: Lake) {
    let table = lake.events().await;
    let long_ago = EventDate(-1);
    let written = [rows(TODAY, SHARD, Sequence(1)), rows(TODAY, SHARD, Sequence(2)), rows(long_ago, SHARD, Sequence(3))];
    let today = table.write(TODAY, &Picked::all(&written[..2])).await.unwrap();
    let before = table.write(long_ago, &Picked::all(&written[2..])).await.unwrap();
    assert!(before.path.starts_with("events/event_date=1969-12-31/"), "{}", before.path);
    let base = table.snapshot().await.unwrap();
    let commit = NewCommit { shard: SHARD, files: vec![today.clone(), before.clone()], tidemark: Sequence(3), origin: None };
    table.commit(&base, commit).await.unwrap();

    let opened = Table::open(&lake.store().await, "events").await.unwrap().unwrap();
    let snapshot = opened.snapshot().await.unwrap();
    assert_eq!(snapshot.schema(), tables::events());
    assert_eq!(snapshot.files(), [before, today], "a file is the same before and after it went through the log");
    assert_eq!(read(&opened, &snapshot).await, concat_batches(&tables::events(), &written).unwrap());
}

pub(crate) async fn ranges_of_a_file_hold_its_rows(lake: Lake) {
    let table = lake.events().await;
    let batches = [rows(TODAY, SHARD, Sequence(7)), rows(TODAY, SHARD, Sequence(9))];
    let file = table.write(TODAY, &Picked::all(&batches)).await.unwrap();
    assert_eq!(file.rows, 12);
    assert_eq!(file.size_bytes, bytes(&table, &file).await.len() as u64);
    assert_eq!(file.stats.event_name, Some(("page_view".to_owned(), "purchase".to_owned())));
    assert_eq!(file.stats.shards, Some((SHARD, SHARD)));
    assert_eq!(file.stats.sequences, Some((Sequence(7), Sequence(9))));
    let (least, greatest) = file.stats.timestamp.unwrap();
    let start = TODAY.start().0;
    assert!(least <= start && start - least < 1000, "{least}");
    assert!(start + 5_000_005 <= greatest && greatest <= start + 5_000_005 + 2000, "{greatest}");
}

pub(crate) async fn a_file_says_that_it_is_sorted_only_when_it_is(lake: Lake) {
    let table = lake.events().await;
    let batch = rows(TODAY, SHARD, Sequence(1));
    let sorted = table.write(TODAY, &Picked::all(std::slice::from_ref(&batch))).await.unwrap();
    let unsorted = table.write(TODAY, &Picked::all(&[batch.slice(3, 3), batch.slice(0, 3)])).await.unwrap();
    for (file, columns) in [(sorted, Some(vec![2, 0])), (unsorted, None)] {
        let parquet = SerializedFileReader::new(bytes(&table, &file).await).unwrap();
        let group = parquet.metadata().row_group(0);
        let order = group.sorting_columns().map(|order| order.iter().map(|column| column.column_idx).collect::<Vec<_>>());
        assert_eq!(order, columns);
        assert!(group.columns().iter().all(|column| column.offset_index_offset().is_some()), "every column has a page index");
    }
}

pub(crate) async fn rows_of_another_day_are_refused(lake: Lake) {
    let table = lake.events().await;
    let refused = table.write(EventDate(TODAY.0 - 1), &Picked::all(&[rows(TODAY, SHARD, Sequence(1))])).await.unwrap_err();
    assert!(refused.to_string().contains("some lie in 2026-11-21, not in 2026-11-20"), "{refused}");
    table.write(TODAY, &Picked::all(&[RecordBatch::new_empty(tables::events())])).await.unwrap_err();
}

pub(crate) async fn a_commit_moves_rows_and_tidemark_together(lake: Lake) {
    let (table, reader) = (lake.events().await, lake.events().await);
    let base = table.snapshot().await.unwrap();
    let commit = new_commit(&table, 5).await;
    let seen = reader.snapshot().await.unwrap();
    assert_eq!((seen.version(), seen.files().len(), seen.tidemark(SHARD)), (0, 0, Sequence::ZERO), "a written file is not visible yet");

    let committed = table.commit(&base, commit.clone()).await.unwrap();
    for snapshot in [committed, reader.snapshot().await.unwrap(), table.snapshot().await.unwrap()] {
        assert_eq!((snapshot.version(), snapshot.tidemark(SHARD)), (1, Sequence(5)));
        assert_eq!(snapshot.files(), commit.files);
    }
    assert_eq!((base.version(), base.files().len(), base.tidemark(SHARD)), (0, 0, Sequence::ZERO), "a snapshot never changes");
}

pub(crate) async fn a_commit_without_rows_moves_the_tidemark(lake: Lake) {
    let table = lake.events().await;
    let base = table.snapshot().await.unwrap();
    let committed = table.commit(&base, empty(3)).await.unwrap();
    assert_eq!((committed.tidemark(SHARD), committed.files().len()), (Sequence(3), 0));
}

pub(crate) async fn of_racing_writers_exactly_one_wins(lake: Lake) {
    let tables = join_all((0..8).map(|_| lake.events())).await;
    let bases = try_join_all(tables.iter().map(Table::snapshot)).await.unwrap();
    let commits = join_all(tables.iter().map(|table| new_commit(table, 1))).await;
    let race = tables.iter().zip(&bases).zip(&commits).map(|((table, base), commit)| table.commit(base, commit.clone()));
    let outcomes = join_all(race).await;

    let winners: Vec<usize> = (0..8).filter(|writer| outcomes[*writer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    for lost in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(lost, CommitError::Fenced { expected: Sequence(0), found: Sequence(1), .. }), "{lost:?}");
    }
    let newest = lake.events().await.snapshot().await.unwrap();
    assert_eq!(newest.version(), 1);
    assert_eq!(newest.files(), commits[winners[0]].files);
}

pub(crate) async fn a_stale_snapshot_is_fenced_even_with_a_higher_tidemark(lake: Lake) {
    let (first, second) = (lake.events().await, lake.events().await);
    let stale = second.snapshot().await.unwrap();
    first.commit(&stale, new_commit(&first, 5).await).await.unwrap();
    let fenced = second.commit(&stale, new_commit(&second, 100).await).await.unwrap_err();
    assert!(matches!(fenced, CommitError::Fenced { expected: Sequence(0), found: Sequence(5), .. }), "{fenced:?}");
    assert_eq!(first.snapshot().await.unwrap().version(), 1);
}

pub(crate) async fn a_tidemark_never_stands_still_or_goes_back(lake: Lake) {
    let table = lake.events().await;
    let base = table.commit(&table.snapshot().await.unwrap(), empty(5)).await.unwrap();
    for tidemark in [5, 4] {
        let fenced = table.commit(&base, empty(tidemark)).await.unwrap_err();
        assert!(matches!(fenced, CommitError::Fenced { found: Sequence(5), .. }), "{fenced:?}");
    }
    assert_eq!(table.snapshot().await.unwrap().version(), 1);
}

pub(crate) async fn shards_commit_independently(lake: Lake) {
    let tables = join_all((0..4).map(|_| lake.events())).await;
    let base = tables[0].snapshot().await.unwrap();
    let commit =
        |shard: u16| NewCommit { shard: ShardId(shard), files: Vec::new(), tidemark: Sequence(10 + u64::from(shard)), origin: None };
    let race = (0..4).map(|shard| tables[usize::from(shard)].commit(&base, commit(shard)));
    try_join_all(race).await.unwrap();
    let newest = lake.events().await.snapshot().await.unwrap();
    assert_eq!(newest.version(), 4);
    assert_eq!(*newest.tidemarks(), (0..4).map(|shard| (ShardId(shard), Sequence(10 + u64::from(shard)))).collect());
}

pub(crate) async fn a_commit_whose_reply_was_lost_happened_once(lake: Lake) {
    let (store, fault) = faulty(lake.store().await);
    let table = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
    let base = table.snapshot().await.unwrap();
    let commit = new_commit(&table, 5).await;
    fault.set(Fault::ReplyLost);
    let committed = table.commit(&base, commit.clone()).await.unwrap();
    assert!(fault.is_over());
    check_once(&lake, &committed, &commit).await;
}

pub(crate) async fn a_commit_without_rows_whose_reply_was_lost_happened_once(lake: Lake) {
    let (store, fault) = faulty(lake.store().await);
    let table = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
    let base = table.snapshot().await.unwrap();
    fault.set(Fault::ReplyLost);
    let committed = table.commit(&base, empty(5)).await.unwrap();
    check_once(&lake, &committed, &empty(5)).await;
    let other = lake.events().await.commit(&base, empty(5)).await.unwrap_err();
    assert!(matches!(other, CommitError::Fenced { .. }), "the same commit of another writer did not happen: {other:?}");
}

pub(crate) async fn a_commit_that_did_not_happen_can_be_repeated_with_the_same_files(lake: Lake) {
    let (store, fault) = faulty(lake.store().await);
    let table = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
    let base = table.snapshot().await.unwrap();
    let commit = new_commit(&table, 5).await;
    fault.set(Fault::Refused);
    let refused = table.commit(&base, commit.clone()).await.unwrap_err();
    assert!(matches!(refused, CommitError::NotCommitted { .. }), "{refused:?}");
    assert_eq!(table.snapshot().await.unwrap().version(), 0);
    let committed = table.commit(&base, commit.clone()).await.unwrap();
    check_once(&lake, &committed, &commit).await;
}

pub(crate) async fn a_commit_nobody_could_check_can_be_repeated(lake: Lake) {
    let (store, fault) = faulty(lake.store().await);
    let table = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
    let base = table.snapshot().await.unwrap();
    let commit = new_commit(&table, 5).await;
    fault.set(Fault::ReplyLostAndBlind);
    let unknown = table.commit(&base, commit.clone()).await.unwrap_err();
    assert!(matches!(unknown, CommitError::Unknown { .. }), "{unknown:?}");
    let committed = table.commit(&base, commit.clone()).await.unwrap();
    check_once(&lake, &committed, &commit).await;
}

pub(crate) async fn the_probe_accepts_the_store(lake: Lake) {
    let store = lake.store().await;
    store.probe().await.unwrap();
    let left: Vec<_> = store.object_store().list(None).try_collect().await.unwrap();
    assert_eq!(left, []);
}

pub(crate) async fn the_probe_refuses_a_store_that_overwrites(lake: Lake) {
    let (store, fault) = faulty(lake.store().await);
    fault.set(Fault::Overwrites);
    let unfit = store.probe().await.unwrap_err();
    assert!(matches!(unfit, Error::Unfit { .. }), "{unfit:?}");
    assert!(unfit.to_string().contains("it ignores `If-None-Match` on PUT"), "{unfit}");
}

fn empty(tidemark: u64) -> NewCommit {
    NewCommit { shard: SHARD, files: Vec::new(), tidemark: Sequence(tidemark), origin: None }
}

/// The commit is the only one, for its writer and for everybody else, and its files are there.
async fn check_once(lake: &Lake, committed: &Snapshot, commit: &NewCommit) {
    let table = lake.events().await;
    for snapshot in [committed.clone(), table.snapshot().await.unwrap()] {
        assert_eq!((snapshot.version(), snapshot.tidemark(SHARD)), (1, commit.tidemark));
        assert_eq!(snapshot.files(), commit.files);
    }
    for file in &commit.files {
        assert_eq!(bytes(&table, file).await.len() as u64, file.size_bytes);
    }
}

/// The names in the table's log.
pub(crate) async fn log(lake: &Lake) -> Vec<String> {
    let objects = lake.store().await.object_store().list(Some(&Path::from("events/_delta_log")));
    let mut names: Vec<_> = objects.map_ok(|object| object.location.filename().unwrap().to_owned()).try_collect().await.unwrap();
    names.sort_unstable();
    names
}
