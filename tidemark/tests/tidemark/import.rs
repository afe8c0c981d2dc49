//! `tidemark import`: every form of a file is the same events, each is there once, and whatever is wrong is named.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{NatsServer, until};

use self::files::{EVENTS, Form, csv, gzip, json, lines, many, parquet, wrapped, zstd};
use crate::process::{Tidemark, good, text};

mod files;

/// So many that an import of a few at a time takes seconds.
const MANY: u64 = 20_000;
const DEADLINE: Duration = Duration::from_secs(30);

/// A server, and a folder for the files.
struct Importing {
    _nats: NatsServer,
    tidemark: Tidemark,
    folder: TempDir,
}

impl Importing {
    async fn start(settings: &[&str]) -> Self {
        let nats = NatsServer::start().await;
        let tidemark = Tidemark::start_with_settings(&nats, settings).await;
        Self { _nats: nats, tidemark, folder: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.tidemark.command(&["import"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn import(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn counts(&self) -> String {
        self.tidemark.sql("SELECT count(*) || ' ' || count(DISTINCT event_id) FROM events")
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One message on standard error at last, and the exit code 1.
fn failed(output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.lines().last().unwrap().starts_with("error: "), "{said}");
    said
}

#[tokio::test]
async fn every_form_of_a_file_is_the_same_events_and_a_second_time_adds_nothing() {
    let importing = Importing::start(&[]).await;
    let forms: [Form; 6] = [lines(), json(), wrapped(), csv(','), csv('\t'), parquet()];
    for (number, content) in forms.iter().enumerate() {
        let said = good(&importing.import(&[path(&importing.file(&format!("plain-{number}"), content))]));
        assert!(said.starts_with("1,200 events of 1 file: 1,200 accepted, 0 refused; "), "{said}");
        assert_eq!(importing.counts(), format!("{EVENTS} {EVENTS}"), "form {number}");
    }
    for (number, content) in forms.iter().enumerate() {
        let packed = [importing.file(&format!("g-{number}"), &gzip(content)), importing.file(&format!("z-{number}"), &zstd(content))];
        let said = good(&importing.import(&[path(&packed[0]), path(&packed[1])]));
        assert!(said.starts_with("2,400 events of 2 files: 2,400 accepted"), "{said}");
        let mut child = importing.command(&["-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        good(&child.wait_with_output().unwrap());
    }
    assert_eq!(importing.counts(), format!("{EVENTS} {EVENTS}"));
    let kept = importing.tidemark.sql("SELECT metadata || array_to_string(tags, '+') || timestamp FROM events WHERE user_id = 'u7'");
    assert!(kept.contains(r#"{""price"": 7.50,""zip"":""007""}x+y"#) && kept.contains("2026-09-21T14:13:27.000123"), "{kept}");
}

#[tokio::test]
async fn what_was_exported_and_the_tables_own_files_are_the_same_events_again() {
    let importing = Importing::start(&[]).await;
    let mut events = lines();
    events.extend_from_slice(br#"{"event_name":"own","user_id":"u","timestamp":1790000000,"event_id":"order-17"}"#);
    good(&importing.import(&[path(&importing.file("events", &events))]));
    let committed = async || (importing.tidemark.sql("SELECT count(*) FROM events_committed") == (EVENTS + 1).to_string()).then_some(());
    until("the events to be committed", DEADLINE, committed).await;
    for format in ["csv", "tsv", "jsonl", "parquet"] {
        let exported = importing.tidemark.command(&["sql", "--format", format, "SELECT * FROM events"]).output().unwrap();
        assert!(exported.status.success(), "{}", text(&exported.stderr));
        good(&importing.import(&[path(&importing.file(&format!("exported.{format}"), &exported.stdout))]));
        assert_eq!(importing.counts(), format!("{0} {0}", EVENTS + 1), "{format}");
    }
    let days = fs::read_dir(importing.tidemark.lake().join("events")).unwrap().map(|day| day.unwrap().path());
    let days = days.filter(|day| path(day).contains("event_date="));
    let files: Vec<PathBuf> = days.flat_map(|day| fs::read_dir(day).unwrap().map(|file| file.unwrap().path())).collect();
    good(&importing.import(&files.iter().map(|file| path(file)).collect::<Vec<_>>()));
    assert_eq!(importing.counts(), format!("{0} {0}", EVENTS + 1));
}

#[tokio::test]
async fn what_is_refused_is_named_with_its_place_and_the_rest_is_in() {
    let importing = Importing::start(&["ingest.max_bulk_events=7"]).await;
    let good_line = |number: u64| format!(r#"{{"event_name":"a","user_id":"u{number}","timestamp":1790000000}}"#);
    let mut content: Vec<String> = (1..=40).map(good_line).collect();
    content[2] = String::new();
    content[10] = "rubbish".to_owned();
    content[20] = r#"{"event_name":"a","user_id":"u","timestamp":"soon"}"#.to_owned();
    content[30] = format!(r#"{{"event_name":"a","user_id":"u","timestamp":1790000000,"path":"{}"}}"#, "x".repeat(9 << 20));
    let file = importing.file("events.ndjson", content.join("\n").as_bytes());
    let rejects = importing.folder.path().join("rejects");

    let dry = importing.import(&["--dry-run", path(&file)]);
    assert!(failed(&dry).contains("error: 3 events would be refused"), "{}", text(&dry.stderr));
    assert_eq!(importing.counts(), "0 0", "nothing is stored");

    let output = importing.import(&[path(&file), "--rejects", path(&rejects)]);
    let said = failed(&output);
    assert!(text(&output.stdout).starts_with("39 events of 1 file: 36 accepted, 3 refused"), "{}", text(&output.stdout));
    for part in [
        "line 11: [invalid_json] not valid JSON: expected a value at column 1\n",
        "line 21: [invalid_timestamp] /timestamp ",
        "line 31: [body_too_large]",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let lines: Vec<Value> = fs::read_to_string(&rejects).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &lines[0]["text"], &lines[1]["event"]["timestamp"]), (vec![11, 21, 31], &"rubbish".into(), &"soon".into()));
    assert_eq!(importing.counts(), "36 36");
    good(&importing.import(&["--allow-rejects", path(&file)]));

    let said = failed(&importing.import(&[path(&file), "--rejects", path(&file)]));
    assert!(said.contains("is one of the files to import") && fs::metadata(&file).unwrap().len() > 0, "{said}");
}

#[tokio::test]
async fn more_wrong_records_than_one_answer_lists_are_all_named() {
    let importing = Importing::start(&[]).await;
    let good_line = r#"{"event_name":"a","user_id":"u","timestamp":1790000000}"#;
    for (lines, accepted) in [(format!("{}{good_line}", "{}\n".repeat(1500)), "1"), ("[]\n".repeat(1500), "0")] {
        let (file, rejects) = (importing.file("wrong", lines.as_bytes()), importing.folder.path().join("rejects"));
        let output = importing.import(&["--batch", "2000", path(&file), "--rejects", path(&rejects), "--format", "ndjson"]);
        assert!(failed(&output).contains("\nand 1,480 more\n"), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(&format!(" {accepted} accepted, 1,500 refused")), "{}", text(&output.stdout));
        let lines = fs::read_to_string(&rejects).unwrap();
        let numbers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap());
        assert!(numbers.eq(1..=1500), "each line is named, in order");
    }
}

#[tokio::test]
async fn rows_of_a_csv_that_fit_no_header_are_named_and_a_file_without_names_is_refused() {
    let importing = Importing::start(&[]).await;
    let file = importing.file(
        "a.csv",
        b"event_name;user_id;timestamp;note\na;u1;1790000000;\"two\nlines\"\na;u2;1790000000\n;u3;1790000000;\na;u4;1790000000;\xff\n",
    );
    let said = failed(&importing.import(&[path(&file)]));
    for part in [
        "line 4: [wrong_number_of_cells] the record has 3 cells, and the header 4",
        "line 5: [missing_field] /event_name",
        "line 6: [invalid_utf8]",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert_eq!(importing.tidemark.sql("SELECT metadata->>'note' = 'two' || chr(10) || 'lines' FROM events"), "true");
    let said = failed(&importing.import(&[path(&importing.file("b.csv", b"1,2,3\n4,5,6\n"))]));
    assert!(said.contains("b.csv` cannot be read: no column is called `event_name`"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_damaged_is_named_with_the_place_and_what_came_before_is_in() {
    let importing = Importing::start(&[]).await;
    let packed = gzip(&lines());
    let said = failed(&importing.import(&[path(&importing.file("a.gz", &packed[..packed.len() / 2]))]));
    assert!(said.contains("a.gz` cannot be read beyond line ") && said.contains("deflate"), "{said}");
    let events: u64 = importing.tidemark.sql("SELECT count(*) FROM events").parse().unwrap();
    assert!(said.contains(&format!("beyond line {events}:")) && (1..EVENTS).contains(&events), "{events} {said}");

    let whole = json();
    let said = failed(&importing.import(&[path(&importing.file("a.json", &whole[..whole.len() - 100]))]));
    assert!(said.contains("a.json` cannot be read beyond item ") && said.contains("EOF while parsing"), "{said}");
    let parquet = parquet();
    let said = failed(&importing.import(&[path(&importing.file("a.parquet", &parquet[..parquet.len() - 9]))]));
    assert!(said.contains("a.parquet` cannot be read"), "{said}");
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_where_it_was_and_each_event_is_there_once() {
    let importing = Importing::start(&[]).await;
    let file = importing.file("many", &many(MANY));
    let state = importing.folder.path().join("state");
    let arguments = [path(&file), "--resume", path(&state)];
    let acknowledged = || -> Option<u64> {
        let stored: Value = serde_json::from_slice(&fs::read(&state).ok()?).unwrap();
        stored["files"][0]["acknowledged"].as_u64().filter(|acknowledged| *acknowledged > 0)
    };
    let mut child = importing.command(&arguments).args(["--batch", "2", "--connections", "2"]).spawn().unwrap();
    until("a part to be acknowledged", DEADLINE, async || acknowledged()).await;
    kill(&mut child);
    let before = acknowledged().unwrap();
    assert!((1..MANY).contains(&before), "killed in the middle: {before}");

    let said = good(&importing.import(&arguments));
    assert!(said.starts_with("20,000 events of 1 file: 20,000 accepted, 0 refused") && said.contains("were answered before"), "{said}");
    assert_eq!(importing.counts(), format!("{MANY} {MANY}"));
    let said = good(&importing.import(&arguments));
    assert!(said.contains("(20,000 of them were answered before)"), "a finished import sends nothing: {said}");

    fs::write(&file, many(1)).unwrap();
    let said = failed(&importing.import(&arguments));
    assert!(said.contains("is not the file any more of which"), "{said}");
}

#[tokio::test]
async fn an_import_waits_for_a_server_that_is_killed_and_started_again() {
    let mut importing = Importing::start(&[]).await;
    let file = importing.file("many", &many(MANY));
    let child = importing.command(&[path(&file), "--batch", "5"]).spawn().unwrap();
    until("some events", DEADLINE, async || (importing.counts() != "0 0").then_some(())).await;
    importing.tidemark.restart().await;
    let said = good(&child.wait_with_output().unwrap());
    assert!(said.contains(" 0 refused"), "{said}");
    assert_eq!(importing.counts(), format!("{MANY} {MANY}"));
}

#[tokio::test]
async fn memory_does_not_grow_with_the_file() {
    const MIB: u64 = 100;
    let importing = Importing::start(&[]).await;
    let event = format!(r#"{{"event_name":"a","user_id":"u","timestamp":1790000000,"metadata":{{"text":"{}"}}}}"#, "x".repeat(960));
    let events = usize::try_from(MIB << 20).unwrap() / event.len();
    let ndjson = gzip((event.clone() + "\n").repeat(events).as_bytes());
    let list = format!("[{}{event}]", (event.clone() + ",\n").repeat(events - 1));
    for content in [ndjson.as_slice(), list.as_bytes()] {
        let file = importing.file("large", content);
        let mut child = importing.command(&["--dry-run", path(&file)]).spawn().unwrap();
        let mut peak_kib = 0;
        until("the import to end", DEADLINE, || {
            peak_kib = peak(&child).unwrap_or(peak_kib);
            std::future::ready(child.try_wait().unwrap())
        })
        .await;
        good(&child.wait_with_output().unwrap());
        assert!((1..80 * 1024).contains(&peak_kib), "{MIB} MiB were read in {peak_kib} KiB");
    }
}

/// The most memory that a process has had, in KiB; `None` when it has ended.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
