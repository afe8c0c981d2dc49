//! What this machine gives: open files, the file of keys, the certificate, disks.

use std::{io, os::unix::fs::PermissionsExt, path::Path};

use indicatif::BinaryBytes;
use rlimit::Resource;
use service::{
    http::{Limits, Tls, TlsConfig},
    keys::{Config, KeyFile, KeyRing},
    settings::Settings,
};

use super::{Examination, finding::Findings};

/// Files that are not connections of clients, with some room.
const OTHER_FILES: u64 = 512;
/// Bits of a file's mode by which others than its owner can do something.
const OTHERS: u32 = 0o077;
/// Below this much of a disk somebody should look.
const LOW_PERCENT: u64 = 10;
/// Below this much nothing works for long.
const LEAST_BYTES: u64 = 1 << 30;

/// Looks at what does not need a server.
pub(super) fn examine(Examination { settings, clock, .. }: &Examination, findings: &mut Findings) -> anyhow::Result<()> {
    open_files(settings.section::<Limits>("http")?.max_connections as u64, findings);
    let config: Config = settings.section("keys")?;
    let file = KeyFile::new(config.file.clone());
    match KeyRing::open(config, clock.clone()) {
        Err(error) => findings.error("keys", error),
        Ok(keys) if !keys.is_on() => findings.ok("keys", "nobody needs a key, so only this machine is let in"),
        Ok(keys) if !keys.has_valid_key() => {
            findings.problem(
                "keys",
                "keys are needed, and none is valid any more",
                "make one with `tidemark keys new --scope ingest,query,admin`",
            );
        }
        Ok(_) => key_file(&file, findings),
    }
    certificate(settings, findings)
}

fn open_files(connections: u64, findings: &mut Findings) {
    const CHECK: &str = "machine.open_files";
    let wanted = connections + OTHER_FILES;
    match Resource::NOFILE.get_hard() {
        Ok(files) if files >= wanted => findings.ok(CHECK, format!("a process of this user may open {files} files, {wanted} are enough")),
        Ok(files) => findings.warning(
            CHECK,
            format!("a process of this user may open {files} files, and {connections} connections (`http.max_connections`) need {wanted}"),
            "raise the limit of open files (`ulimit -Hn`, or `LimitNOFILE` of the service); until then there are fewer connections",
        ),
        Err(error) => findings.note(CHECK, format!("the system does not tell how many files may be open: {error}")),
    }
}

fn key_file(file: &KeyFile, findings: &mut Findings) {
    const CHECK: &str = "keys";
    let path = file.path().display();
    match file.path().metadata().map(|found| found.permissions().mode()) {
        Ok(mode) if mode & OTHERS != 0 => findings.warning(
            CHECK,
            format!("others than its owner can use `{path}` (mode {:o})", mode & 0o777),
            &format!("`chmod 600 {path}`; keys are only kept as hashes, but whoever can write there can let himself in"),
        ),
        Ok(_) => findings.ok(CHECK, format!("at least one key is valid, and `{path}` belongs to its owner alone")),
        Err(_) => findings.ok(CHECK, "the root key of the settings is valid"),
    }
}

fn certificate(settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    match Tls::open(settings.section::<TlsConfig>("tls")?) {
        Ok(Some(_)) => findings.ok("tls", "certificate and key can be used"),
        Ok(None) => findings.ok("tls", "not set: public ports speak plain HTTP"),
        Err(error) => findings.error("tls", error),
    }
    Ok(())
}

/// Looks at the disk under a folder, which `setting` names.
pub(super) fn disk(check: &'static str, folder: &Path, setting: &str, findings: &mut Findings) {
    let (free, all) = match space(folder) {
        Ok(space) => space,
        Err(error) => return findings.note(check, format!("the disk of `{}` does not tell its size: {error}", folder.display())),
    };
    let percent = 100 * free / all.max(1);
    let told = format!("{} of {} are free under `{}` ({percent} %)", BinaryBytes(free), BinaryBytes(all), folder.display());
    let remedy = format!("make room, or give {setting} another disk; when it is full, events are refused and nothing is lost");
    match (free, percent) {
        (..LEAST_BYTES, _) => findings.problem(check, told, &remedy),
        (_, ..LOW_PERCENT) => findings.warning(check, told, &remedy),
        _ => findings.ok(check, told),
    }
}

/// Free bytes, and all.
fn space(folder: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(folder)?;
    Ok((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
}
