//! A local folder as an object store whose writes are on disk when they return (INVARIANTS I5).
//!
//! `object_store` does not fsync. Here a file is written beside its name, fsynced, then linked or renamed to its name, then the
//! folder is fsynced, and once each folder above it up to the lake. So whoever sees a commit after a power cut sees all of it, and
//! a commit that returned is there. After a failed fsync nobody knows what is on disk: the store then refuses everything until it
//! is opened again, so that a commit whose fsync failed can never be taken for a durable one.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart, local::LocalFileSystem, path::Path,
};
use uuid::Uuid;

mod folders;

use folders::Folders;

const STORE: &str = "Durable";

/// The file system, where what lies in one folder is fsynced.
pub(super) struct Durable {
    files: LocalFileSystem,
    folders: Arc<Folders>,
}

/// Creates a folder, fsyncs the names of all that were missing, and returns its canonical path.
pub(super) fn create_folder(path: &FsPath) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(&path)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        folders::fsync(parent)?;
    }
    path.canonicalize()
}

impl Durable {
    /// The whole file system; `folder` (canonical, existing) is where writes happen.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { files: LocalFileSystem::new(), folders: Arc::new(Folders::new(folder)) }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Folders) -> Result<T> + Send + 'static) -> Result<T> {
        let folders = Arc::clone(&self.folders);
        folders.check()?;
        tokio::task::spawn_blocking(move || work(&folders)).await?
    }
}

fn put(folders: &Folders, path: &FsPath, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
    let staged = stage(folders, path, payload)?;
    let named = match mode {
        PutMode::Create => fs::hard_link(&staged, path),
        _ => fs::rename(&staged, path),
    };
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&staged);
    named.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.display().to_string(), source: source.into() },
        _ => failed(path, source),
    })?;
    folders.sync_name(path)?;
    Ok(PutResult { e_tag: None, version: None })
}

/// Writes and fsyncs the content under a name that no listing shows (`object_store` hides `name#digits`).
fn stage(folders: &Folders, path: &FsPath, payload: &PutPayload) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}", Uuid::new_v4().as_u128()));
    let staged = PathBuf::from(name);
    let write = || -> io::Result<()> {
        let mut file = create(&staged)?;
        payload.iter().try_for_each(|bytes| file.write_all(bytes))
    };
    let written = write().map_err(|source| failed(path, source)).and_then(|()| folders.sync(&staged));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written.map(|()| staged)
}

/// Creates a file, and its folder when that is missing.
fn create(path: &FsPath) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(path)
        }
        created => created,
    }
}

fn failed(path: &FsPath, source: io::Error) -> Error {
    let source = io::Error::new(source.kind(), format!("{}: {source}", path.display()));
    Error::Generic { store: STORE, source: source.into() }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return self.files.put_opts(location, payload, options).await; // refuses both
        }
        let path = self.files.path_to_filesystem(location)?;
        self.blocking(move |folders| put(folders, &path, &payload, &options.mode)).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.folders.check()?;
        let path = self.files.path_to_filesystem(location)?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { upload, path, folders: Arc::clone(&self.folders) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.folders.check()?;
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.folders.check() {
            Ok(()) => self.files.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.folders.check() {
            Ok(()) => self.files.list_with_offset(prefix, offset),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.folders.check()?;
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        let path = self.files.path_to_filesystem(to)?;
        self.blocking(move |folders| folders.sync_file(&path)).await
    }
}

/// A file in parts, written beside its name; fsynced after it got its name, because nobody looks for it before it is committed.
#[derive(Debug)]
struct Upload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
    folders: Arc<Folders>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let (path, folders) = (self.path.clone(), Arc::clone(&self.folders));
        tokio::task::spawn_blocking(move || folders.sync_file(&path)).await??;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.folders.root().display())
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
