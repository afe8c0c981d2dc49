//! The rules of maintenance, one function each.

use std::{sync::Arc, time::Duration};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path};
use parquet::file::reader::{FileReader, SerializedFileReader};
use schemas::{EventDate, Sequence};
use table::{Change, DataFile, Error, Level, NewCommit, Picked, Scan, Snapshot, Table};

use crate::{
    faults::{Fault, faulty},
    lake::Lake,
    rows::{SHARD, TODAY, bytes, new_commit, read, rows},
    rules::log,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Commits one message after the other, up to `last`.
pub(crate) async fn commit(table: &Table, last: u64) -> Snapshot {
    let mut snapshot = table.snapshot().await.unwrap();
    for sequence in snapshot.tidemark(SHARD).0 + 1..=last {
        snapshot = table.commit(&snapshot, new_commit(table, sequence).await).await.unwrap();
    }
    snapshot
}

/// The time at which the newest file was written, and some hours.
fn later(snapshot: &Snapshot, hours: i64) -> DateTime<Utc> {
    let newest = snapshot.files().iter().map(|file| file.written_at_ms).max().unwrap();
    DateTime::from_timestamp_millis(newest + 1000 + hours * 3_600_000).unwrap()
}

/// Merges files and puts the merged one in their place; what `replace` says.
async fn merge(table: &Table, files: &[DataFile], now: DateTime<Utc>) -> Result<Option<Snapshot>, Error> {
    let into = table.merge(files).await?;
    table.replace(files.to_vec(), into, Change::Layout, now).await
}

fn sequences(rows: &RecordBatch) -> Vec<i64> {
    let mut sequences = rows.column_by_name("_sequence").unwrap().as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    sequences.dedup();
    sequences
}

pub(crate) async fn a_merge_keeps_every_row_and_the_order_and_changes_no_data(lake: Lake) {
    let table = lake.events().await;
    let before = commit(&table, 5).await;
    let merged = merge(&table, before.files(), later(&before, 0)).await.unwrap().unwrap();
    let after = table.snapshot().await.unwrap();
    assert_eq!((after.files(), after.files().len()), (merged.files(), 1));
    assert_eq!(after.tidemarks(), before.tidemarks());
    assert_eq!(read(&table, &after).await, read(&table, &before).await);

    let file = &after.files()[0];
    let parquet = SerializedFileReader::new(bytes(&table, file).await).unwrap();
    assert!(parquet.metadata().row_group(0).sorting_columns().is_some());
    let columns = ["timestamp", "event_name"];
    let batches: Vec<RecordBatch> =
        table.scan(file, &Scan { columns: &columns, ..Scan::default() }).await.unwrap().try_collect().await.unwrap();
    let names: Vec<&str> = batches.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten()).collect();
    assert!(names.is_sorted() && names.len() == 30);
    let mut summary = table.summary(file).await.unwrap().unwrap();
    let cells = summary.cells(Level::HourEvent, |_| true).await.unwrap().unwrap();
    assert_eq!(cells.iter().map(|cell| cell.events).sum::<u64>(), 30);

    let commit = table.object_store().get(&Path::from(format!("events/_delta_log/{:020}.json", after.version()))).await.unwrap();
    let commit = String::from_utf8(commit.bytes().await.unwrap().to_vec()).unwrap();
    assert_eq!((commit.matches("\"dataChange\":false").count(), commit.matches("\"dataChange\":true").count()), (6, 0), "{commit}");
}

pub(crate) async fn a_merge_and_commits_at_the_same_time_lose_nothing(lake: Lake) {
    const COMMITS: u64 = 30;
    let (writer, merger) = (lake.events().await, lake.events().await);
    let write = commit(&writer, COMMITS);
    let merge = async {
        let mut merges = 0;
        loop {
            let snapshot = merger.snapshot().await.unwrap();
            if snapshot.files().len() > 1 {
                merges += usize::from(merge(&merger, snapshot.files(), later(&snapshot, 0)).await.unwrap().is_some());
            }
            if snapshot.tidemark(SHARD).0 == COMMITS {
                return merges;
            }
        }
    };
    let (_, merges) = futures::join!(write, merge);
    let last = lake.events().await.snapshot().await.unwrap();
    assert!(merges > 1 && last.files().len() <= 2, "{merges} merges, {} files", last.files().len());
    let rows = read(&writer, &last).await;
    assert_eq!((rows.num_rows() as u64, sequences(&rows)), (6 * COMMITS, (1..=30).collect()));
}

pub(crate) async fn of_two_who_merge_the_same_files_one_does(lake: Lake) {
    let (one, other) = (lake.events().await, lake.events().await);
    let before = commit(&one, 4).await;
    let now = later(&before, 0);
    let (one_did, other_did) = futures::join!(merge(&one, before.files(), now), merge(&other, before.files(), now));
    assert_eq!([one_did.unwrap().is_some(), other_did.unwrap().is_some()].iter().filter(|did| **did).count(), 1);
    assert_eq!(read(&one, &lake.events().await.snapshot().await.unwrap()).await, read(&one, &before).await);
}

pub(crate) async fn a_merge_whose_reply_was_lost_happened_once(lake: Lake) {
    let (store, faults) = faulty(lake.store().await);
    let table = Table::open_or_create(&store, "events", schemas::tables::events()).await.unwrap();
    let before = commit(&table, 3).await;
    faults.set(Fault::ReplyLost);
    let merged = merge(&table, before.files(), later(&before, 0)).await.unwrap();
    assert!(faults.is_over() && merged.is_some());
    let after = table.snapshot().await.unwrap();
    assert_eq!((after.version(), after.files().len()), (before.version() + 1, 1));
    assert_eq!(read(&table, &after).await, read(&table, &before).await);
}

pub(crate) async fn a_file_that_cannot_be_read_is_named_and_stops_its_merge_alone(lake: Lake) {
    let table = lake.events().await;
    let before = commit(&table, 4).await;
    let poison = &before.files()[1];
    let mut damaged = bytes(&table, poison).await.to_vec();
    let end = damaged.len() - 8;
    damaged[..end].fill(0);
    table.object_store().put(&Path::from(&*poison.path), damaged.into()).await.unwrap();
    let error = merge(&table, before.files(), later(&before, 0)).await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == poison.path), "{error:?}");
    assert_eq!(table.snapshot().await.unwrap().version(), before.version());
    let others = [before.files()[0].clone(), before.files()[2].clone(), before.files()[3].clone()];
    merge(&table, &others, later(&before, 0)).await.unwrap().unwrap();
    assert_eq!(table.snapshot().await.unwrap().files().len(), 2);
}

pub(crate) async fn a_merge_may_leave_rows_out(lake: Lake) {
    let table = lake.events().await;
    let before = commit(&table, 3).await;
    let keep = |name: &'static str| -> table::Keep {
        Arc::new(move |rows: &RecordBatch, date: EventDate| {
            assert_eq!(date, TODAY);
            let names = rows.column_by_name("event_name").unwrap().as_string::<i32>();
            Ok(names.iter().map(|found| Some(found == Some(name))).collect::<BooleanArray>())
        })
    };
    let rewrite = async |files: &[DataFile], keep: table::Keep| {
        let (into, change) = (table.merge_kept(files, keep).await.unwrap(), Change::Rows("event_name <> 'purchase'".to_owned()));
        table.replace(files.to_vec(), into, change, later(&before, 0)).await.unwrap().unwrap()
    };
    let after = rewrite(before.files(), keep("purchase")).await;
    assert_eq!((after.files()[0].rows, after.tidemark(SHARD)), (9, Sequence(3)));
    assert_eq!(rewrite(after.files(), keep("nothing")).await.files(), [], "a file without rows is none");
}

pub(crate) async fn old_days_are_given_up_in_one_commit(lake: Lake) {
    let table = lake.events().await;
    let base = table.snapshot().await.unwrap();
    let days: Vec<EventDate> = (0..4).map(|ago| EventDate(TODAY.0 - ago)).collect();
    let mut files = Vec::new();
    for day in &days {
        files.push(table.write(*day, &Picked::all(&[rows(*day, SHARD, Sequence(1))])).await.unwrap());
    }
    let commit = NewCommit { shard: SHARD, files, tidemark: Sequence(1), origin: None };
    let before = table.commit(&base, commit).await.unwrap();
    assert_eq!(before.dropped_before(), None);
    assert_eq!(table.drop_before(days[1], later(&before, 0)).await.unwrap(), (2, 12));
    let after = lake.events().await.snapshot().await.unwrap();
    assert_eq!(after.files().iter().map(|file| file.date).collect::<Vec<_>>(), [days[1], days[0]]);
    assert_eq!((after.version(), after.tidemark(SHARD)), (before.version() + 1, Sequence(1)));
    assert_eq!(after.dropped_before(), Some(days[1]), "so that verification knows");
    assert_eq!(table.drop_before(days[1], later(&before, 0)).await.unwrap(), (0, 0));
    assert_eq!(table.snapshot().await.unwrap().version(), after.version(), "nothing to do is no commit");
}

pub(crate) async fn only_what_no_recent_version_needs_is_garbage(lake: Lake) {
    let table = lake.events().await;
    let before = commit(&table, 3).await;
    let orphan = table.write(TODAY, &Picked::all(&[rows(TODAY, SHARD, Sequence(9))])).await.unwrap();
    merge(&table, before.files(), later(&before, 0)).await.unwrap().unwrap();
    let after = commit(&table, 4).await;
    assert_eq!(garbage(&table, later(&after, 0)).await, [""; 0], "a query may still read the merged files, a writer commit the orphan");
    let mut gone: Vec<String> = before.files().iter().chain([&orphan]).map(|file| file.path.to_string()).collect();
    gone.sort_unstable();
    assert_eq!(garbage(&table, later(&after, 2)).await, gone);
    let found = table.garbage(HOUR, later(&after, 2)).await.unwrap();
    assert_eq!(table.delete(found).await.unwrap(), 4);
    assert_eq!(garbage(&table, later(&after, 2)).await, [""; 0]);
    assert_eq!(read(&table, &after).await.num_rows(), 24);
}

pub(crate) async fn an_old_file_that_was_replaced_a_moment_ago_is_no_garbage(lake: Lake) {
    let table = lake.events().await;
    let before = commit(&table, 3).await;
    merge(&table, before.files(), later(&before, 2)).await.unwrap().unwrap();
    assert_eq!(garbage(&table, later(&before, 2)).await, [""; 0], "who pinned the version before may still read them");
    assert_eq!(garbage(&table, later(&before, 4)).await.len(), 3);
}

async fn garbage(table: &Table, now: DateTime<Utc>) -> Vec<String> {
    let mut found: Vec<String> = table.garbage(HOUR, now).await.unwrap().iter().map(|found| found.location.to_string()).collect();
    found.sort_unstable();
    found
}

/// A table with checkpoints at some versions, and more commits.
async fn with_checkpoints(lake: &Lake) -> Table {
    let table = lake.events().await;
    for tidemark in (20..=120).step_by(20) {
        let mut snapshot = table.snapshot().await.unwrap();
        for sequence in tidemark - 19..=tidemark {
            let empty = NewCommit { shard: SHARD, files: Vec::<DataFile>::new(), tidemark: Sequence(sequence), origin: None };
            snapshot = table.commit(&snapshot, empty).await.unwrap();
        }
        assert_eq!(table.checkpoint_if_due().await.unwrap(), tidemark == 60 || tidemark == 120, "at {tidemark}");
    }
    table
}

pub(crate) async fn a_table_of_many_commits_opens_from_a_checkpoint_and_its_log_is_short(lake: Lake) {
    let table = with_checkpoints(&lake).await;
    let last = commit(&table, 125).await;
    assert_eq!(table.forget_versions(HOUR, later(&last, 0)).await.unwrap(), 0, "somebody may be behind");
    assert!(table.forget_versions(HOUR, later(&last, 2)).await.unwrap() >= 60);
    let names = log(&lake).await;
    assert_eq!(names[0], "00000000000000000060.checkpoint.parquet", "the last but one stays: {names:?}");
    let opened = lake.events().await;
    let snapshot = opened.snapshot().await.unwrap();
    assert_eq!((snapshot.version(), snapshot.tidemark(SHARD), snapshot.files().len()), (125, Sequence(125), 5));
    assert_eq!(read(&opened, &snapshot).await.num_rows(), 30);
}

pub(crate) async fn a_damaged_newest_checkpoint_is_put_aside(lake: Lake) {
    let table = with_checkpoints(&lake).await;
    let last = commit(&table, 121).await;
    table.forget_versions(HOUR, later(&last, 2)).await.unwrap();
    let place = Path::from("events/_delta_log/00000000000000000120.checkpoint.parquet");
    let whole = table.object_store().get(&place).await.unwrap().bytes().await.unwrap();
    let hint = table.object_store().get(&Path::from("events/_delta_log/_last_checkpoint")).await.unwrap().bytes().await.unwrap();
    let mut garbage = whole.to_vec();
    let middle = garbage.len() / 2;
    garbage[4..middle].fill(7);
    for (what, damaged) in
        [("half", whole.slice(..whole.len() / 2).to_vec()), ("short", b"PAR1".to_vec()), ("empty", Vec::new()), ("garbage", garbage)]
    {
        table.object_store().put(&place, damaged.into()).await.unwrap();
        table.object_store().put(&Path::from("events/_delta_log/_last_checkpoint"), hint.clone().into()).await.unwrap();
        let snapshot = lake.events().await.snapshot().await.unwrap();
        assert_eq!((snapshot.version(), snapshot.tidemark(SHARD), snapshot.files().len()), (121, Sequence(121), 1));
        assert!(!log(&lake).await.iter().any(|name| name.contains("0120.checkpoint")), "{what}: it is put aside");
        table.object_store().head(&Path::from("events/_damaged/00000000000000000120.checkpoint.parquet")).await.unwrap();
    }
    commit(&table, 122).await;
    assert!(table.checkpoint_if_due().await.unwrap(), "the next one replaces it");
    assert_eq!(lake.events().await.snapshot().await.unwrap().tidemark(SHARD), Sequence(122));
}
