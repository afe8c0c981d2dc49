//! The S3 server dies and comes back.

use schemas::{Sequence, tables};
use table::{CommitError, Store, Table};
use testkit::S3Server;

use crate::{
    lake::on_server,
    rows::{SHARD, new_commit, read},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_while_the_store_is_down_can_be_repeated_when_it_is_back() {
    let mut server = S3Server::start().await;
    let store = Store::open(&on_server(&server, "lake")).await.unwrap();
    let table = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
    let first = table.commit(&table.snapshot().await.unwrap(), new_commit(&table, 1).await).await.unwrap();
    let second = new_commit(&table, 2).await;

    server.kill();
    let down = table.commit(&first, second.clone()).await.unwrap_err();
    assert!(matches!(down, CommitError::Unknown { .. }), "{down:?}");
    table.snapshot().await.unwrap_err();

    server.restart().await;
    let committed = table.commit(&first, second).await.unwrap();
    assert_eq!((committed.version(), committed.tidemark(SHARD)), (2, Sequence(2)));
    let opened = Table::open(&store, "events").await.unwrap().unwrap();
    assert_eq!(read(&opened, &opened.snapshot().await.unwrap()).await.num_rows(), 12);
}
