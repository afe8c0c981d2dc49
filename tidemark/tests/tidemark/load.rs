//! `tidemark load` against the real server, and through a proxy that makes it slow, broken and dishonest.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{NatsServer, Outcome, Proxy, Rule, free_port, until};

use crate::{
    messages::is_one_message,
    process::{Tidemark, good, text, tidemark},
};

const SOON: Duration = Duration::from_secs(30);
const ROOT: &str = "0123456789abcdef0123456789abcdef";

/// The report of a load at an address, and its exit code.
fn load_at(url: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = tidemark(&[&["load", "--json", "--url", url], arguments].concat()).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (report, output.status.code())
}

/// The report of a load that must end well.
fn load(server: &Tidemark, arguments: &[&str]) -> Value {
    let (report, code) = load_at(&server.url, arguments);
    assert_eq!(code, Some(0), "{report:#}");
    report
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("`{name}` is no number in {report:#}"))
}

fn milliseconds(report: &Value, name: &str) -> f64 {
    report["latency_ms"][name].as_f64().unwrap()
}

/// A server, and a proxy before it that obeys one rule for the events.
async fn behind_a_proxy(nats: &NatsServer, one_in: u32, times: u32, outcome: Outcome) -> (Tidemark, Proxy) {
    let server = Tidemark::start(nats).await;
    let proxy = Proxy::http(server.url.trim_start_matches("http://"));
    proxy.add(Rule { method: "POST", path: &["/events"], one_in, times, outcome });
    (server, proxy)
}

fn address(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address())
}

#[tokio::test]
async fn every_event_of_a_load_is_sent_on_time_and_counted_once() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    let report = load(&server, &["--rate", "200 for 1s, 1000 for 500ms", "--connections", "10", "--check"]);
    assert_eq!((count(&report, "scheduled"), count(&report, "sent"), count(&report, "dropped")), (700, 700, 0));
    assert_eq!(report["statuses"], json!({"202": 700}));
    assert_eq!((&report["check"]["rows"], &report["check"]["is_right"]), (&json!(700), &json!(true)));
    assert!(report["took_s"].as_f64().unwrap() >= 1.499, "{report:#}");
    let steps: Vec<_> =
        report["steps"].as_array().unwrap().iter().map(|step| (step["rate"].as_str().unwrap(), count(step, "sent"))).collect();
    assert_eq!(steps, [("200 for 1s", 200), ("1000 for 500ms", 500)]);
    assert_eq!(server.sql("SELECT count(*) || ' ' || count(DISTINCT event_id) || ' ' || count(DISTINCT site_id) FROM events"), "700 700 1");

    for (arguments, events) in [
        (&["--rate", "200 for 1s", "--batch", "50", "--body", "constant", "--ids", "none"][..], 1_000),
        (&["--rate", "max for 1h", "--batch", "50", "--ids", "uuid"], 1_000),
        (&["--rate", "200 for 1s", "--body", "constant", "--ids", "same"], 1),
    ] {
        let report = load(&server, &[&["--requests", "20", "--connections", "3", "--check"], arguments].concat());
        assert_eq!((count(&report, "sent"), &report["check"]["rows"]), (20, &json!(events)), "{arguments:?}");
    }
}

#[tokio::test]
async fn repeats_are_folded_and_the_count_knows_it() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    for ids in ["numbered", "none"] {
        let report = load(&server, &["--rate", "500 for 1s", "--repeats", "30", "--ids", ids, "--connections", "5", "--check"]);
        let (sent, repeats) = (count(&report, "sent"), count(&report, "repeats"));
        assert!(sent == 500 && (90..210).contains(&repeats), "{report:#}");
        assert_eq!(report["check"]["rows"], json!(sent - repeats), "{ids}");
        assert_eq!(count(&report, "acknowledged_events"), 500, "a repeat is acknowledged like everything else");
    }
}

#[tokio::test]
async fn a_stall_of_a_second_is_in_the_latency_of_every_request_that_was_due_meanwhile() {
    let nats = NatsServer::start().await;
    let (_server, proxy) = behind_a_proxy(&nats, 50, 1, Outcome::Delay(Duration::from_secs(1))).await;
    let (report, code) = load_at(&address(&proxy), &["--rate", "100 for 3s", "--connections", "1"]);
    assert_eq!((code, proxy.seen().ruled, count(&report, "answered")), (Some(0), 1, 300), "{report:#}");
    assert!((1_000.0..2_000.0).contains(&milliseconds(&report, "max")), "{report:#}");
    assert!(milliseconds(&report, "p90") > 500.0, "about a third of the requests waited, and one was in flight: {report:#}");
    assert!(milliseconds(&report, "p50") < 500.0, "{report:#}");
}

#[tokio::test]
async fn a_server_that_hangs_ends_no_later_than_the_schedule_and_its_timeouts() {
    let nats = NatsServer::start().await;
    let (_server, proxy) = behind_a_proxy(&nats, 100, 1, Outcome::Stall).await;
    let (report, code) = load_at(&address(&proxy), &["--rate", "200 for 2s", "--connections", "2", "--timeout", "300ms", "--no-check"]);
    assert_eq!(code, Some(0));
    let (timeouts, dropped) = (count(&report, "timeouts"), count(&report, "dropped"));
    assert!(timeouts > 0 && dropped > 100 && count(&report, "answered") >= 90, "{report:#}");
    assert_eq!(count(&report, "sent") + dropped, 400, "{report:#}");
    assert!(report["took_s"].as_f64().unwrap() < 4.0, "{report:#}");
}

#[tokio::test]
async fn what_was_refused_or_lost_on_the_way_is_told_and_may_be_a_row_or_not() {
    let nats = NatsServer::start().await;
    for (outcome, name, unknown) in [
        (Outcome::Answer { status: 503, is_executed: false }, "503", 20),
        (Outcome::Answer { status: 503, is_executed: true }, "503", 20),
        (Outcome::Answer { status: 429, is_executed: false }, "429", 0),
        (Outcome::LoseReply, "broken", 20),
    ] {
        let (server, proxy) = behind_a_proxy(&nats, 10, 20, outcome).await;
        let arguments = ["--rate", "400 for 500ms", "--connections", "4", "--check", "--fail-if", "errors > 20, p99 > 1m"];
        let (report, code) = load_at(&address(&proxy), &arguments);
        assert_eq!(code, Some(0), "{outcome:?}: {report:#}");
        let bad = if name == "broken" { &report["broken"] } else { &report["statuses"][name] };
        assert_eq!(
            (bad, count(&report, "errors"), &report["check"]["unknown"]),
            (&json!(20), 20, &json!(unknown)),
            "{outcome:?}: {report:#}"
        );
        let rows = server.sql(&format!("SELECT count(*) FROM events WHERE site_id = {}", report["run"]).replace('"', "'"));
        assert_eq!(report["check"]["rows"].to_string(), rows, "{outcome:?}");
    }
}

#[tokio::test]
async fn thresholds_and_a_wrong_count_are_told_and_set_the_exit_code() {
    let nats = NatsServer::start().await;
    let (_server, proxy) = behind_a_proxy(&nats, 10, 3, Outcome::Answer { status: 503, is_executed: false }).await;
    let arguments = |more| {
        [&["load", "--url", more, "--rate", "200 for 500ms", "--connections", "4"][..], &["--fail-if", "p50 < 1m, errors > 2"]].concat()
    };
    is_one_message(&mut tidemark(&arguments(&address(&proxy))), &["p50 < 1m (", "errors > 2 (3)"]);
}

#[tokio::test]
async fn an_event_that_was_acknowledged_and_is_no_row_fails_the_load() {
    let nats = NatsServer::start().await;
    let (_server, proxy) = behind_a_proxy(&nats, 40, 1, Outcome::Answer { status: 202, is_executed: false }).await;
    let arguments = ["--rate", "200 for 500ms", "--connections", "4"];
    let (report, code) = load_at(&address(&proxy), &arguments);
    assert_eq!((code, &report["check"]["rows"], &report["check"]["is_right"]), (Some(1), &json!(99), &json!(false)), "{report:#}");
    assert!(report["failures"][0].as_str().unwrap().contains("SQL counts 99 rows, and 100 events were acknowledged"), "{report:#}");
}

#[tokio::test]
async fn a_load_of_which_nothing_was_acknowledged_has_failed() {
    let nats = NatsServer::start().await;
    let (_server, proxy) = behind_a_proxy(&nats, 1, u32::MAX, Outcome::Answer { status: 503, is_executed: false }).await;
    let (report, code) = load_at(&address(&proxy), &["--rate", "50 for 200ms", "--connections", "2", "--check"]);
    assert_eq!((code, count(&report, "acknowledged_events"), &report["statuses"]["503"]), (Some(1), 0, &json!(10)), "{report:#}");
    assert_eq!(report["failures"], json!(["no event was acknowledged, so there was nothing to count"]));
}

#[tokio::test]
async fn a_load_brings_the_key_of_the_settings_and_says_what_happens_without() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start_with_settings(&nats, &[&format!("keys.root_key={ROOT}")]).await;
    let arguments = ["load", "--rate", "100 for 200ms", "--connections", "2"];
    let said = good(&server.command(&arguments).args(["--set", &format!("client.api_key={ROOT}")]).output().unwrap());
    assert!(said.contains("answers: 20 x 202") && said.contains("20 rows for 20 different events") && said.contains(": right"), "{said}");
    let said = good(&server.command(&arguments).output().unwrap());
    assert!(said.contains("answers: 20 x 401") && said.contains("not counted") && !said.contains("rows for"), "{said}");
    is_one_message(server.command(&arguments).arg("--check"), &["could not be counted", "key"]);
}

#[tokio::test]
async fn a_report_is_one_file_with_three_plots() {
    let (nats, folder) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = Tidemark::start(&nats).await;
    let file = folder.path().join("report.html");
    load(&server, &["--rate", "100 for 1s, 300 for 1s", "--html", file.to_str().unwrap()]);
    let page = std::fs::read_to_string(file).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    for part in ["100 for 1s, 300 for 1s", "scheduled", "p99", "answers: 400 x 202", "400 rows for 400", "99 %"] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
}

#[tokio::test]
async fn ctrl_c_ends_a_load_early_and_everything_sent_is_counted() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    let mut command = tidemark(&["load", "--json", "--url", &server.url, "--rate", "100 for 1h", "--connections", "4"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    until("the first events", SOON, async || (server.sql("SELECT count(*) FROM events") != "0").then_some(())).await;
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["check"]["is_right"]), (Some(0), &json!(true)), "{report:#}");
    assert!(count(&report, "sent") == count(&report, "scheduled") && count(&report, "sent") < 10_000, "{report:#}");
}

#[test]
fn a_server_that_is_not_there_or_speaks_tls_is_one_clear_message() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    is_one_message(&mut tidemark(&["load", "--url", &nobody]), &[&nobody, "./justw up", "tidemark serve", "--url"]);
    is_one_message(&mut tidemark(&["load", "--url", "https://127.0.0.1:1"]), &["plain HTTP", "`https://127.0.0.1:1`", "--url http://"]);
    is_one_message(&mut tidemark(&["load", "--url", "127.0.0.1:8080"]), &["is not an address", "http://127.0.0.1:8080"]);
}
