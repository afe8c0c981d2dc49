use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use object_store::ObjectStoreExt;

use super::*;

/// What was fsynced, in order: `content` before the file has its name, `name` (the folder) after, `above` (a folder higher up).
#[derive(Default)]
struct Watch {
    seen: Mutex<Vec<&'static str>>,
    fail: AtomicBool,
}

fn watched(file: &str) -> (tempfile::TempDir, Durable, Arc<Watch>, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let path = root.join(file);
    let watch = Arc::new(Watch::default());
    let (seen, expected) = (Arc::clone(&watch), path.clone());
    let fsync = move |synced: &FsPath| {
        if seen.fail.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is on fire"));
        }
        let what = match synced {
            synced if synced.is_file() && !expected.exists() => "content",
            synced if Some(synced) == expected.parent() && expected.exists() => "name",
            synced if synced.is_dir() => "above",
            _ => "content after the name",
        };
        seen.seen.lock().unwrap().push(what);
        folders::fsync(synced)
    };
    let folders = Arc::new(Folders::with_fsync(root, Box::new(fsync)));
    (dir, Durable { files: LocalFileSystem::new(), folders }, watch, path)
}

fn location(path: &FsPath) -> Path {
    Path::from_absolute_path(path).unwrap()
}

#[tokio::test]
async fn content_is_on_disk_before_its_name_and_the_name_before_the_put_returns() {
    for mode in [PutMode::Create, PutMode::Overwrite] {
        let (_dir, store, watch, path) = watched("events/_delta_log/0.json");
        store.put_opts(&location(&path), "commit".into(), mode.into()).await.unwrap();
        assert_eq!(*watch.seen.lock().unwrap(), ["content", "name", "above", "above"]);
        assert_eq!(fs::read(&path).unwrap(), b"commit");
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["0.json"], "nothing staged is left");
    }
}

#[tokio::test]
async fn a_multipart_file_and_its_name_are_on_disk_when_it_completes() {
    let (_dir, store, watch, path) = watched("events/a.parquet");
    let mut upload = store.put_multipart(&location(&path)).await.unwrap();
    upload.put_part("rows".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(*watch.seen.lock().unwrap(), ["content after the name", "name", "above"]);
}

#[tokio::test]
async fn folders_that_are_known_to_be_on_disk_are_not_fsynced_again() {
    let (_dir, store, watch, path) = watched("events/a.parquet");
    store.put(&location(&path), "first".into()).await.unwrap();
    watch.seen.lock().unwrap().clear();
    store.put(&location(&path.with_file_name("b.parquet")), "second".into()).await.unwrap();
    assert_eq!(watch.seen.lock().unwrap().len(), 2, "content and name only");
}

#[tokio::test]
async fn a_second_create_fails_and_keeps_the_first_content() {
    let (_dir, store, _watch, path) = watched("events/0.json");
    store.put_opts(&location(&path), "first".into(), PutMode::Create.into()).await.unwrap();
    let second = store.put_opts(&location(&path), "second".into(), PutMode::Create.into()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    assert_eq!(fs::read(&path).unwrap(), b"first");
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_read_or_written() {
    let (_dir, store, watch, path) = watched("events/0.json");
    watch.fail.store(true, Ordering::Relaxed);
    store.put(&location(&path), "lost?".into()).await.unwrap_err();
    watch.fail.store(false, Ordering::Relaxed);
    store.put(&location(&path), "again".into()).await.unwrap_err();
    store.get(&location(&path)).await.unwrap_err();
    assert!(store.list(None).next().await.unwrap().is_err());
}

#[test]
fn a_missing_folder_is_created_with_all_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = create_folder(&dir.path().join("data/lake")).unwrap();
    assert!(folder.is_dir() && folder.is_absolute());
}
