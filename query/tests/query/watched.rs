//! An object store that tells what was read of data files, and that can be down.

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, path::Path,
};
use futures::{StreamExt, stream, stream::BoxStream};

/// What a test sees and sets. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    reads: Arc<Mutex<Vec<Read>>>,
    is_down: Arc<AtomicBool>,
}

/// One request for bytes of a data file.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) file: String,
    pub(crate) range: Range<u64>,
}

impl Read {
    pub(crate) fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Watch {
    /// The data files read since the last call.
    pub(crate) fn take_read(&self) -> BTreeSet<String> {
        self.take_reads().into_iter().map(|read| read.file).collect()
    }

    /// The requests for bytes of data files since the last call.
    pub(crate) fn take_reads(&self) -> Vec<Read> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<()> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Error::Generic { store: "watched", source: "secret reason".into() });
        }
        Ok(())
    }
}

/// The path of a data file as a table tells it: table, day, name.
fn below_lake(location: &Path) -> String {
    let parts: Vec<String> = location.parts().map(|part| part.as_ref().to_owned()).collect();
    parts[parts.len() - 3..].join("/")
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) watch: Watch,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watched {}", self.inner)
    }
}

impl Watched {
    fn list_or_fail(&self, list: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.watch.check() {
            Ok(()) => list,
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.watch.check()?;
        let result = self.inner.get_opts(location, options).await?;
        if location.as_ref().ends_with(".parquet") && location.as_ref().contains("event_date=") {
            self.watch.reads.lock().unwrap().push(Read { file: below_lake(location), range: result.range.clone() });
        }
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_or_fail(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_or_fail(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.watch.check()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
