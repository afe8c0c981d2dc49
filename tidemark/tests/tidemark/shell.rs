//! `tidemark sql` as people use it: a shell on a terminal, and scripts from a pipe.

use std::{io::Write, os::unix::fs::PermissionsExt, process::Stdio, time::Duration};

use reqwest::Client;
use tempfile::TempDir;
use testkit::{NatsServer, until};

use crate::{
    process::{Tidemark, text, tidemark},
    terminal::{CTRL_C, CTRL_D, ENTER, TAB, Terminal, UP},
};

const SOON: Duration = Duration::from_secs(20);
const PROMPT: &str = "tidemark> ";
/// 10^12 sums in little memory, of which none is wanted.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value + b.value = -1;";

async fn shell(server: &Tidemark, state: &TempDir) -> Terminal {
    let mut terminal = Terminal::run(&["sql", "--url", &server.url], state.path());
    terminal.shows(&format!("Tidemark at {}", server.url)).await;
    terminal.shows(PROMPT).await;
    terminal
}

/// Types a line and gives what is shown until the next prompt.
async fn answer(terminal: &mut Terminal, line: &str) -> String {
    terminal.types(&format!("{line}{ENTER}"));
    terminal.shows("\n").await;
    terminal.shows(PROMPT).await
}

#[tokio::test]
async fn a_shell_answers_statements_of_several_lines_completes_names_and_knows_its_commands() {
    let (nats, state) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = Tidemark::start(&nats).await;
    let (status, said) =
        server.post(&Client::new(), "/events", r#"{"event_name":"a","user_id":"u","timestamp":1723475612,"channel":"kiosk"}"#).await;
    assert_eq!(status, 202, "{said}");
    server.says("SELECT count(*) FROM events", "1").await;
    let mut terminal = shell(&server, &state).await;

    terminal.types(&format!("SELECT 40 + 2 AS answer,{ENTER}'a;b' AS text{ENTER};{ENTER}"));
    let shown = terminal.shows("(1 row, ").await;
    assert!(shown.contains("| 42     | a;b  |"), "{shown}");
    terminal.shows(PROMPT).await;

    terminal.types(&format!("SEL{TAB} upp{TAB}chann{TAB}) AS shouted FROM even{TAB}s"));
    assert!(answer(&mut terminal, ";").await.contains("| KIOSK   |"));

    let tables = answer(&mut terminal, "\\d").await;
    assert!(["event_names", "events", "events_committed", "quarantine"].iter().all(|table| tables.contains(table)), "{tables}");
    let columns = answer(&mut terminal, "\\d events").await;
    assert!(columns.contains("column_name") && columns.contains("metadata") && columns.contains("(15 rows, "), "{columns}");
    answer(&mut terminal, "\\x").await;
    let expanded = answer(&mut terminal, "SELECT event_name, channel FROM events;").await;
    assert!(expanded.contains("-[ row 1 ]-\r\nevent_name | a\r\nchannel    | kiosk"), "{expanded}");
    answer(&mut terminal, "\\timing").await;
    assert!(answer(&mut terminal, "\\format csv").await.contains("answers are csv"));
    let csv = answer(&mut terminal, "SELECT 1 AS a UNION ALL SELECT 2 ORDER BY 1;").await;
    assert!(csv.contains("a\r\n1\r\n2\r\n(2 rows)\r\n"), "{csv}");
    assert!(answer(&mut terminal, "\\nonsense").await.contains("\\? shows all"));

    terminal.types(CTRL_D);
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn a_shell_shows_where_a_statement_is_wrong_and_goes_on() {
    let (nats, state) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = Tidemark::start_with_settings(&nats, &["query.max_rows=10"]).await;
    let mut terminal = shell(&server, &state).await;
    terminal.types(&format!("SELECT 1,{ENTER}  chanel FROM events; SELECT 'not' || ' asked';{ENTER}"));
    let shown = terminal.shows("^").await;
    assert!(shown.contains("(line 2, column 3); did you mean `channel`?"), "{shown}");
    assert!(shown.ends_with("  2 |   chanel FROM events\r\n    |   ^"), "{shown}");
    let after = terminal.shows(PROMPT).await;
    assert!(!after.contains("not asked"), "nothing after the wrong statement is asked: {after}");

    terminal.types("SELECT 'given up");
    terminal.shows("given up").await;
    terminal.types(CTRL_C);
    terminal.shows("\n").await;
    terminal.shows(PROMPT).await;
    let shown = answer(&mut terminal, "SELECT chr(27) || '[31m' AS harmless;").await;
    assert!(shown.contains("␛[31m"), "what strangers sent does not reach the terminal: {shown}");
    let shown = answer(&mut terminal, "SELECT * FROM generate_series(1, 11);").await;
    assert!(shown.contains("(10 rows, ") && shown.contains("note: there are more rows than `query.max_rows` allows"), "{shown}");
    terminal.types(&format!("\\q{ENTER}"));
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_a_query_on_the_server() {
    let (nats, state) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = Tidemark::start_with_settings(&nats, &["log.level=info,query=debug"]).await;
    let mut terminal = shell(&server, &state).await;
    terminal.types(&format!("{ENDLESS}{ENTER}"));
    let query_id = until("the query to run", SOON, async || running_query(&server)).await;
    terminal.types(CTRL_C);
    terminal.shows("cancelled on the server after").await;
    terminal.shows(PROMPT).await;

    let gone = Client::new().delete(format!("{}/sql/{query_id}", server.url)).send().await.unwrap();
    assert_eq!(gone.status(), 404, "nothing of this id is running");
    let metrics = reqwest::get(format!("{}/metrics", server.admin_url)).await.unwrap().text().await.unwrap();
    let cancelled = "tidemark_query_duration_seconds_count{kind=\"sql\",result=\"cancelled\"} 1";
    assert!(metrics.lines().any(|line| line == cancelled), "the server ended it because it was told to: {metrics}");
    assert!(answer(&mut terminal, "SELECT 1 + 1 AS two;").await.contains("| 2   |"));
}

/// The id that a server has logged for the statement that it was asked last.
fn running_query(server: &Tidemark) -> Option<String> {
    let lines: Vec<serde_json::Value> = server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.iter().rev().find_map(|line| line["query_id"].as_str()).map(str::to_owned)
}

#[tokio::test]
async fn what_was_typed_survives_the_shell_and_only_its_owner_can_read_it() {
    let (nats, state) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = Tidemark::start(&nats).await;
    let mut first = shell(&server, &state).await;
    answer(&mut first, "SELECT 'kept for' || ' later' AS text;").await;
    answer(&mut first, " SELECT 'a secret';").await;
    drop(first);

    let mut second = shell(&server, &state).await;
    second.types(UP);
    second.shows("SELECT 'kept for'").await;
    assert!(answer(&mut second, "").await.contains("| kept for later |"));
    let (folder, file) = (state.path().join("tidemark"), state.path().join("tidemark/sql_history"));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    assert!(!std::fs::read_to_string(file).unwrap().contains("secret"), "a line that begins with a space is not kept");
}

#[tokio::test]
async fn a_script_runs_statement_by_statement_and_ends_at_the_first_that_fails() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    let run = |script: &str, arguments: &[&str]| {
        let mut command = tidemark(&[&["sql", "--url", &server.url], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let good = "SELECT 'a;b' AS x; -- one\n\nSELECT 2 AS y\n";
    assert_eq!(run(good, &[]), (Some(0), "x\na;b\ny\n2\n".to_owned(), String::new()), "csv, where nobody reads");
    assert_eq!(run(good, &["--format", "jsonl", "-"]).1, "{\"x\":\"a;b\"}\n{\"y\":2}\n");
    let (code, printed, said) = run("SELECT 1 AS x;\nSELECT\n  nothing FROM events;\nSELECT 3 AS x;", &[]);
    assert_eq!((code, printed.as_str()), (Some(1), "x\n1\n"), "{said}");
    assert!(said.starts_with("error: statement 2: ") && said.ends_with("  2 |   nothing FROM events\n    |   ^\n"), "{said}");
    let (code, _, said) = run("-- nothing", &[]);
    assert!(code == Some(1) && said.contains("there is no statement"), "{said}");
}
