//! A store that misbehaves once, at the next commit, or always, by ignoring that an object must not exist.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path,
};
use table::Store;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The next commit is executed, and its reply lost.
    ReplyLost,
    /// The next commit is not executed.
    Refused,
    /// The next commit is executed, its reply lost, and the next list fails too.
    ReplyLostAndBlind,
    /// Nothing can be listed, once.
    Blind,
    /// Objects that must not exist are overwritten.
    Overwrites,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Mutex<Option<Fault>>,
}

/// The store with a switch for its faults.
pub(crate) fn faulty(store: Store) -> (Store, Arc<Faulty>) {
    let mut switch = None;
    let store = store.decorated(|inner| {
        let faulty = Arc::new(Faulty { inner, fault: Mutex::new(None) });
        switch = Some(Arc::clone(&faulty));
        faulty
    });
    (store, switch.unwrap())
}

impl Faulty {
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// The fault happened.
    pub(crate) fn is_over(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }

    fn is(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == Some(fault)
    }

    fn take_for_commit(&self, location: &Path) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        let is_commit = location.as_ref().contains("_delta_log/") && location.as_ref().ends_with(".json");
        if !is_commit || *fault == Some(Fault::Blind) {
            return None;
        }
        let taken = fault.take();
        if taken == Some(Fault::ReplyLostAndBlind) {
            *fault = Some(Fault::Blind);
        }
        taken
    }
}

fn cut() -> Error {
    Error::Generic { store: "Faulty", source: "the connection was cut".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if self.is(Fault::Overwrites) {
            options.mode = PutMode::Overwrite;
            return self.inner.put_opts(location, payload, options).await;
        }
        let fault = self.take_for_commit(location);
        if fault == Some(Fault::Refused) {
            return Err(cut());
        }
        let result = self.inner.put_opts(location, payload, options).await;
        if fault.is_some() { result.and(Err(cut())) } else { result }
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is(Fault::Blind) {
            self.fault.lock().unwrap().take();
            return stream::once(async { Err(cut()) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}
