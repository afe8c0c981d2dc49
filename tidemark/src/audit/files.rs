//! Each file read to its end, in every column: what is not there, or not as it was written, is named before any row is compared.
//!
//! A store that fails says nothing about a file. So a file is blamed only when the store hands out all its bytes.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, path::Path};
use schemas::ShardId;
use table::{DataFile, Table};

use super::{
    Pinned,
    findings::{Findings, Violation},
};

/// Files that are read at the same time: much of the wait is the store's.
const FILES_AT_ONCE: usize = 2;

/// Names the files of a table that cannot be read.
pub(super) async fn examine(pinned: &Pinned, shards: &BTreeSet<ShardId>, findings: &mut Findings) -> anyhow::Result<()> {
    let look = |file: DataFile| async move { Ok::<_, anyhow::Error>((look(&pinned.table, &file).await?, file)) };
    let mut looked = stream::iter(pinned.snapshot.files().to_vec()).map(look).buffered(FILES_AT_ONCE);
    while let Some((violation, file)) = looked.try_next().await? {
        if let Some(violation) = violation {
            findings.add_unreadable(shard_of(&file, shards), &file.path, violation);
        }
    }
    Ok(())
}

/// The first of the shards that a file may have rows of.
fn shard_of(file: &DataFile, shards: &BTreeSet<ShardId>) -> ShardId {
    let of_file = shards.iter().find(|shard| file.stats.shards.is_none_or(|(first, last)| (first..=last).contains(shard)));
    of_file.or(shards.first()).copied().unwrap_or_default()
}

async fn look(table: &Table, file: &DataFile) -> anyhow::Result<Option<Violation>> {
    let path = || Arc::clone(&file.path);
    match table.object_store().head(&Path::from(&*file.path)).await {
        Ok(found) if found.size == file.size_bytes => {}
        Ok(found) => return Ok(Some(Violation::FileSize { file: path(), logged_bytes: file.size_bytes, found_bytes: found.size })),
        Err(object_store::Error::NotFound { .. }) => return Ok(Some(Violation::FileMissing { file: path() })),
        Err(error) => return Err(error).with_context(|| format!("the store does not say whether `{}` is there", file.path)),
    }
    let Err(error) = table.read_through(file).await else { return Ok(None) };
    read_bytes(table, file).await.with_context(|| format!("the store does not hand out `{}`", file.path))?;
    let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let reason = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    Ok(Some(Violation::FileUnreadable { file: path(), reason }))
}

async fn read_bytes(table: &Table, file: &DataFile) -> Result<(), object_store::Error> {
    let mut bytes = table.object_store().get(&Path::from(&*file.path)).await?.into_stream();
    while bytes.try_next().await?.is_some() {}
    Ok(())
}
