//! Whether files have changed, asked now and then.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A few files, and how they looked when asked last.
#[derive(Debug)]
pub(crate) struct FileWatch {
    files: Vec<(PathBuf, Option<Looks>)>,
}

/// A file that was replaced has another inode, one that was written another time or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    inode: u64,
    bytes: u64,
    modified: SystemTime,
}

impl FileWatch {
    /// Remembers how the files look now; they need not exist.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { files: paths.into_iter().map(|path| (path.to_owned(), looks(path))).collect() }
    }

    /// Whether any looks different from when asked last.
    pub(crate) fn has_changed(&mut self) -> bool {
        let mut has_changed = false;
        for (path, looked) in &mut self.files {
            let looks = looks(path);
            has_changed |= looks != *looked;
            *looked = looks;
        }
        has_changed
    }
}

fn looks(path: &Path) -> Option<Looks> {
    let file = fs::metadata(path).ok()?;
    Some(Looks { inode: file.ino(), bytes: file.len(), modified: file.modified().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_is_replaced_or_goes_has_changed_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut watch = FileWatch::new([path.as_path()]);
        assert!(!watch.has_changed());
        fs::write(&path, "a").unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::write(folder.path().join("other"), "b").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
