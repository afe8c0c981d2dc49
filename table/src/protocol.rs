//! What another program must be able to do to read or write a table, as its Delta log says.

use serde::Deserialize;

use crate::{Snapshot, table::SCHEMA_VERSION_KEY};

/// The protocol of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// What a reader must implement.
    #[serde(rename = "minReaderVersion")]
    pub reader_version: i32,
    /// What a writer must implement.
    #[serde(rename = "minWriterVersion")]
    pub writer_version: i32,
    /// Features that a reader must know; only above version 2.
    #[serde(default)]
    pub reader_features: Vec<String>,
    /// Features that a writer must know; only above version 6.
    #[serde(default)]
    pub writer_features: Vec<String>,
}

impl Snapshot {
    /// What other programs must be able to do.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let protocol = serde_json::to_value(self.state().protocol()).expect("versions and names are JSON");
        serde_json::from_value(protocol).expect("the Delta protocol names these members, as its specification does")
    }

    /// The version of the row schema; `None` for a table that is not ours.
    #[must_use]
    pub fn schema_version(&self) -> Option<u32> {
        self.state().metadata().configuration().get(SCHEMA_VERSION_KEY).and_then(|version| version.parse().ok())
    }
}
