//! Which web pages of other origins may call: none, unless `http.cors_origins` names them.

use http::{
    HeaderName, HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, InvalidHeaderValue, RETRY_AFTER},
};
use serde::Deserialize;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember the answer.
const MAX_AGE: Duration = Duration::from_secs(3_600);
const SENT: [&str; 4] = ["x-api-key", "x-request-id", "prefer", "traceparent"];
const SHOWN: [&str; 11] = [
    "x-request-id",
    "x-query-id",
    "x-truncated",
    "ratelimit",
    "ratelimit-policy",
    "server-timing",
    "tidemark-position",
    "tidemark-as-of",
    "tidemark-committed",
    "tidemark-fresh",
    "www-authenticate",
];

/// What the section `http` says about web pages of other origins.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CorsConfig {
    /// The origins, such as `https://app.example.com`; `*` is any.
    pub cors_origins: Vec<String>,
}

/// Text that cannot be an origin: correct it.
#[derive(Debug, thiserror::Error)]
#[error("`{origin}` in `http.cors_origins` is no origin; an origin is like `https://app.example.com`, without a path, or `*` for any")]
pub struct CorsError {
    origin: String,
    source: Option<InvalidHeaderValue>,
}

/// The layer that tells browsers; `None` when no page of another origin may call.
///
/// # Errors
/// When an origin is none.
pub fn cors(config: &CorsConfig) -> Result<Option<CorsLayer>, CorsError> {
    let allowed = match &config.cors_origins[..] {
        [] => return Ok(None),
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.iter().map(|text| origin(text)).collect::<Result<Vec<_>, _>>()?),
    };
    let sent = SENT.map(HeaderName::from_static).into_iter().chain([ACCEPT, AUTHORIZATION, CONTENT_TYPE, CONTENT_ENCODING]);
    let shown = SHOWN.map(HeaderName::from_static).into_iter().chain([RETRY_AFTER]);
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(sent.collect::<Vec<_>>())
        .expose_headers(shown.collect::<Vec<_>>())
        .max_age(MAX_AGE);
    Ok(Some(layer))
}

fn origin(origin: &str) -> Result<HeaderValue, CorsError> {
    let has_path = origin.split_once("://").is_none_or(|(_, host)| host.is_empty() || host.contains('/'));
    match HeaderValue::from_str(origin) {
        Ok(value) if !has_path => Ok(value),
        Ok(_) => Err(CorsError { origin: origin.to_owned(), source: None }),
        Err(source) => Err(CorsError { origin: origin.to_owned(), source: Some(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        let of = |origin: &str| cors(&CorsConfig { cors_origins: vec![origin.to_owned()] });
        for good in ["https://app.example.com", "http://localhost:3000", "*"] {
            assert!(of(good).unwrap().is_some(), "{good}");
        }
        for bad in ["app.example.com", "https://app.example.com/", "https://", "https://a\nb"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(cors(&CorsConfig::default()).unwrap().is_none());
    }
}
