//! How far an import is, in a small file: each change is on disk, whole, before the next one.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::source::{FileId, Source};

/// More often would only cost; what was acknowledged since is sent again and folded.
const EVERY: Duration = Duration::from_millis(500);
const VERSION: u32 = 1;

/// What became of one file so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Its absolute path; `-` is standard input.
    key: String,
    #[serde(flatten)]
    file: Option<FileId>,
    /// The number of the last record that was answered, and all before it.
    pub(super) acknowledged: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) is_complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    files: Vec<Progress>,
}

/// The file in which progress is kept, if there is one.
pub(super) struct Resume {
    path: Option<PathBuf>,
    written: Instant,
}

impl Progress {
    const fn none(key: String, file: Option<FileId>) -> Self {
        Self { key, file, acknowledged: 0, accepted: 0, refused: 0, is_complete: false }
    }
}

impl Resume {
    /// The progress of each source, and whether there was any.
    ///
    /// # Errors
    /// When the file is no such file, or tells of a source that was changed since.
    pub(super) fn open(path: Option<&Path>, sources: &[Source]) -> anyhow::Result<(Self, Vec<Progress>, bool)> {
        let stored = path.map(read).transpose()?.flatten();
        let found = stored.is_some();
        let known = stored.map_or_else(Vec::new, |stored| stored.files);
        let progress = sources.iter().map(|source| match known.iter().find(|progress| progress.key == source.key()) {
            Some(progress) => {
                ensure!(
                    progress.file == source.file,
                    "`{}` is not the file any more of which `{}` tells how far it is; delete that file and import again: what is stored is \
                     not stored twice",
                    source.name,
                    path.unwrap_or(Path::new("")).display()
                );
                Ok(progress.clone())
            }
            None => Ok(Progress::none(source.key(), source.file)),
        });
        let progress = progress.collect::<anyhow::Result<Vec<_>>>()?;
        let mut resume = Self { path: path.map(Path::to_owned), written: Instant::now() };
        resume.write(&progress)?;
        Ok((resume, progress, found))
    }

    /// Writes the progress down when it is time.
    pub(super) fn write_when_due(&mut self, progress: &[Progress]) -> anyhow::Result<()> {
        if self.written.elapsed() < EVERY { Ok(()) } else { self.write(progress) }
    }

    /// Whether [`write_when_due`](Self::write_when_due) would write.
    pub(super) fn is_due(&self) -> bool {
        self.path.is_some() && self.written.elapsed() >= EVERY
    }

    /// Writes the progress down.
    pub(super) fn write(&mut self, progress: &[Progress]) -> anyhow::Result<()> {
        self.written = Instant::now();
        let Some(path) = &self.path else { return Ok(()) };
        let stored = serde_json::to_vec_pretty(&Stored { version: VERSION, files: progress.to_vec() })?;
        replace(path, &stored).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Stored>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let stored = serde_json::from_slice::<Stored>(&bytes).ok().filter(|stored| stored.version == VERSION);
    stored.map(Some).with_context(|| format!("`{}` does not tell how far an import is; name another file with `--resume`", path.display()))
}

/// The old content or the new one, whatever happens meanwhile.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(folder)?.sync_all()
}
