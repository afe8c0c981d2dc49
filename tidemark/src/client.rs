//! Talking to a running Tidemark over HTTP or HTTPS, and turning its problems into messages for a terminal.

use std::{error::Error as _, path::PathBuf, time::Duration};

use anyhow::Context;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use service::{
    http::TlsConfig,
    keys,
    settings::{self, Secret, Settings},
};

use crate::serve::ServeConfig;

mod trust;

/// What one should know about an answer that is not fresh.
pub(crate) const NOT_FRESH: &str =
    "events that are not committed yet are missing, because no pipeline tells them; `/readyz` says what is down";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Start it, or name another address.
    #[error("nothing answers at `{url}`; start it with `./justw up` or `tidemark serve`, or name another address with `--url`")]
    Unreachable { url: String },
    /// Do what it says about the certificate.
    #[error(transparent)]
    Distrusted(#[from] trust::Distrust),
    /// Say `https://`, or look at what listens there.
    #[error("`{url}` does not answer in HTTP; perhaps it is `https://`")]
    Protocol { url: String, source: reqwest::Error },
    /// Look at the network.
    #[error("`{url}` did not answer as expected")]
    Broken { url: String, source: reqwest::Error },
    /// Do what the problem says.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// Something else than Tidemark answers there.
    #[error("the server answered {status}: {body}")]
    Unknown { status: StatusCode, body: String },
}

/// The members of a problem that a person needs.
#[derive(Debug, Deserialize, thiserror::Error)]
pub(crate) struct Problem {
    detail: String,
    line: Option<u64>,
    column: Option<u64>,
}

/// Section `[client]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClientConfig {
    /// The key that every request brings.
    api_key: Secret,
    /// Certificates that are trusted beside those that this machine trusts, in PEM; empty = none.
    ca: PathBuf,
}

/// An HTTP client that trusts the certificates of the settings and whose requests bring the key of the settings.
pub(crate) fn client(settings: &Settings) -> anyhow::Result<Client> {
    service::telemetry::install_crypto();
    let ClientConfig { api_key, ca } = settings.section("client")?;
    let builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).default_headers(keys::headers(&api_key));
    let trusted = trust::certificates(&ca)?;
    trusted.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate).build().context("the HTTP client cannot start")
}

/// The headers by which a request brings the key of the settings.
pub(crate) fn key_headers(settings: &Settings) -> Result<HeaderMap, settings::Error> {
    settings.section::<ClientConfig>("client").map(|config| keys::headers(&config.api_key))
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
/// Says that nothing answers and how to start it, why its certificate is not trusted, or what the server objects to.
pub(crate) async fn send(request: RequestBuilder, url: &str) -> Result<Response, Error> {
    let response = request.send().await.map_err(|error| unanswered(error, url))?;
    if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
}

/// Why a request to `url` has no answer at all.
pub(crate) fn unanswered(error: reqwest::Error, url: &str) -> Error {
    let url = url.to_owned();
    match trust::tls_error(&error) {
        Some(fault) => trust::Distrust::of(fault.clone(), url).into(),
        None if error.is_connect() => Error::Unreachable { url },
        None if is_no_http(&error) => Error::Protocol { url, source: error },
        None => Error::Broken { url, source: error },
    }
}

/// Whether what came back is not HTTP, such as the alert of a server that speaks TLS.
fn is_no_http(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// Whether an answer says that events which are not committed yet are not in it.
pub(crate) fn is_stale(headers: &HeaderMap) -> bool {
    headers.get("tidemark-fresh").is_some_and(|value| value == "false")
}

/// Whether an answer says that rows or groups were left out.
pub(crate) fn is_truncated(headers: &HeaderMap) -> bool {
    headers.get("x-truncated").is_some_and(|value| value == "true")
}

/// What a bad answer says.
pub(crate) async fn refusal(response: Response) -> Error {
    let status = response.status();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let body = response.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if is_problem => problem.into(),
        _ => Error::Unknown { status, body: body.trim().to_owned() },
    }
}

impl Problem {
    /// Line and column of what is wrong, both from 1.
    pub(crate) fn place(&self) -> Option<(u64, u64)> {
        self.line.zip(self.column)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        match self.place() {
            Some((line, column)) if !self.detail.contains(&format!("line {line}, column {column}")) => {
                write!(f, " (line {line}, column {column})")
            }
            _ => Ok(()),
        }
    }
}
