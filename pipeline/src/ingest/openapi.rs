//! What clients are told about the routes for events.

use schemars::SchemaGenerator;
use serde_json::{Value, json};
use service::openapi::parts::{headers, query, responses};

use super::answer::{AcceptedMany, AcceptedOne};

/// What every good answer may tell beside.
const TOLD: [&str; 2] = ["Preference-Applied", "Tidemark-Dry-Run"];
/// The attributes of a cloud event in binary form, and what each becomes.
const ATTRIBUTES: [(&str, &str); 6] = [
    ("ce-specversion", "Always `1.0`. With this header and `Content-Type: application/json` the body is the data of one cloud event."),
    ("ce-id", "Becomes `event_id`."),
    ("ce-source", "Becomes `channel`."),
    ("ce-type", "Becomes `event_name`."),
    ("ce-time", "Becomes `timestamp`."),
    ("ce-subject", "Becomes `user_id`."),
];
/// The errors of every route here.
const PROBLEMS: [u16; 9] = [400, 401, 403, 408, 413, 415, 429, 500, 503];
/// Long past, so that the examples are never in the future.
const EXAMPLE_TIME: i64 = 1_795_000_000;

/// `POST /events`.
pub(super) fn events(schemas: &mut SchemaGenerator) -> Value {
    let (one, many) = (schemas.subschema_for::<AcceptedOne>(), schemas.subschema_for::<AcceptedMany>());
    let good = json!({"202": {
        "description": "On disk: one event, or the good ones of many.",
        "headers": headers(&TOLD),
        "content": {"application/json": {"schema": {"oneOf": [one, many]}, "example": accepted_one()}},
    }});
    json!({
        "operationId": "sendEvents",
        "summary": "Send one event, or many",
        "description": "One JSON object, an array, `{\"events\": [...]}` or NDJSON, also compressed (`Content-Encoding: gzip` or `zstd`). \
            The `Content-Type` of `curl -d` is taken as well when the body is JSON. \
            A cloud event is taken in structured form, in a batch, or in binary form, its attributes in headers `ce-...`, \
            percent-encoded. A 503 may be repeated: what was stored is folded by its \
            `event_id`, or by all its fields.",
        "parameters": parameters(&ATTRIBUTES),
        "requestBody": body(&[("one", one_event()), ("array", array()), ("list", list())], json!({"anyOf": [event(), array_of_events(), list_of_events()]})),
        "responses": responses(good, &PROBLEMS),
    })
}

/// `POST /events/bulk`.
pub(super) fn bulk(schemas: &mut SchemaGenerator) -> Value {
    let good = json!({"202": {
        "description": "The good events are on disk; the others are listed with index, JSON pointer, code and message.",
        "headers": headers(&TOLD),
        "content": {"application/json": {"schema": schemas.subschema_for::<AcceptedMany>(), "example": accepted_many()}},
    }});
    json!({
        "operationId": "sendEventsInBulk",
        "summary": "Send many events",
        "description": "`{\"events\": [...]}`, an array, NDJSON or a batch of cloud events. Good events are taken and wrong ones listed; when none is good, 400. \
            With `Prefer: handling=strict` one wrong event refuses all.",
        "parameters": parameters(&[]),
        "requestBody": body(&[("list", list()), ("array", array())], json!({"anyOf": [list_of_events(), array_of_events(), event()]})),
        "responses": responses(good, &PROBLEMS),
    })
}

/// `POST /event`.
pub(super) fn page_view(_: &mut SchemaGenerator) -> Value {
    let good = json!({"204": {"description": "On disk.", "headers": headers(&["Tidemark-Position", "Tidemark-Dry-Run"])}});
    let example = json!({"site_id": "shop", "event_type": "page_view", "path": "/pricing", "user_id": "u1"});
    json!({
        "operationId": "sendPageView",
        "summary": "Send one page view",
        "description": "As `/events` with one event, but `site_id` is required, and `user_id` and `timestamp` are not.",
        "parameters": [dry_run()],
        "requestBody": {"required": true, "content": {"application/json": {
            "schema": page_view_event(),
            "examples": {"page_view": {"value": example}},
        }}},
        "responses": responses(good, &PROBLEMS),
    })
}

fn parameters(attributes: &[(&str, &str)]) -> Vec<Value> {
    let attributes = attributes.iter().map(|(name, description)| optional_header(name, description));
    [dry_run(), optional_header("Prefer", "`handling=strict`: all events or none.")].into_iter().chain(attributes).collect()
}

fn optional_header(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": false, "schema": {"type": "string"}, "description": description})
}

fn dry_run() -> Value {
    let description = "`true`: judge the events and answer as if, and store nothing. The answer has no position.";
    let mut parameter = query("dry_run", json!({"type": "string", "enum": ["true", "false", "1", "0", ""]}), description);
    parameter["example"] = "true".into();
    parameter
}

fn body(examples: &[(&str, Value)], schema: Value) -> Value {
    let examples: serde_json::Map<_, _> = examples.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect();
    let lines = format!("{}\n{}\n", one_event(), one_event());
    json!({"required": true, "content": {
        "application/json": {"schema": schema, "examples": examples},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One event for each line."}, "examples": {"lines": {"value": lines}}},
        "application/cloudevents+json": {"schema": described_cloud_event(), "examples": {"structured": {"value": cloud_event()}}},
        "application/cloudevents-batch+json": {
            "schema": {"type": "array", "minItems": 1, "items": described_cloud_event()},
            "examples": {"batch": {"value": [cloud_event()]}},
        },
    }})
}

fn event() -> Value {
    described_event(&["user_id", "timestamp"])
}

fn page_view_event() -> Value {
    described_event(&["site_id"])
}

fn array_of_events() -> Value {
    json!({"type": "array", "minItems": 1, "items": event()})
}

fn list_of_events() -> Value {
    json!({"type": "object", "required": ["events"], "properties": {"events": array_of_events()}})
}

/// The fields as [`schemas::Event::validate`] takes them; lengths are in bytes of UTF-8. `null` counts as absent.
fn described_event(required: &[&str]) -> Value {
    let text = |name: &str, min: usize, max: usize, description: &str| {
        let kind = if required.contains(&name) { json!("string") } else { json!(["string", "null"]) };
        json!({"type": kind, "minLength": min, "maxLength": max, "description": description})
    };
    json!({
        "type": "object",
        "required": required,
        "anyOf": [{"required": ["event_name"]}, {"required": ["event_type"]}],
        "properties": {
            "event_name": text("event_name", 1, 128, "What happened."),
            "event_type": text("event_type", 1, 128, "Another name for `event_name`; send one of them."),
            "timestamp": timestamp(required.contains(&"timestamp")),
            "user_id": text("user_id", 1, 128, "Who did it."),
            "event_id": text("event_id", 1, 128, "An id of your own: an event of the same id is the same event, sent again."),
            "channel": text("channel", 0, 64, "Such as `web` or `mobile_app`. The operator may have a list of those that are allowed."),
            "campaign_id": text("campaign_id", 0, 64, "The campaign that led to it."),
            "site_id": text("site_id", 1, 128, "The site it happened on."),
            "path": text("path", 0, 2048, "The page it happened on."),
            "tags": {
                "description": "Labels to group by.",
                "type": ["array", "null"], "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 64},
            },
            "metadata": {"type": ["object", "null"], "description": "Anything else; kept as sent: numbers, order of keys and nesting."},
        },
    })
}

/// `CloudEvents` 1.0 as JSON; the attributes become the fields that are named here. `null` counts as absent.
fn described_cloud_event() -> Value {
    let text = |kind: Value, most: usize, becomes: &str| json!({"type": kind, "minLength": 1, "maxLength": most, "description": becomes});
    let (required, optional) = (json!("string"), json!(["string", "null"]));
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": text(required.clone(), 128, "Becomes `event_id`."),
            "source": text(required.clone(), 64, "Becomes `channel`."),
            "type": text(required, 128, "Becomes `event_name`."),
            "time": {"type": optional.clone(), "format": "date-time", "description": "Becomes `timestamp`."},
            "subject": text(optional, 128, "Becomes `user_id`."),
            "data": {"type": ["object", "null"], "description": "Becomes `metadata`, kept as sent."},
        },
    })
}

fn timestamp(is_required: bool) -> Value {
    let mut forms = vec![json!({"type": "number", "exclusiveMinimum": 0}), json!({"type": "string", "format": "date-time"})];
    forms.extend((!is_required).then(|| json!({"type": "null"})));
    json!({
        "description": "When it happened: seconds, milliseconds or microseconds since 1970 by magnitude, or RFC 3339 text.",
        "anyOf": forms,
    })
}

fn one_event() -> Value {
    json!({"event_name": "product_view", "user_id": "u1", "timestamp": EXAMPLE_TIME, "channel": "web"})
}

fn other_event() -> Value {
    json!({
        "event_name": "purchase", "user_id": "u1", "timestamp": "2026-11-18T09:30:00Z", "event_id": "order-17",
        "tags": ["checkout"], "metadata": {"price": 19.9, "items": [{"sku": "A1"}]},
    })
}

fn cloud_event() -> Value {
    json!({
        "specversion": "1.0", "id": "sale-17", "source": "/shop", "type": "com.shop.sold", "subject": "u1",
        "time": "2026-11-18T09:30:00Z", "data": {"price": 19.9},
    })
}

fn array() -> Value {
    json!([one_event(), other_event()])
}

fn list() -> Value {
    json!({"events": array()})
}

fn accepted_one() -> Value {
    json!({"status": "accepted", "event_id": "0ddaca2c0a2839906a80fa0001f92387", "accepted": 1, "position": "0:119:0"})
}

fn accepted_many() -> Value {
    json!({
        "status": "accepted", "accepted": 2, "accepted_count": 2, "rejected": 0, "event_ids": ["0ddaca2c0a2839906a80fa0001f92387", "order-17"],
        "errors": [], "position": "0:120",
    })
}

#[cfg(test)]
mod tests {
    use schemas::raw::Field;

    use super::*;

    #[test]
    fn the_document_has_the_fields_that_an_event_has() {
        let event = event();
        let described = event["properties"].as_object().unwrap();
        assert!(described.keys().all(|key| Field::named(key).is_some()), "{described:?}");
        assert!(Field::ALL.iter().all(|field| described.contains_key(field.name())), "{described:?}");
    }

    #[test]
    fn what_may_be_absent_may_be_null() {
        for described in [event(), page_view_event(), described_cloud_event()] {
            let required = described["required"].as_array().unwrap();
            for (name, field) in described["properties"].as_object().unwrap() {
                let takes_null = [&field["type"], &field["anyOf"]].iter().any(|forms| forms.to_string().contains("\"null\""));
                assert_eq!(takes_null, !required.contains(&Value::from(name.as_str())), "{name}: {field}");
            }
        }
    }
}
