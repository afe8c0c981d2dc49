//! What is asked: the statement, its parameters, and how the answer should be.

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderMap, Uri};
use datafusion::{common::ParamValues, scalar::ScalarValue};
use schemas::Position;
use serde_json::{Map, Number, Value};

use super::{BadStatement, format::Format};
use crate::{
    error::Error,
    params::{BadParameter, Params},
    suggest::nearest,
};

/// The parameters of `POST /sql`.
pub(crate) const URL_PARAMETERS: [&str; 4] = ["format", "timeout_ms", "max_rows", "at_least"];
/// The parameters of `GET /sql`.
pub(crate) const GET_PARAMETERS: [&str; 5] = ["q", "format", "timeout_ms", "max_rows", "at_least"];
/// The members of a JSON body.
pub(crate) const MEMBERS: [&str; 5] = ["sql", "params", "format", "timeout_ms", "max_rows"];

/// What the server allows a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest statement.
    pub(super) max_sql_bytes: usize,
    /// Most rows of an answer that has a limit.
    pub(super) max_rows: usize,
}

/// A valid request; the statement itself has not been looked at.
#[derive(Clone, Debug)]
pub(super) struct SqlRequest {
    /// The statement.
    pub(super) sql: String,
    /// The values of `$1` or `$name`.
    pub(super) params: Option<ParamValues>,
    /// The form of the answer.
    pub(super) format: Format,
    /// At most so long, if the client says so.
    pub(super) timeout: Option<Duration>,
    /// At most so many rows. `None` only for streams, which need no limit.
    pub(super) max_rows: Option<usize>,
    /// What must be visible.
    pub(super) at_least: Vec<Position>,
}

/// How the answer should be, as far as the client says.
#[derive(Default)]
struct Wishes {
    format: Option<Format>,
    timeout: Option<Duration>,
    max_rows: Option<usize>,
}

impl SqlRequest {
    /// Reads a body, SQL text or a JSON object, and the parameters of its URL, which win.
    pub(super) fn read_post(uri: &Uri, headers: &HeaderMap, body: &[u8], limits: Limits) -> Result<Self, Error> {
        let url = Params::read(uri, &URL_PARAMETERS)?;
        let text = std::str::from_utf8(body).map_err(|_| BadStatement::request("the body is not UTF-8 text"))?;
        let (sql, params, wishes) =
            if text.trim_start().starts_with('{') { read_object(text, limits)? } else { (text.to_owned(), None, Wishes::default()) };
        Self::new(sql, params, wishes, &url, headers, limits)
    }

    /// Reads the parameters of a URL.
    pub(super) fn read_get(uri: &Uri, headers: &HeaderMap, limits: Limits) -> Result<Self, Error> {
        let url = Params::read(uri, &GET_PARAMETERS)?;
        let sql = url.owned("q").ok_or_else(|| BadParameter::new("q", "is required: `/sql?q=SELECT count(*) FROM events`"))?;
        Self::new(sql, None, Wishes::default(), &url, headers, limits)
    }

    fn new(
        sql: String,
        params: Option<ParamValues>,
        body: Wishes,
        url: &Params,
        headers: &HeaderMap,
        limits: Limits,
    ) -> Result<Self, Error> {
        if sql.len() > limits.max_sql_bytes {
            return Err(BadStatement::too_long(sql.len(), limits.max_sql_bytes).into());
        }
        let format = match url.text("format").map(Format::named).transpose()?.or(body.format) {
            Some(format) => format,
            None => Format::accepted(headers)?,
        };
        let timeout = url.count("timeout_ms", usize::MAX)?.map(milliseconds).or(body.timeout);
        let max_rows = url.count("max_rows", limits.max_rows)?.or(body.max_rows);
        let max_rows = if format.is_stream() { max_rows } else { Some(max_rows.unwrap_or(limits.max_rows)) };
        Ok(Self { sql, params, format, timeout, max_rows, at_least: url.positions("at_least")? })
    }
}

fn milliseconds(number: usize) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(u64::MAX))
}

/// `{"sql","params","format","timeout_ms","max_rows"}`.
fn read_object(text: &str, limits: Limits) -> Result<(String, Option<ParamValues>, Wishes), Error> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| BadStatement::request(&format!("the body begins like a JSON object but is none: {error}")))?;
    if let Some(unknown) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let hint = nearest(unknown, MEMBERS).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        return Err(BadParameter::new(unknown, format!("is no member of a request{hint}")).into());
    }
    let Some(sql) = object.get("sql").and_then(Value::as_str) else {
        return Err(BadParameter::new("sql", "is required: `{\"sql\": \"SELECT count(*) FROM events\"}`").into());
    };
    let wishes = Wishes {
        format: object.get("format").map(|format| Format::named(format.as_str().unwrap_or_default())).transpose()?,
        timeout: count(&object, "timeout_ms", usize::MAX)?.map(milliseconds),
        max_rows: count(&object, "max_rows", limits.max_rows)?,
    };
    Ok((sql.to_owned(), param_values(object.get("params"))?, wishes))
}

fn count(object: &Map<String, Value>, name: &str, most: usize) -> Result<Option<usize>, BadParameter> {
    let Some(value) = object.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    match usize::from_str(&value.to_string()) {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(BadParameter::new(name, format!("{value} is no whole number from 1 to {most}"))),
    }
}

fn param_values(params: Option<&Value>) -> Result<Option<ParamValues>, BadParameter> {
    match params {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) => Ok(Some(ParamValues::from(values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?))),
        Some(Value::Object(values)) => {
            let values =
                values.iter().map(|(name, value)| Ok((name.as_str(), scalar(value)?))).collect::<Result<Vec<_>, BadParameter>>()?;
            Ok(Some(ParamValues::from(values)))
        }
        Some(_) => Err(BadParameter::new("params", "is a list for `$1`, `$2`, or an object for `$name`")),
    }
}

fn scalar(value: &Value) -> Result<ScalarValue, BadParameter> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(value) => Ok(ScalarValue::from(*value)),
        Value::String(text) => Ok(ScalarValue::from(text.as_str())),
        Value::Number(number) => Ok(exact(number)),
        Value::Array(_) | Value::Object(_) => Err(BadParameter::new("params", "takes texts, numbers, booleans and nulls")),
    }
}

fn exact(number: &Number) -> ScalarValue {
    match (number.as_i64(), number.as_u64()) {
        (Some(number), _) => ScalarValue::from(number),
        (None, Some(number)) => ScalarValue::from(number),
        (None, None) => ScalarValue::Float64(number.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_sql_bytes: 40, max_rows: 100 };

    fn post(url: &str, body: &str) -> Result<SqlRequest, Error> {
        SqlRequest::read_post(&url.parse().unwrap(), &HeaderMap::new(), body.as_bytes(), LIMITS)
    }

    fn refused(url: &str, body: &str) -> String {
        post(url, body).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_body_is_sql_text_or_a_json_object() {
        assert_eq!(post("/sql", "SELECT 1").unwrap().sql, "SELECT 1");
        let request = post("/sql", r#" {"sql":"SELECT $1","params":["x"],"format":"csv","timeout_ms":5,"max_rows":7}"#).unwrap();
        assert_eq!((request.sql.as_str(), request.format, request.max_rows), ("SELECT $1", Format::Csv, Some(7)));
        assert_eq!(request.timeout, Some(Duration::from_millis(5)));
        assert!(matches!(request.params, Some(ParamValues::List(values)) if values.len() == 1));
    }

    #[test]
    fn the_url_wins_over_the_body() {
        assert_eq!(post("/sql?format=json", r#"{"sql":"SELECT 1","format":"csv"}"#).unwrap().format, Format::Json);
    }

    #[test]
    fn a_document_has_a_row_limit_and_a_stream_only_when_asked() {
        assert_eq!(post("/sql?format=json", "SELECT 1").unwrap().max_rows, Some(100));
        assert_eq!(post("/sql?format=csv", "SELECT 1").unwrap().max_rows, None);
        assert_eq!(post("/sql?format=csv&max_rows=3", "SELECT 1").unwrap().max_rows, Some(3));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused("/sql", r#"{"sq":"SELECT 1"}"#).contains("did you mean `sql`?"));
        assert!(refused("/sql", r#"{"params":[]}"#).contains("`sql`: is required"));
        assert!(refused("/sql", "{").contains("JSON object"));
        assert!(refused("/sql", r#"{"sql":"SELECT 1","params":[[1]]}"#).contains("texts, numbers"));
        assert!(refused("/sql?max_rows=101", "SELECT 1").contains("from 1 to 100"));
        assert!(refused("/sql", &"x".repeat(41)).contains("41 bytes"));
        assert!(SqlRequest::read_get(&"/sql".parse().unwrap(), &HeaderMap::new(), LIMITS).is_err());
    }
}
