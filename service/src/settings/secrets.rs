//! Which values must not be shown, and what is shown in their place.

use serde_json::Value;

use super::origin::last_segment;

const SECRET_NAMES: [&str; 7] = ["secret_access_key", "password", "secret", "token", "api_key", "root_key", "pipeline_key"];
const REDACTED: &str = "***";

/// Whether the key holds a secret; its name says so.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_NAMES.iter().any(|name| last_segment(key).ends_with(name))
}

/// The value as it may be shown: a secret that is set becomes `***`, and so does the password inside an address.
pub(super) fn redacted(key: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if is_secret(key) && !text.is_empty() => Value::from(REDACTED),
        Value::String(text) => Value::from(without_passwords(text)),
        other => other.clone(),
    }
}

/// `nats://user:word@host` becomes `nats://***@host`, in each part of a list joined by commas.
fn without_passwords(text: &str) -> String {
    text.split(',').map(without_password).collect::<Vec<_>>().join(",")
}

fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => address.to_owned(),
    }
}
