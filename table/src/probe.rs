//! Does the store have what a Delta commit needs? Asked at every start, because a store that lacks it loses commits silently.
//!
//! An existing object cannot be created again; of racing creators exactly one wins; what was written is read and listed at once;
//! what was deleted is gone.

use bytes::Bytes;
use futures::{TryStreamExt, future::try_join_all};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, path::Path};
use uuid::Uuid;

use crate::{Error, Store};

const FOLDER: &str = "_probe";
const CREATORS: usize = 8;

impl Store {
    /// Tries the store with two small objects under `_probe/`, which are removed afterwards.
    ///
    /// # Errors
    /// [`Error::Unfit`] names the property that the store lacks and which stores have it; [`Error::Store`] when it cannot be used at all.
    pub async fn probe(&self) -> Result<(), Error> {
        let store = self.object_store();
        let keys = Keys::new();
        let probed = probe(store.as_ref(), &keys).await;
        keys.remove(store.as_ref()).await;
        let lacking = |lacks| Error::Unfit { location: self.location().to_owned(), lacks };
        probed?.map_err(lacking)
    }
}

/// The objects of one probe; no other probe uses them.
struct Keys {
    once: Path,
    raced: Path,
}

impl Keys {
    fn new() -> Self {
        let probe = Uuid::new_v4();
        let key = |name: &str| Path::from(FOLDER).join(format!("{probe}-{name}"));
        Self { once: key("once"), raced: key("raced") }
    }

    /// Best effort: what is left harms nobody.
    async fn remove(&self, store: &dyn ObjectStore) {
        for key in [&self.once, &self.raced] {
            let _ = store.delete(key).await;
        }
    }
}

/// `Ok(Err(what the store lacks))`, or an error of the store.
async fn probe(store: &dyn ObjectStore, keys: &Keys) -> Result<Result<(), String>, StoreError> {
    if !create(store, &keys.once, "first").await? {
        return Ok(Err("it refuses to create an object that does not exist".to_owned()));
    }
    if create(store, &keys.once, "second").await? {
        return Ok(Err("it lets an existing object be created again (it ignores `If-None-Match` on PUT)".to_owned()));
    }
    if store.get(&keys.once).await?.bytes().await? != "first" {
        return Ok(Err("an object that was just written reads back with other content".to_owned()));
    }
    let winners = race(store, &keys.raced).await?;
    if winners != 1 {
        return Ok(Err(format!("of {CREATORS} writers that create the same object at the same time {winners} succeed, not one")));
    }
    if !list(store).await?.contains(&keys.once) {
        return Ok(Err("an object that was just written is missing from the list".to_owned()));
    }
    store.delete(&keys.once).await?;
    Ok(match store.get(&keys.once).await {
        Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => return Err(error),
        Ok(_) => Err("an object that was just deleted can still be read".to_owned()),
    })
}

/// True when the object was created, false when it existed.
async fn create(store: &dyn ObjectStore, key: &Path, content: &'static str) -> Result<bool, StoreError> {
    match store.put_opts(key, Bytes::from_static(content.as_bytes()).into(), PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn race(store: &dyn ObjectStore, key: &Path) -> Result<usize, StoreError> {
    let outcomes = try_join_all((0..CREATORS).map(|_| create(store, key, "race"))).await?;
    Ok(outcomes.into_iter().filter(|won| *won).count())
}

async fn list(store: &dyn ObjectStore) -> Result<Vec<Path>, StoreError> {
    store.list(Some(&Path::from(FOLDER))).map_ok(|object| object.location).try_collect().await
}
