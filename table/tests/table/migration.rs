//! A table that an earlier version of Tidemark wrote is read and written, and gets the columns that it lacks.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use futures::{TryStreamExt, future::join_all};
use schemas::{Sequence, tables};
use table::{NewCommit, Picked, Scan, Store, Table};

use crate::{
    lake::Lake,
    rows::{SHARD, TODAY, rows},
};

/// Three events of shard 0 in two messages, as version 1 committed them.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-1");

/// A lake with a copy of the tables of version 1.
fn version_1() -> Lake {
    let lake = Lake::folder();
    copy(Path::new(VERSION_1), &PathBuf::from(&lake.config.url));
    lake
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The columns of today and one more.
fn with_session() -> SchemaRef {
    let mut fields = tables::events().fields().to_vec();
    fields.push(Arc::new(Field::new("session", DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

async fn open_with_session(store: Store) -> Table {
    Table::open_or_create(&store, "events", with_session()).await.unwrap()
}

/// Users and sessions of all rows, by user.
async fn sessions(table: &Table) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for file in table.snapshot().await.unwrap().files() {
        let scan = Scan { columns: &["user_id", "session", "channel"], ..Scan::default() };
        let batches: Vec<RecordBatch> = table.scan(file, &scan).await.unwrap().try_collect().await.unwrap();
        for batch in &batches {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
            let session = |row| text("session").is_valid(row).then(|| text("session").value(row).to_owned());
            found.extend((0..batch.num_rows()).map(|row| (text("user_id").value(row).to_owned(), session(row))));
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_version_1_is_read_and_written() {
    let lake = version_1();
    let table = lake.events().await;
    let base = table.snapshot().await.unwrap();
    assert_eq!((base.version(), base.tidemark(SHARD), base.files().iter().map(|file| file.rows).sum::<u64>()), (2, Sequence(2), 3));
    let files = vec![table.write(TODAY, &Picked::all(&[rows(TODAY, SHARD, Sequence(3))])).await.unwrap()];
    let next = table.commit(&base, NewCommit { shard: SHARD, files, tidemark: Sequence(3), origin: None }).await.unwrap();
    assert_eq!(next.files().iter().map(|file| file.rows).sum::<u64>(), 9);
}

#[expect(clippy::disallowed_methods, reason = "openers that race each other, in real time")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_open_an_old_table_one_adds_the_column() {
    for round in 0..20 {
        let lake = version_1();
        let store = lake.store().await;
        // One after the other, so that some read the old version just before another adds the column.
        let openers = (0..8).map(|opener| {
            let store = store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(opener * round * 200)).await;
                open_with_session(store).await
            })
        });
        let opened = join_all(openers).await;
        let table = opened.into_iter().map(Result::unwrap).next_back().unwrap();
        assert_eq!(table.snapshot().await.unwrap().version(), 3, "whoever opens it, it is one commit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_column_is_null_in_the_rows_of_version_1() {
    let lake = version_1();
    let store = lake.store().await;
    let table = open_with_session(store.clone()).await;
    let users = ["ann", "bob", "cid"];
    assert_eq!(sessions(&table).await, users.map(|user| (user.to_owned(), None)));

    let base = table.snapshot().await.unwrap();
    let old = rows(TODAY, SHARD, Sequence(3)).slice(0, 1);
    let mut columns = old.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["s-1"])) as ArrayRef);
    let row = RecordBatch::try_new(with_session(), columns).unwrap();
    let files = vec![table.write(TODAY, &Picked::all(&[row])).await.unwrap()];
    table.commit(&base, NewCommit { shard: SHARD, files, tidemark: Sequence(3), origin: None }).await.unwrap();
    let expected = [("ann", None), ("bob", None), ("cid", None), ("user-0-\u{e9}", Some("s-1".to_owned()))];
    assert_eq!(sessions(&table).await, expected.map(|(user, session)| (user.to_owned(), session)));

    let too_many = Table::open_or_create(&store, "events", tables::events()).await.err().unwrap();
    assert!(too_many.to_string().contains("it has `session` string too many"), "an older program refuses it: {too_many}");
}
