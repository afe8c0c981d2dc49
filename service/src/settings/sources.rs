//! Where settings come from, apart from the embedded defaults.

use std::{ffi::OsString, fmt, path::PathBuf};

const CONFIG_VARIABLE: &str = "TIDEMARK_CONFIG";

/// The layers above the embedded defaults, lowest first. [`Sources::default`] has none.
#[derive(Clone, Default)]
pub struct Sources {
    /// A TOML file with some of the keys.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `TIDEMARK__` are ignored.
    pub environment: Vec<(String, String)>,
    /// `section.key` and value of each flag; of two with the same key the later one wins.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The environment of this process, the given flags, and the given file or the one that `TIDEMARK_CONFIG` names.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
        let named = environment.iter().find(|(name, path)| name == CONFIG_VARIABLE && !path.is_empty());
        let file = file.or_else(|| named.map(|(_, path)| PathBuf::from(path)));
        Self { file, environment, flags }
    }
}

/// A variable of ours as text; what is not UTF-8 becomes `U+FFFD` and then fails the check of its key.
fn text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    let name = name.into_string().ok().filter(|name| name.starts_with("TIDEMARK_"))?;
    Some((name, value.to_string_lossy().into_owned()))
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &names(&self.environment))
            .field("flags", &names(&self.flags))
            .finish()
    }
}
