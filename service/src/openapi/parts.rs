//! What descriptions of operations are put together from.

use serde_json::{Map, Value, json};

/// The errors that an operation may answer with: status, name among the components, meaning.
pub(super) const PROBLEMS: [(u16, &str, &str); 11] = [
    (400, "BadRequest", "The request is wrong; `detail` says what would be right."),
    (401, "Unauthorized", "A key is needed, or this one is not known."),
    (403, "Forbidden", "The key is known and may not do this."),
    (404, "NotFound", "There is no such thing here."),
    (408, "RequestTimeout", "The body did not arrive in time. Nothing was stored."),
    (413, "ContentTooLarge", "The body, or the number of events in it, is above a limit. Nothing was stored."),
    (415, "UnsupportedMediaType", "The body is of a type that is not read here; `detail` lists those that are."),
    (422, "UnprocessableContent", "The request is well-formed, but cannot be answered: more memory than allowed, or a division by zero."),
    (429, "TooManyRequests", "The key has used up its limit; send the same again after `Retry-After`."),
    (500, "InternalServerError", "Something went wrong here, not in the request."),
    (503, "ServiceUnavailable", "Not now; `detail` says why. Sending the same again after `Retry-After` is safe."),
];

/// The good answers of an operation, and the errors among which it may also answer.
///
/// # Panics
/// When an error has no description in this module.
#[must_use]
pub fn responses(good: Value, problems: &[u16]) -> Value {
    let mut responses = good;
    for status in problems {
        let (_, name, _) = PROBLEMS.iter().find(|(known, ..)| known == status).expect("every error that is named is described above");
        responses[status.to_string()] = json!({"$ref": format!("#/components/responses/{name}")});
    }
    responses
}

/// A header that is described among the components.
#[must_use]
pub fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// Several of them.
#[must_use]
pub fn headers(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), header(name))).collect::<Map<_, _>>().into()
}

/// A parameter of the URL that may be left out or empty.
#[must_use]
pub fn query(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "allowEmptyValue": true, "description": description, "schema": schema})
}

/// A parameter of the URL that must be there.
#[must_use]
pub fn required_query(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": true, "description": description, "schema": schema})
}
