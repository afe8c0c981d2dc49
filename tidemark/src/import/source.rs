//! Where events come from: a file or standard input, decompressed by what it is and not by its name.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Cursor, Read, Seek, stdin},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;

/// Bytes at the beginning by which a format is recognised.
const HEAD_BYTES: u64 = 64 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
const GZIP: &[u8] = &[0x1F, 0x8B];
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
pub(super) const PARQUET: &[u8] = b"PAR1";

/// A file that is there, or standard input.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// `None` is standard input.
    path: Option<PathBuf>,
    /// As a person knows it.
    pub(super) name: String,
    /// Which file it was, when it was looked at; nothing is known of standard input.
    pub(super) file: Option<FileId>,
}

/// What tells a file that was changed from the one that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct FileId {
    pub(super) bytes: u64,
    modified_ms: u64,
}

/// Decompressed bytes, of which the first are known.
pub(super) struct Opened {
    /// The first decompressed bytes.
    pub(super) head: Vec<u8>,
    /// All of them.
    pub(super) bytes: Box<dyn BufRead>,
    /// How much of the file itself was read so far.
    pub(super) read: Arc<AtomicU64>,
    is_compressed: bool,
}

impl Source {
    /// Looks whether the file is there.
    pub(super) fn find(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { path: None, name: "standard input".to_owned(), file: None });
        }
        let name = path.display().to_string();
        let found = path.metadata().with_context(|| format!("cannot read `{name}`"))?;
        ensure!(!found.is_dir(), "`{name}` is a folder; name the files in it, for example `{name}/*`");
        let path = std::path::absolute(path).with_context(|| format!("cannot read `{name}`"))?;
        Ok(Self { path: Some(path), name, file: found.is_file().then(|| FileId::of(&found)) })
    }

    /// Whether another path leads to the same file.
    pub(super) fn is(&self, other: &Path) -> bool {
        let own = self.path.as_ref().and_then(|path| path.canonicalize().ok());
        own.is_some() && own == other.canonicalize().ok()
    }

    /// The same for every import of this file.
    pub(super) fn key(&self) -> String {
        self.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string())
    }

    /// Opens it and looks at its beginning.
    pub(super) fn open(&self) -> io::Result<Opened> {
        let raw: Box<dyn Read> = match &self.path {
            Some(path) => Box::new(File::open(path)?),
            None => Box::new(stdin()),
        };
        let read = Arc::new(AtomicU64::new(0));
        let (head, raw) = peek(Counted { inner: raw, read: Arc::clone(&read) })?;
        let plain: Box<dyn Read> = match head.as_slice() {
            head if head.starts_with(GZIP) => Box::new(MultiGzDecoder::new(raw)),
            head if head.starts_with(ZSTD) => Box::new(zstd::Decoder::with_buffer(raw)?),
            _ => return Ok(Opened { head, bytes: Box::new(raw), read, is_compressed: false }),
        };
        let (head, plain) = peek(plain)?;
        Ok(Opened { head, bytes: Box::new(plain), read, is_compressed: true })
    }

    /// A file in which one can go to and fro: itself, or a copy without a name that goes when it is closed.
    pub(super) fn seekable(&self, mut opened: Opened) -> io::Result<File> {
        match &self.path {
            Some(path) if self.file.is_some() && !opened.is_compressed => File::open(path),
            _ => {
                let mut copy = tempfile::tempfile()?;
                io::copy(&mut opened.bytes, &mut copy)?;
                copy.rewind()?;
                Ok(copy)
            }
        }
    }
}

impl FileId {
    fn of(found: &Metadata) -> Self {
        let modified = found.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        Self { bytes: found.len(), modified_ms: u64::try_from(modified.unwrap_or_default().as_millis()).unwrap_or(u64::MAX) }
    }
}

/// The first bytes, and a reader that gives them again.
fn peek(mut reader: impl Read) -> io::Result<(Vec<u8>, impl BufRead)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let all = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head.clone()).chain(reader));
    Ok((head, all))
}

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}
