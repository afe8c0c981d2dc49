//! Talking to a running Tidemark over HTTP, and turning its problems into messages for a terminal.

use std::time::Duration;

use anyhow::{Context, bail};
use http::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use service::{
    http::TlsConfig,
    keys,
    settings::{Secret, Settings},
};

use crate::serve::ServeConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The members of a problem that a person needs.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    line: Option<u64>,
    column: Option<u64>,
}

/// Section `[client]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClientConfig {
    /// The key that every request brings.
    api_key: Secret,
}

/// An HTTP client whose TLS is ready and whose requests bring the key of the settings.
pub(crate) fn client(settings: &Settings) -> anyhow::Result<Client> {
    service::telemetry::install_crypto();
    let headers = keys::headers(&settings.section::<ClientConfig>("client")?.api_key);
    Client::builder().connect_timeout(CONNECT_TIMEOUT).default_headers(headers).build().context("the HTTP client cannot start")
}

/// The address given, or that of `tidemark serve` under the same settings.
pub(crate) fn server(url: Option<String>, settings: &Settings) -> anyhow::Result<String> {
    match url {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None => {
            let has_tls = !settings.section::<TlsConfig>("tls")?.certificate.as_os_str().is_empty();
            Ok(format!("{}://{}", if has_tls { "https" } else { "http" }, settings.section::<ServeConfig>("serve")?.listen))
        }
    }
}

/// Sends a request to the server at `url` and gives its good answer.
///
/// # Errors
/// Says that nothing answers and how to start it, or what the server objects to.
pub(crate) async fn send(request: RequestBuilder, url: &str) -> anyhow::Result<Response> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => {
            bail!("nothing answers at `{url}`; start it with `./justw up` or `tidemark serve`, or name another address with `--url`")
        }
        Err(error) => return Err(error).with_context(|| format!("`{url}` did not answer as expected")),
    };
    if response.status().is_success() { Ok(response) } else { bail!(refusal(response).await) }
}

/// What a bad answer says.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let body = response.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if is_problem => problem.to_string(),
        _ => format!("the server answered {status}: {}", body.trim()),
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, " (line {line}, column {column})")?;
        }
        Ok(())
    }
}
