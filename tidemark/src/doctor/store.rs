//! The folder or bucket of the tables: there, writable, with the properties without which commits would be lost.

use std::path::Path;

use rustix::fs::{Access, access};
use table::{Config, Store};

use super::{Examination, finding::Findings, machine};

const CHECK: &str = "store";

/// Tries the store; the store, when it can be used.
pub(super) async fn examine(Examination { settings, .. }: &Examination, findings: &mut Findings) -> anyhow::Result<Option<Store>> {
    let config: Config = settings.section("table")?;
    let store = match Store::open_existing(&config).await {
        Ok(Some(store)) => store,
        Ok(None) => {
            missing(&config, findings);
            return Ok(None);
        }
        Err(error) => {
            findings.error(CHECK, error);
            return Ok(None);
        }
    };
    match store.probe().await {
        Ok(()) => findings.ok(CHECK, format!("`{}` can be read and written, and creates an object only once", store.location())),
        Err(error) => {
            let remedy = "give this user the right to write there, or name another place with `table.url`";
            match error {
                error @ table::Error::Unfit { .. } => findings.error(CHECK, error),
                error => findings.problem(CHECK, format!("`{}`: {:#}", store.location(), anyhow::Error::from(error)), remedy),
            }
            return Ok(None);
        }
    }
    if let Some(folder) = Store::folder(&config) {
        machine::disk("store.disk", folder, "the tables (setting `table.url`)", findings);
    }
    Ok(Some(store))
}

/// Whether the first start can make what is not there.
fn missing(config: &Config, findings: &mut Findings) {
    let url = &config.url;
    match Store::folder(config) {
        None if config.s3.create_bucket => {
            findings.note(CHECK, format!("the bucket of `{url}` does not exist yet; `tidemark serve` creates it"))
        }
        None => {
            findings.problem(CHECK, format!("the bucket of `{url}` does not exist"), "create it, or set `table.s3.create_bucket` to true")
        }
        Some(folder) => {
            let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            let parent = absolute.ancestors().find(|parent| parent.exists()).unwrap_or(Path::new("/"));
            match parent.is_dir() && access(parent, Access::WRITE_OK).is_ok() {
                true => findings.note(CHECK, format!("there is no folder `{url}` yet; `tidemark serve` creates it")),
                false => findings.problem(
                    CHECK,
                    format!("there is no folder `{url}`, and it cannot be made in `{}`", parent.display()),
                    "give this user the right to write there, or name another place with `table.url`",
                ),
            }
        }
    }
}
