//! Does Tidemark run, is it ready, does it take our key? If not: are its addresses free?

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use service::http::{BindError, TlsConfig, bind};

use super::{Examination, finding::Findings};
use crate::{
    client::{self, Error},
    serve::ServeConfig,
};

const ALIVE: &str = "server";

#[derive(Deserialize)]
struct Life {
    status: String,
}

#[derive(Deserialize)]
struct Readiness {
    checks: BTreeMap<String, String>,
}

/// Looks at the addresses of `tidemark serve`; whether it runs.
pub(super) async fn examine(examination: &Examination, findings: &mut Findings) -> anyhow::Result<bool> {
    let Examination { settings, url, is_named, .. } = examination;
    let config: ServeConfig = settings.section("serve")?;
    match life(examination).await {
        Ok(true) => {}
        Err(Error::Unreachable { .. }) if !is_named => {
            findings.note(ALIVE, format!("Tidemark does not run at `{url}`; start it with `tidemark serve` or `./justw up`"));
            is_free(&config.listen, "serve.listen", findings).await;
            is_free(&config.admin_listen, "serve.admin_listen", findings).await;
            return Ok(false);
        }
        Ok(false) | Err(Error::Unknown { .. } | Error::Refused(_)) => {
            findings.problem(ALIVE, format!("another program answers at `{url}`"), "stop it, or choose another port with `serve.listen`");
            return Ok(false);
        }
        Err(error) => {
            findings.error(ALIVE, error);
            return Ok(false);
        }
    }
    readiness(examination, findings).await;
    query_key(examination, findings).await;
    if !is_named {
        internal(examination, &config.admin_listen, findings).await?;
    }
    Ok(true)
}

/// Whether what answers is Tidemark.
async fn life(examination: &Examination) -> Result<bool, Error> {
    let url = &examination.url;
    let answer = client::send(examination.get(format!("{url}/livez")), url).await?;
    Ok(answer.json::<Life>().await.is_ok_and(|life| life.status == "ok"))
}

/// Names each part that is down.
async fn readiness(examination: &Examination, findings: &mut Findings) {
    const CHECK: &str = "server.ready";
    let url = &examination.url;
    let answer = async { examination.get(format!("{url}/readyz")).send().await?.json().await };
    let Ok(Readiness { checks }) = answer.await else {
        findings.problem(CHECK, format!("`{url}/readyz` does not answer as Tidemark does"), "look at what listens there");
        return;
    };
    for (part, state) in &checks {
        match state.strip_prefix("ok") {
            Some("") => {}
            Some(note) => findings.warning(CHECK, format!("{part} works{note}"), "see the log of that time"),
            None => findings.problem(CHECK, format!("{part} is {state}"), "see what is said of it below, and the log"),
        }
    }
    if checks.values().all(|state| state.starts_with("ok")) {
        let parts: Vec<&str> = checks.keys().map(String::as_str).collect();
        findings.ok(CHECK, format!("Tidemark runs at `{url}` and is ready: {}", parts.join(", ")));
    }
}

/// Whether the key of the settings opens the routes of questions, and whether the answer is fresh.
async fn query_key(examination: &Examination, findings: &mut Findings) {
    const CHECK: &str = "server.query";
    const REMEDY: &str = "make one with `tidemark keys new --scope ingest,query`, and set `client.api_key` to it";
    let query_url = &examination.query_url;
    match examination.get(format!("{query_url}/sql?q=SELECT%201")).send().await {
        Ok(answer) if client::is_stale(answer.headers()) => {
            findings.warning(
                CHECK,
                format!("answers are not fresh: {}", client::NOT_FRESH),
                "start the pipeline, or set `query.pipelines`",
            );
        }
        Ok(answer) if answer.status().is_success() => findings.ok(CHECK, "questions are answered, fresh"),
        Ok(answer) if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status()) => {
            findings.problem(CHECK, format!("{}", client::refusal(answer).await), REMEDY);
        }
        Ok(answer) => findings.problem(CHECK, format!("{}", client::refusal(answer).await), "see the log"),
        Err(error) => findings.error(CHECK, client::unanswered(error, query_url)),
    }
}

/// The internal port belongs to the same process, if the settings are those of the server.
async fn internal(examination: &Examination, listen: &str, findings: &mut Findings) -> anyhow::Result<()> {
    const CHECK: &str = "server.internal";
    let TlsConfig { certificate, internal, .. } = examination.settings.section("tls")?;
    let scheme = if internal && !certificate.as_os_str().is_empty() { "https" } else { "http" };
    let url = format!("{scheme}://{listen}");
    match client::send(examination.get(format!("{url}/livez")), &url).await {
        Ok(_) => findings.ok(CHECK, format!("Prometheus finds metrics at `{url}/metrics`")),
        Err(_) => findings.warning(
            CHECK,
            format!("nothing of Tidemark answers at `{url}` (setting `serve.admin_listen`)"),
            "give this command the settings of the running server: the same `--config`, environment and `--set`",
        ),
    }
    Ok(())
}

async fn is_free(address: &str, setting: &'static str, findings: &mut Findings) {
    const CHECK: &str = "server.port";
    match bind(address, setting).await {
        Ok(_) => findings.ok(CHECK, format!("`{address}` is free (setting `{setting}`)")),
        Err(error @ (BindError::Taken { .. } | BindError::Forbidden { .. } | BindError::Unusable { .. })) => findings.error(CHECK, error),
    }
}
