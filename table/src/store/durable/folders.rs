//! Which names are on disk: fsync of files, and of the folders that hold their names.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use object_store::{Error, Result};

/// How a file or a folder gets on disk; tests watch it.
type Fsync = Box<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// fsyncs what lies in one folder.
pub(super) struct Folders {
    root: PathBuf,
    /// Folders whose own names are on disk, up to the root.
    known: Mutex<HashSet<PathBuf>>,
    /// An fsync failed.
    broken: AtomicBool,
    fsync: Fsync,
}

/// Waits until a file's content, or a folder's names, are on disk.
pub(super) fn fsync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self::with_fsync(root, Box::new(fsync))
    }

    pub(super) fn with_fsync(root: PathBuf, fsync: Fsync) -> Self {
        Self { root, known: Mutex::default(), broken: AtomicBool::new(false), fsync }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// An error after any fsync failed.
    pub(super) fn check(&self) -> Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(failed("an fsync failed before, so nobody knows what is on disk; check the disk and restart".into()));
        }
        Ok(())
    }

    /// fsyncs one file or folder.
    pub(super) fn sync(&self, path: &Path) -> Result<()> {
        (self.fsync)(path).map_err(|source| {
            self.broken.store(true, Ordering::Release);
            failed(format!("fsync of {}: {source}", path.display()).into())
        })
    }

    /// fsyncs a file and its name.
    pub(super) fn sync_file(&self, file: &Path) -> Result<()> {
        self.sync(file)?;
        self.sync_name(file)
    }

    /// fsyncs the folder that holds a file's name, and the names of the folders above it that are not known to be on disk.
    pub(super) fn sync_name(&self, file: &Path) -> Result<()> {
        let Some(folder) = file.parent() else { return Ok(()) };
        self.sync(folder)?;
        let unknown = self.unknown(folder);
        for parent in unknown.iter().filter_map(|folder| folder.parent()) {
            self.sync(parent)?;
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(unknown);
        Ok(())
    }

    fn unknown(&self, folder: &Path) -> Vec<PathBuf> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        folder.ancestors().take_while(|folder| *folder != self.root && !known.contains(*folder)).map(Path::to_owned).collect()
    }
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folders").field(&self.root).finish()
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: super::STORE, source }
}
