//! What can be wrong with settings. Every message says where, and what would be right.

use std::{io, path::PathBuf};

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of `--config` or `TIDEMARK_CONFIG` cannot be read: give a readable file.
    #[error("cannot read the settings file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML: correct that line.
    #[error("the settings file `{}` is not valid TOML at line {line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// No such key: correct its name.
    #[error("unknown key `{key}` in {place}; {}", hint(nearest.as_deref()))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The file and line, the variable or the flag.
        place: String,
        /// The known key that resembles it most, as one would write it in this place.
        nearest: Option<String>,
    },
    /// The value does not suit its key: correct the value.
    #[error("wrong value for `{key}` in {place}: {reason}; right would be, for example, `{example}`")]
    WrongValue {
        /// The key.
        key: String,
        /// The file and line, the variable or the flag.
        place: String,
        /// What is wrong with the value.
        reason: String,
        /// An assignment that would be right.
        example: String,
    },
    /// The file that a `*_FILE` variable names cannot be read: give a readable file.
    #[error("cannot read the file `{}` that {variable} names", path.display())]
    SecretFile {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret is given twice: remove one of the two variables.
    #[error("both {variable} and {variable}_FILE are set; remove one of them")]
    SecretTwice {
        /// The variable without `_FILE`.
        variable: String,
    },
    /// A section and the struct that reads it do not fit: a defect in Tidemark.
    #[error("the section `{section}` cannot be read: {reason}; this is a defect, please report it")]
    Section {
        /// The section.
        section: String,
        /// What serde says.
        reason: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`tidemark config show` lists every key".to_owned(),
    }
}
