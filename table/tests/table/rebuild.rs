//! The rules of rows that come back, one function each.

use chrono::DateTime;
use schemas::EventDate;
use table::CommitError;

use crate::{
    lake::Lake,
    maintenance::commit,
    rows::{TODAY, new_commit, read},
};

pub(crate) async fn rows_come_back_once_although_two_bring_them(lake: Lake) {
    let (one, other) = (lake.events().await, lake.events().await);
    let (whole, now) = (commit(&one, 3).await, DateTime::UNIX_EPOCH);
    let damaged = whole.files()[1].clone();
    let again = |table| async move { new_commit(table, 2).await.files };
    let (back, twice) = (again(&one).await, again(&other).await);

    let mended = one.rebuild(&whole, vec![damaged.clone()], back.clone(), now).await.unwrap().unwrap();
    assert!(mended.files().contains(&back[0]) && !mended.files().contains(&damaged));
    assert_eq!((mended.tidemarks(), read(&one, &mended).await), (whole.tidemarks(), read(&one, &whole).await));
    assert!(other.rebuild(&whole, vec![damaged], twice.clone(), now).await.unwrap().is_none(), "its file is gone");
    assert!(other.rebuild(&whole, Vec::new(), twice.clone(), now).await.unwrap().is_none(), "it saw a version without the rows");
    let told_again = one.rebuild(&whole, Vec::new(), back, now).await.unwrap().unwrap();
    assert_eq!(told_again.version(), mended.version(), "a lost reply is no second time");

    commit(&other, 4).await;
    assert!(one.rebuild(&mended, Vec::new(), twice, now).await.unwrap().is_some(), "new rows do not disturb");
}

pub(crate) async fn a_day_that_was_given_up_meanwhile_does_not_come_back(lake: Lake) {
    let table = lake.events().await;
    let (before, now) = (commit(&table, 2).await, DateTime::UNIX_EPOCH);
    let back = new_commit(&table, 1).await.files;
    table.drop_before(EventDate(TODAY.0 + 1), now).await.unwrap();
    assert!(table.rebuild(&before, Vec::new(), back, now).await.unwrap().is_none());
    assert!(table.snapshot().await.unwrap().files().is_empty());
}

pub(crate) async fn a_writer_that_did_not_know_of_rows_that_came_back_is_told(lake: Lake) {
    let (writer, mender) = (lake.events().await, lake.events().await);
    let (base, now) = (commit(&writer, 2).await, DateTime::UNIX_EPOCH);
    let back = new_commit(&mender, 1).await.files;
    let mended = mender.rebuild(&base, Vec::new(), back, now).await.unwrap().unwrap();
    let next = new_commit(&writer, 3).await;
    for _ in 0..2 {
        let told = writer.commit(&base, next.clone()).await.unwrap_err();
        assert!(matches!(told, CommitError::Rebuilt), "{told:?}");
    }
    writer.commit(&mended, next).await.unwrap();
}
