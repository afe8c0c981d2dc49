//! What clients are told about the routes for questions.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};
use service::openapi::parts::{headers, query, required_query, responses};

use crate::{metrics::MetricsAnswer, sql::Format, stats::StatsAnswer};

const PROBLEMS: [u16; 7] = [400, 401, 403, 422, 429, 500, 503];
const SQL_PROBLEMS: [u16; 8] = [400, 401, 403, 413, 422, 429, 500, 503];
const GROUPS: &str = "minute|hour|day|week|month|channel|event_name|campaign_id|site_id|path|tag";
const POSITION: &str = "^[0-9]+:[0-9]+(:[0-9]+)?(,[0-9]+:[0-9]+(:[0-9]+)?)*$";
const CUT_HEADERS: [&str; 3] = ["Tidemark-As-Of", "Tidemark-Committed", "Tidemark-Fresh"];

/// `GET /metrics`.
pub(crate) fn metrics(schemas: &mut SchemaGenerator) -> Value {
    let good = json!({"200": {
        "description": "Totals, and the groups that were asked for.",
        "headers": headers(&[&CUT_HEADERS[..], &["X-Truncated"]].concat()),
        "content": {"application/json": {"schema": schemas.subschema_for::<MetricsAnswer>(), "example": metrics_example()}},
    }});
    json!({
        "operationId": "metrics",
        "summary": "Count events and users",
        "description": "Without parameters: everything of the last 24 hours. `from` and `to` are both included.",
        "parameters": metrics_parameters(),
        "responses": responses(good, &PROBLEMS),
    })
}

fn metrics_parameters() -> Vec<Value> {
    let filter = |name: &str, description: &str| query(name, json!({"type": "string"}), description);
    let choice = |name: &str, choices: &[&str], description: &str| query(name, json!({"type": "string", "enum": choices}), description);
    vec![
        with_example(filter("event_name", "Only events of this name."), "product_view"),
        filter("channel", "Only events of this channel."),
        filter("campaign_id", "Only events of this campaign."),
        filter("site_id", "Only events of this site."),
        filter("user_id", "Only events of this user."),
        filter("tag", "Only events with this tag."),
        with_example(query("from", instant(), "The first instant; by default 24 hours before `to`."), "2026-11-18T00:00:00Z"),
        with_example(query("to", instant(), "The last instant, itself included; by default now."), "2026-11-18T23:59:59Z"),
        with_example(
            query(
                "group_by",
                json!({"type": "string", "pattern": format!("^({GROUPS})(,({GROUPS}))?$")}),
                "One dimension, or two joined by a comma.",
            ),
            "hour",
        ),
        query("limit", json!({"type": "integer", "minimum": 1}), "Most groups."),
        choice("order", &["key", "-total"], "By default time ascending, others by total descending."),
        choice("fill", &["zero"], "Empty time buckets, too."),
        with_example(query("tz", json!({"type": "string"}), "Whose days: an IANA name; by default UTC."), "Europe/Berlin"),
        choice("uniques", &["exact", "approx"], "How users are counted; by default exactly."),
        at_least(),
    ]
}

/// `GET /stats`.
pub(crate) fn stats(schemas: &mut SchemaGenerator) -> Value {
    let text = json!({"type": "string"});
    let day = query("date", json!({"type": "string", "format": "date"}), "A UTC day; by default today.");
    let good = json!({"200": {
        "description": "Views, users and the most viewed paths.",
        "headers": headers(&CUT_HEADERS),
        "content": {"application/json": {"schema": schemas.subschema_for::<StatsAnswer>(), "example": stats_example()}},
    }});
    json!({
        "operationId": "stats",
        "summary": "The page views of a site on one day",
        "parameters": [
            with_example(required_query("site_id", json!({"type": "string", "minLength": 1}), "The site."), "shop"),
            day,
            query("top", json!({"type": "integer", "minimum": 1, "maximum": 1000}), "How many paths; by default 10."),
            query("event_type", text, "What counts as a view: by default `page_view`; `*` counts every event."),
            at_least(),
        ],
        "responses": responses(good, &PROBLEMS),
    })
}

/// `POST /sql`.
pub(crate) fn post_sql(_: &mut SchemaGenerator) -> Value {
    json!({
        "operationId": "sql",
        "summary": "Ask anything in SQL",
        "description": "One read-only statement: SELECT, WITH, EXPLAIN, SHOW or DESCRIBE. Tables: `events`, `quarantine`, `events_committed`, \
            `event_names`. The body is the statement, or a JSON object with it.",
        "parameters": sql_parameters(),
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": sql_object(), "examples": {
                "statement": {"value": {"sql": "SELECT channel, count(*) AS n FROM events GROUP BY 1 ORDER BY 2 DESC"}},
                "parameters": {"value": {"sql": "SELECT count(*) AS n FROM events WHERE channel = $1", "params": ["web"], "format": "json"}},
            }},
            "text/plain": {"schema": {"type": "string", "minLength": 1}, "examples": {
                "text": {"value": "SELECT event_name, count(*) AS n FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 5"},
            }},
        }},
        "responses": sql_responses(),
    })
}

/// `DELETE /sql/{query_id}`.
pub(crate) fn cancel_sql(_: &mut SchemaGenerator) -> Value {
    json!({
        "operationId": "cancelSql",
        "summary": "End a running SQL query",
        "description": "The id is in the header `X-Query-Id` of the answer; a client that sends this header with its request chooses it. Where keys are on, only the key that started a query ends it.",
        "parameters": [{
            "name": "query_id", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}, "example": "report-1",
        }],
        "responses": responses(json!({"204": {"description": "The query is ended."}}), &[401, 403, 404, 429, 500]),
    })
}

/// `GET /sql`.
pub(crate) fn get_sql(_: &mut SchemaGenerator) -> Value {
    let statement = required_query("q", json!({"type": "string", "minLength": 1}), "The statement.");
    let statement = with_example(statement, "SELECT count(*) AS n FROM events");
    let parameters = [vec![statement], sql_parameters()].concat();
    json!({
        "operationId": "sqlByUrl",
        "summary": "Ask anything in SQL, in a URL",
        "parameters": parameters,
        "responses": sql_responses(),
    })
}

fn sql_parameters() -> Vec<Value> {
    vec![
        query("format", format_schema(), "The form of the answer; else `Accept` decides, else `pretty`."),
        query("timeout_ms", json!({"type": "integer", "minimum": 1}), "The longest it may take."),
        query("max_rows", json!({"type": "integer", "minimum": 1}), "The most rows. csv, tsv, jsonl and arrow have no limit by default."),
        at_least(),
    ]
}

fn sql_object() -> Value {
    json!({
        "type": "object",
        "required": ["sql"],
        "additionalProperties": false,
        "properties": {
            "sql": {"type": "string", "minLength": 1, "description": "The statement."},
            "params": {
                "description": "A list for `$1`, `$2`, or an object for `$name`.",
                "anyOf": [{"type": "array", "items": scalar()}, {"type": "object", "additionalProperties": scalar()}, {"type": "null"}],
            },
            "format": format_schema(),
            "timeout_ms": {"type": ["integer", "null"], "minimum": 1},
            "max_rows": {"type": ["integer", "null"], "minimum": 1},
        },
    })
}

fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean", "null"]})
}

fn format_schema() -> Value {
    json!({"type": "string", "enum": Format::NAMES.map(|(name, _)| name)})
}

fn sql_responses() -> Value {
    let content = Format::NAMES.iter().map(|(_, format)| {
        let media_type = format.content_type().split(';').next().unwrap_or_default();
        let schema = match format {
            Format::Json => json!({"type": "array", "items": {"type": "object"}}),
            Format::Arrow | Format::Parquet => json!({}),
            Format::JsonLines | Format::Csv | Format::Tsv | Format::Pretty => json!({"type": "string"}),
        };
        (media_type.to_owned(), json!({"schema": schema}))
    });
    let good = json!({"200": {
        "description": "The rows. A failure after the first byte breaks the transfer, it never ends it cleanly.",
        "headers": headers(&[&CUT_HEADERS[..], &["X-Query-Id", "X-Truncated", "Server-Timing"]].concat()),
        "content": content.collect::<Map<_, _>>(),
    }});
    responses(good, &SQL_PROBLEMS)
}

fn with_example(mut parameter: Value, example: &str) -> Value {
    parameter["example"] = example.into();
    parameter
}

fn instant() -> Value {
    json!({"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]})
}

fn at_least() -> Value {
    let about = "Waits until the events at these positions, from 2xx answers, are in the answer; else 503.";
    query("at_least", json!({"type": "string", "pattern": POSITION}), about)
}

fn metrics_example() -> Value {
    json!({
        "event_name": "product_view", "from": 1_723_400_000, "to": 1_723_486_400, "grouped_by": "channel", "group_by": "channel",
        "total_events": 15420, "unique_users": 8905, "uniques": "exact",
        "data": [{"group": "web", "total_events": 10200, "unique_users": 5100}],
        "as_of": {"0": 1234}, "fresh": true, "took_ms": 3,
    })
}

fn stats_example() -> Value {
    json!({
        "site_id": "shop", "date": "2026-11-21", "total_views": 1024, "unique_users": 311,
        "top_paths": [{"path": "/pricing", "views": 200}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{buckets::Unit, metrics as counts, sql, stats as site};

    fn names(operation: &Value) -> Vec<&str> {
        let parameters = operation["parameters"].as_array().unwrap();
        parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_document_has_the_parameters_that_the_routes_read() {
        let mut schemas = SchemaGenerator::default();
        assert_eq!(names(&metrics(&mut schemas)), counts::PARAMETERS);
        assert_eq!(names(&stats(&mut schemas)), site::PARAMETERS);
        assert_eq!(names(&post_sql(&mut schemas)), sql::URL_PARAMETERS);
        assert_eq!(names(&get_sql(&mut schemas)), sql::GET_PARAMETERS);
        assert_eq!(sql_object()["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), sql::MEMBERS);
    }

    #[test]
    fn the_document_has_the_dimensions_that_there_are() {
        let units = Unit::ALL.iter().map(|(name, _)| *name);
        let known: Vec<&str> = units.chain(counts::DIMENSIONS.iter().map(|(name, _)| *name)).collect();
        let mut described: Vec<&str> = GROUPS.split('|').collect();
        assert!(known.iter().all(|name| described.contains(name)), "{known:?}");
        described.retain(|name| !known.contains(name));
        assert_eq!(described, Vec::<&str>::new());
    }
}
