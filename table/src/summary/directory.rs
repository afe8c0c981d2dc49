//! Where the levels of a summary lie in their file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Level;

const VERSION: u32 = 1;

/// Where the levels of a summary lie in their file: the value of [`super::KEY`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Directory {
    version: u32,
    levels: BTreeMap<Level, Extent>,
}

/// Where a level lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Of those bytes: the first half of BLAKE3, in hexadecimal.
    checksum: String,
}

impl Directory {
    /// Of levels that are written one after the other from `offset`.
    pub(crate) fn new(offset: u64, levels: &[(Level, Vec<u8>)]) -> Self {
        let mut next = offset;
        let mut extent = |bytes: &[u8]| {
            let extent = Extent { offset: next, bytes: bytes.len() as u64, checksum: checksum(bytes) };
            next += extent.bytes;
            extent
        };
        Self { version: VERSION, levels: levels.iter().map(|(level, bytes)| (*level, extent(bytes))).collect() }
    }

    /// From the value of [`super::KEY`]; `None` when this program does not know its form.
    pub(crate) fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|directory: &Self| directory.version == VERSION)
    }

    /// Where a level lies; `None` when the file has none.
    pub(crate) fn extent(&self, level: Level) -> Option<&Extent> {
        self.levels.get(&level)
    }

    /// The value of [`super::KEY`].
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}

impl Extent {
    /// Whether these are the bytes that were written there.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && checksum(bytes) == self.checksum
    }
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}
