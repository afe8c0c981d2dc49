//! The disk under the journal: its power is cut under load, or it is full. `just journal-disk` runs these, as root.
//!
//! The disk is an ext4 image behind a loop device that reads and writes past the page cache. The cut is ext4's own shutdown, as file
//! system tests use it: from one moment on nothing reaches the image, neither file data nor the file system's log that wait in memory.
//! So the image has exactly what was sent to the device before. A device that forgets what it confirmed is not imitated.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures::future::join_all;
use tempfile::TempDir;
use testkit::{NatsServer, pause, until};

use crate::process::{Tidemark, good};

const SENDERS: usize = 16;
const LOAD: Duration = Duration::from_secs(8);
const IMAGE_BYTES: u64 = 256 << 20;
/// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
const SHUTDOWN: &str = "import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
/// Only the journal has the events, for nothing is committed; and the disk is large enough for it.
const NO_COMMITS: [&str; 4] = ["pipeline.max_age=1h", "pipeline.max_idle=1h", "journal.publish_timeout=2s", "journal.max_bytes=128MiB"];

/// A file system of its own.
struct Disk {
    folder: TempDir,
    device: String,
}

impl Disk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(&image)).trim().to_owned();
        let disk = Self { folder, device };
        std::fs::create_dir(disk.mounted()).unwrap();
        disk.mount();
        disk
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) {
        run(Command::new("mount").arg(&self.device).arg(self.mounted()));
    }

    /// Nothing more reaches the image.
    fn cut(&self) {
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(self.mounted()));
    }

    /// What a machine finds that starts again. Nobody may use the disk.
    fn start_again(&self) {
        run(Command::new("umount").arg(self.mounted()));
        self.mount();
    }

    /// Takes all space that is left; the file that does.
    fn fill(&self) -> PathBuf {
        let filler = self.mounted().join("filler");
        let written = Command::new("dd").args(["if=/dev/zero", "bs=1M"]).arg(format!("of={}", filler.display())).output().unwrap();
        assert!(String::from_utf8_lossy(&written.stderr).contains("No space left"), "the disk is full");
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mounted()).status();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

fn run(command: &mut Command) -> String {
    good(&command.output().unwrap())
}

/// Sends events one by one and remembers those that were acknowledged.
struct Senders<'a> {
    tidemark: &'a Tidemark,
    client: reqwest::Client,
    next: Cell<u64>,
    acknowledged: RefCell<HashSet<String>>,
    refused: Cell<u64>,
}

impl<'a> Senders<'a> {
    fn new(tidemark: &'a Tidemark) -> Self {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        Self { tidemark, client, next: Cell::new(0), acknowledged: RefCell::default(), refused: Cell::new(0) }
    }

    /// The next event; its status.
    async fn send(&self) -> u16 {
        let id = self.next.replace(self.next.get() + 1).to_string();
        let body = format!(r#"{{"event_id":"{id}","event_name":"a","user_id":"u","timestamp":1795000000}}"#);
        let (status, _) = self.tidemark.post(&self.client, "/events", body).await;
        match status {
            202 => drop(self.acknowledged.borrow_mut().insert(id)),
            503 => self.refused.set(self.refused.get() + 1),
            other => panic!("the door says yes or later, not {other}"),
        }
        status
    }

    /// Sends until `is_over` and a refusal.
    async fn run(&self, is_over: impl Fn() -> bool) {
        let sender = async || while self.send().await == 202 || !is_over() {};
        join_all((0..SENDERS).map(|_| sender())).await;
    }

    /// The acknowledged events that a fresh answer does not have.
    async fn lost(&self) -> usize {
        let found = until("a fresh answer", Duration::from_secs(20), async || {
            let question = self.client.post(format!("{}/sql?format=csv", self.tidemark.url)).body("SELECT event_id FROM events");
            let answer = question.send().await.ok()?.error_for_status().ok()?;
            let is_fresh = answer.headers().get("tidemark-fresh")? == "true";
            answer.text().await.ok().filter(|_| is_fresh)
        });
        let found: HashSet<String> = found.await.lines().skip(1).map(str::to_owned).collect();
        self.acknowledged.borrow().difference(&found).count()
    }
}

/// Cuts the power under load; how many events were acknowledged, and how many of them are lost.
async fn cut(config: &Path) -> (usize, usize) {
    let disk = Disk::new();
    let mut nats = NatsServer::start_in(&disk.mounted(), config).await;
    let mut tidemark = Tidemark::start_with_settings(&nats, &NO_COMMITS).await;
    let senders = Senders::new(&tidemark);
    let is_cut = Cell::new(false);
    let power = async {
        pause(LOAD).await;
        disk.cut();
        is_cut.set(true);
    };
    futures::join!(power, senders.run(|| is_cut.get()));
    let acknowledged = senders.acknowledged.take();
    assert_eq!(tidemark.sql("SELECT count(*) FROM events_committed"), "0", "only the journal has them");

    nats.kill();
    disk.start_again();
    nats.restart().await;
    tidemark.restart().await;
    let senders = Senders::new(&tidemark);
    let total = acknowledged.len();
    senders.acknowledged.replace(acknowledged);
    let lost = senders.lost().await;
    println!("{total} events acknowledged, {lost} of them lost");
    good(&tidemark.command(&["verify"]).output().unwrap());
    (total, lost)
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/nats.conf")
}

#[tokio::test]
#[ignore = "needs root and loop devices; `just journal-disk` runs it"]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let (acknowledged, lost) = cut(&shipped()).await;
    assert!(acknowledged > 1000 && lost == 0, "{lost} of {acknowledged}");
}

/// So the test above can fail.
#[tokio::test]
#[ignore = "needs root and loop devices; `just journal-disk` runs it"]
async fn a_power_cut_would_lose_much_without_sync_interval_always() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("nats.conf");
    let shipped = std::fs::read_to_string(shipped()).unwrap();
    assert!(shipped.contains("sync_interval: always"));
    std::fs::write(&config, shipped.replace("sync_interval: always", "")).unwrap();
    let (acknowledged, lost) = cut(&config).await;
    assert!(lost > 0, "nothing of {acknowledged}");
}

#[tokio::test]
#[ignore = "needs root and loop devices; `just journal-disk` runs it"]
async fn a_full_disk_of_the_journal_is_503_and_loses_nothing() {
    let disk = Disk::new();
    let mut nats = NatsServer::start_in(&disk.mounted(), &shipped()).await;
    let tidemark = Tidemark::start_with_settings(&nats, &NO_COMMITS).await;
    let senders = Senders::new(&tidemark);
    for _ in 0..100 {
        assert_eq!(senders.send().await, 202);
    }
    let filler = disk.fill();
    senders.run(|| true).await;
    assert!(senders.refused.get() >= SENDERS as u64, "every sender met the full disk");
    let readiness = async || reqwest::get(format!("{}/readyz", tidemark.url)).await.unwrap().status().as_u16();
    until("the readiness to be red", Duration::from_secs(10), async || (readiness().await == 503).then_some(())).await;

    std::fs::remove_file(filler).unwrap();
    nats.restart().await;
    until("the door to open again", Duration::from_secs(10), async || (senders.send().await == 202).then_some(())).await;
    until("the readiness to be green", Duration::from_secs(30), async || (readiness().await == 200).then_some(())).await;
    assert_eq!(senders.lost().await, 0, "of {}", senders.acknowledged.borrow().len());
}
