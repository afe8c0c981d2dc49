//! Does this machine know what time it is? Compared with the `Date` of every server that tells one.
//!
//! Event times far ahead are refused, S3 refuses requests that are 15 minutes off, and the clocks of several machines meet in one table.

use chrono::{DateTime, TimeDelta, Utc};
use http::header::DATE;
use pipeline::connect::NatsConfig;
use reqwest::Client;
use table::Config;

use super::{Examination, finding::Findings};

const CHECK: &str = "clock";
/// A `Date` has whole seconds, and the answer takes its time.
const TOLERANCE: TimeDelta = TimeDelta::seconds(3);
/// More than this changes what happens.
const FAR: TimeDelta = TimeDelta::seconds(60);

/// Asks NATS, the store and a Tidemark on another machine.
pub(super) async fn examine(examination: &Examination, findings: &mut Findings) -> anyhow::Result<()> {
    let Examination { settings, stranger, url, is_named, .. } = examination;
    let (nats, table): (NatsConfig, Config) = (settings.section("nats")?, settings.section("table")?);
    let mut servers = Vec::new();
    if !nats.monitoring_url.is_empty() {
        servers.push(("NATS", format!("{}/varz", nats.monitoring_url.trim_end_matches('/'))));
    }
    if table.url.starts_with("s3://") {
        let endpoint = if table.s3.endpoint.is_empty() { "https://s3.amazonaws.com" } else { &table.s3.endpoint };
        servers.push(("the S3 service", endpoint.to_owned()));
    }
    if *is_named {
        servers.push(("Tidemark", format!("{url}/livez")));
    }
    let mut asked = Vec::new();
    for (name, url) in servers {
        if let Some(ahead) = ahead(examination, stranger, &url).await {
            asked.push(name);
            judge(name, ahead, findings);
        }
    }
    if asked.is_empty() {
        findings.note(CHECK, "not compared with another one, because no server that tells the time could be asked");
    }
    Ok(())
}

/// How far this clock is ahead of that of a server; `None` when it does not tell the time.
async fn ahead(Examination { clock, .. }: &Examination, client: &Client, url: &str) -> Option<TimeDelta> {
    let before = clock.now();
    let answer = client.get(url).send().await.ok()?;
    let middle = before + (clock.now() - before) / 2;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    Some(middle - DateTime::parse_from_rfc2822(date).ok()?.with_timezone(&Utc))
}

fn judge(name: &str, ahead: TimeDelta, findings: &mut Findings) {
    const REMEDY: &str = "let both machines set their clocks by NTP (`timedatectl`)";
    let seconds = ahead.num_seconds();
    let told = match seconds {
        0.. => format!("this clock is {seconds} s ahead of that of {name}"),
        _ => format!("this clock is {} s behind that of {name}", -seconds),
    };
    match ahead.abs() {
        far if far > FAR => findings.problem(CHECK, told, REMEDY),
        far if far > TOLERANCE => findings.warning(CHECK, told, REMEDY),
        _ => findings.ok(CHECK, format!("this clock and that of {name} agree")),
    }
}
