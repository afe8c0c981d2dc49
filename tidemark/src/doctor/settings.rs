//! Are the settings right?

use service::{process::SettingArgs, settings::Settings};

use super::finding::Findings;
use crate::config;

/// The settings, if they can be read; the rest of the examination needs them.
pub(super) fn examine(arguments: SettingArgs, findings: &mut Findings) -> Option<Settings> {
    const CHECK: &str = "settings";
    let settings = match arguments.load() {
        Ok(settings) => settings,
        Err(error) => {
            findings.error(CHECK, error);
            findings.note(CHECK, "nothing else was looked at, because the settings say where everything is");
            return None;
        }
    };
    match config::check(&settings) {
        Ok(()) => {
            let (keys, set) = (settings.effective().len(), config::set_by_user(&settings));
            findings.ok(CHECK, format!("{keys} keys, {set} of them set by you; `tidemark config show` prints them"));
            Some(settings)
        }
        Err(error) => {
            findings.error(CHECK, error);
            findings.note(CHECK, "nothing else was looked at, because the settings say where everything is");
            None
        }
    }
}
