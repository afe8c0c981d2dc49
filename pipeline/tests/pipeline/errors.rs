//! docs/ERRORS.md and the sources say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use http::StatusCode;
use schemas::Code;

/// What stands before a code whose status is always 503.
const UNAVAILABLE: &str = "unavailable(\"";
/// What stands before the code of a message that is quarantined whole.
const QUARANTINED: &str = "quarantine_whole(delivery, \"";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of the table under a heading, without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(workspace().join("docs/ERRORS.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// Everything in the crates' sources that is no test.
fn sources() -> Vec<String> {
    let crates = ["service", "pipeline", "query", "tidemark"];
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = crates.iter().map(|name| workspace().join(name).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
            match (entry.is_dir(), name.as_str()) {
                (true, _) => folders.push(entry),
                (_, "tests.rs" | "health.rs") => {}
                _ => sources.push(fs::read_to_string(entry).unwrap().split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()),
            }
        }
    }
    sources
}

/// The literal codes behind each `marker`.
fn literals<'a>(source: &'a str, marker: &'static str) -> impl Iterator<Item = &'a str> {
    let is_code = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    source.split(marker).skip(1).filter_map(|rest| rest.split('"').next()).filter(is_code)
}

/// `StatusCode::NAME, "code"`, wherever a line breaks.
fn coded(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("StatusCode::").skip(1).filter_map(|rest| {
        let (status, rest) = rest.split_once(',')?;
        let code = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        let is_status = status.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        (is_status && status != "OK").then_some((status, code))
    })
}

#[test]
fn every_code_of_an_answer_is_in_the_table_with_its_status_and_the_reverse() {
    let sources = sources();
    let of_status = sources.iter().flat_map(|source| coded(source).map(|(status, code)| (code, status)));
    let unavailable = sources.iter().flat_map(|source| literals(source, UNAVAILABLE).map(|code| (code, "SERVICE_UNAVAILABLE")));
    let found: BTreeMap<&str, &str> = of_status.chain(unavailable).collect();
    let rows = table("Answers");
    let name =
        |status: &str| StatusCode::from_bytes(status.as_bytes()).unwrap().canonical_reason().unwrap().to_uppercase().replace(' ', "_");
    let documented: BTreeMap<&str, String> = rows.iter().map(|row| (row[0].as_str(), name(&row[1]))).collect();
    assert_eq!(documented.len(), rows.len(), "a code stands once");
    let documented: BTreeMap<&str, &str> = documented.iter().map(|(code, status)| (*code, status.as_str())).collect();
    assert_eq!(documented, found);
    assert!(rows.iter().all(|row| row.len() == 4 && row.iter().all(|cell| !cell.is_empty())));
}

#[test]
fn every_reason_is_in_the_table_and_the_reverse() {
    let sources = sources();
    let quarantined = sources.iter().flat_map(|source| literals(source, QUARANTINED));
    let found: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).chain(quarantined).collect();
    let rows = table("Reasons");
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<BTreeSet<_>>(), found);
    assert!(rows.iter().all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty())));
}
