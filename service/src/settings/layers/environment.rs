//! The environment layer: `TIDEMARK__SECTION__KEY`, and for secrets `TIDEMARK__SECTION__KEY_FILE`.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::Change;
use crate::settings::{Error, catalogue::Catalogue, origin::Origin, secrets::is_secret};

const PREFIX: &str = "TIDEMARK__";
const FILE_SUFFIX: &str = "_FILE";

pub(super) fn read(catalogue: &Catalogue, environment: &[(String, String)]) -> Result<Vec<Change>, Error> {
    let ours = environment.iter().filter(|(name, _)| name.starts_with(PREFIX));
    ours.map(|(name, text)| change(catalogue, name, text, environment)).collect()
}

fn change(catalogue: &Catalogue, name: &str, text: &str, environment: &[(String, String)]) -> Result<Change, Error> {
    let origin = Origin::Environment { variable: name.to_owned() };
    if let Some((key, default)) = catalogue.of_variable(name) {
        return Change::from_text(key, default, text, origin);
    }
    match secret_file(catalogue, name) {
        Some((variable, _)) if environment.iter().any(|(other, _)| other == variable) => {
            Err(Error::SecretTwice { variable: variable.to_owned() })
        }
        Some((_, key)) => {
            let value = Value::from(secret(name, text)?);
            Ok(Change { key: key.to_owned(), value, origin })
        }
        None => Err(catalogue.unknown(name.to_owned(), &origin)),
    }
}

/// The plain variable and the key of a `*_FILE` variable of a secret.
fn secret_file<'a>(catalogue: &'a Catalogue, name: &'a str) -> Option<(&'a str, &'a str)> {
    let variable = name.strip_suffix(FILE_SUFFIX)?;
    let (key, _) = catalogue.of_variable(variable)?;
    is_secret(key).then_some((variable, key))
}

/// The content of the file without the line end that editors add.
fn secret(variable: &str, path: &str) -> Result<String, Error> {
    let read = fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    read.map_err(|source| Error::SecretFile { variable: variable.to_owned(), path: PathBuf::from(path), source })
}
