//! What was typed before: a file that only its owner can read, in the folder that the system has for such state.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::PathBuf};

use anyhow::Context;
use rustyline::{Editor, Helper, history::FileHistory};

/// How many inputs are kept.
pub(super) const MOST_ENTRIES: usize = 1_000;
/// Nobody but the owner may look in.
const FOLDER_MODE: u32 = 0o700;

/// Reads the history of earlier shells; gives the file that it is kept in: `$XDG_STATE_HOME/tidemark/sql_history`.
///
/// # Errors
/// There is no such folder, or the file cannot be read.
pub(super) fn open<H: Helper>(editor: &mut Editor<H, FileHistory>) -> anyhow::Result<PathBuf> {
    let state = dirs::state_dir().or_else(dirs::data_local_dir).context("this user has no home folder")?;
    let folder = state.join("tidemark");
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder).with_context(|| format!("`{}`", folder.display()))?;
    let file = folder.join("sql_history");
    if file.exists() {
        editor.load_history(&file).with_context(|| format!("`{}`", file.display()))?;
    }
    Ok(file)
}
