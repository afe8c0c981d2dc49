//! The key that a request brings: `X-API-Key`, `Authorization: Bearer`, or `Authorization: Basic` with the key as password.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The key as sent, whatever it is worth; `None` when the request brings none.
pub(super) fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(key) = headers.get(API_KEY) {
        return Some(key.as_bytes().trim_ascii().to_vec());
    }
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    scheme.eq_ignore_ascii_case("basic").then(|| password(rest)).flatten()
}

fn password(credentials: &str) -> Option<Vec<u8>> {
    let decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: &'static str, value: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        presented(&headers).map(|key| String::from_utf8(key).unwrap())
    }

    #[test]
    fn a_key_may_come_in_three_ways() {
        for (name, value) in [
            ("x-api-key", "tm_1:2"),
            ("authorization", "Bearer tm_1:2"),
            ("authorization", "bearer  tm_1:2"),
            ("authorization", "Basic YW55Ym9keTp0bV8xOjI="),
            ("authorization", "basic OnRtXzE6Mg=="),
        ] {
            assert_eq!(of(name, value).as_deref(), Some("tm_1:2"), "{name}: {value}");
        }
        for value in ["tm_1", "Digest x", "Basic", "Basic ?", "Basic dG1fMQ=="] {
            assert_eq!(of("authorization", value), None, "{value}");
        }
    }
}
