//! What all operations share, around the paths: headers, errors, keys.

use serde_json::{Map, Value, json};

use super::{
    Description, generator,
    parts::{PROBLEMS, header},
};
use crate::problem;

const ABOUT: &str = "An event pipeline. Send events over HTTP: a 2xx means that they are on disk. Ask for metrics, or anything in SQL: \
    the answer holds every event that was acknowledged before the question. Errors are `application/problem+json`; their `code` is stable.";

/// The document of these routes.
pub(super) fn of(description: Description) -> Value {
    let Description { tags, mut paths, mut schemas, .. } = description;
    paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(with_request_id);
    let mut generator = generator();
    let problem = generator.subschema_for::<problem::Body<'_>>();
    schemas.extend(generator.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemark",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "this server"}],
        "security": [{}, {"ApiKey": []}, {"Bearer": []}, {"Basic": []}],
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas, "headers": headers(), "responses": refusals(&json!(problem)), "securitySchemes": keys()},
    })
}

/// As [`crate::http::layers()`] does it for every answer. What is only referred to has the header already.
fn with_request_id(operation: &mut Value) {
    let answers = operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for answer in answers.filter(|answer| answer.get("$ref").is_none()) {
        answer["headers"]["X-Request-Id"] = header("X-Request-Id");
    }
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string"}, "example": example});
    let flag = |description: &str| json!({"description": description, "schema": {"type": "string", "enum": ["true", "false"]}});
    json!({
        "X-Request-Id": text("The id of the request: the client's own when it sent a sane one, else a new UUID.", "0193513d-7c04-7d1c-9d0b-7b9ad5e2f3a1"),
        "Retry-After": {"description": "Seconds after which the same request may be sent again.", "schema": {"type": "integer", "minimum": 0}, "example": 1},
        "RateLimit": text("What is left of the key's limit, and seconds until it is whole again.", "\"events\";r=0;t=1"),
        "RateLimit-Policy": text("The key's limits.", "\"events\";q=1000;w=1"),
        "Tidemark-Position": text("Where the event stands in the journal: shard, sequence, index.", "0:1234:0"),
        "Tidemark-Dry-Run": {"description": "There when the client sent `dry_run`: nothing was stored.", "schema": {"type": "string", "enum": ["true"]}},
        "Preference-Applied": {
            "description": "What was applied of the header `Prefer`.",
            "schema": {"type": "string", "enum": ["handling=strict", "handling=lenient"]},
        },
        "Tidemark-As-Of": text("Up to where the journal's events are in the answer: `shard:sequence`, joined by commas.", "0:1234"),
        "Tidemark-Committed": text("The same for the committed table alone, which other engines read.", "0:1200"),
        "Tidemark-Fresh": flag("Whether events that are not committed yet are in the answer. `false`: exactly the committed table."),
        "X-Query-Id": text("The id of the query in the log.", "0193513d-7c04-7d1c-9d0b-7b9ad5e2f3a1"),
        "X-Truncated": flag("Whether rows or groups were left out because of a limit."),
        "Server-Timing": text("Where the time went, in milliseconds.", "pin;dur=0.4, plan;dur=2.1, total;dur=3.0"),
    })
}

/// The errors, each once. The name is that of the status.
fn refusals(problem: &Value) -> Map<String, Value> {
    let refusal = |(status, name, description): &(u16, &str, &str)| {
        let extra: &[&str] = match status {
            429 => &["Retry-After", "RateLimit", "RateLimit-Policy"],
            503 => &["Retry-After"],
            _ => &[],
        };
        let headers: Map<_, _> = ["X-Request-Id"].iter().chain(extra).map(|name| ((*name).to_owned(), header(name))).collect();
        let content = json!({problem::MEDIA_TYPE: {"schema": problem}});
        ((*name).to_owned(), json!({"description": description, "headers": headers, "content": content}))
    };
    PROBLEMS.iter().map(refusal).collect()
}

fn keys() -> Value {
    json!({
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Needed where the operator has made keys."},
        "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key as a bearer token."},
        "Basic": {"type": "http", "scheme": "basic", "description": "The same key as the password; the user name does not matter."},
    })
}
