//! `CloudEvents` 1.0 in binary form: the attributes stand in headers `ce-...`, the body is the data (HTTP binding, section 3.1).

use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode;
use serde_json::Value;
use service::problem::{ItemError, Problem};

const PREFIX: &str = "ce-";

/// The attributes of a request in binary form as a JSON object; `None` when it has none. One that stands twice stands twice there.
///
/// # Errors
/// A 400 for a value that is not UTF-8 behind its percent signs.
pub(super) fn attributes(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut members = Vec::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            members.push(format!("{}:{}", Value::from(name), Value::from(text(name, value)?)));
        }
    }
    Ok((!members.is_empty()).then(|| format!("{{{}}}", members.join(","))))
}

fn text(name: &str, value: &HeaderValue) -> Result<String, Problem> {
    percent_decode(value.as_bytes()).decode_utf8().map(Into::into).map_err(|_| {
        let detail = format!("the header `{PREFIX}{name}` is not percent-encoded UTF-8");
        let error = ItemError {
            index: None,
            pointer: format!("/{name}"),
            code: schemas::Code::InvalidText.as_str().into(),
            message: detail.clone(),
        };
        Problem::new(StatusCode::BAD_REQUEST, "invalid_event", detail).with_errors(vec![error])
    })
}
