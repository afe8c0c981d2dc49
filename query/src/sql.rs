//! `POST /sql` and `GET /sql?q=`: any read-only question, in SQL.
//!
//! [`request`] reads what is asked -> [`gate`] lets one read-only statement through -> [`plan`] makes it a plan over one cut
//! -> [`answer`] runs it and sends the rows, encoded by [`encode`] in the [`mod@format`] that the client wants. What goes wrong on
//! the way is told by [`fault`], with line, column and a hint.

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use service::{keys::Caller, problem::Problem};

use self::request::{Limits, SqlRequest};
use crate::{Query, error::Error, measures::measured, statements::QueryId};

mod answer;
mod depth;
mod encode;
mod expansion;
mod fault;
mod format;
mod gate;
mod over;
mod plan;
mod request;
mod twice;

#[cfg(test)]
pub(crate) use self::request::{GET_PARAMETERS, MEMBERS, URL_PARAMETERS};
pub(crate) use self::{fault::BadStatement, format::Format};

/// How much a JSON body may add to the statement: parameters.
pub(crate) const MAX_PARAMETERS_BYTES: usize = 1 << 20;

/// `POST /sql`.
pub(crate) async fn post(
    State(query): State<Query>,
    uri: Uri,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let respond = async {
        let body = body.map_err(|rejection| BadStatement::body(&rejection))?;
        let request = SqlRequest::read_post(&uri, &headers, &body, limits(&query))?;
        answer::answer(query, request, QueryId::of(&headers, caller.as_deref())?).await
    };
    measured("sql", respond).await
}

/// `GET /sql?q=`.
pub(crate) async fn get(
    State(query): State<Query>,
    uri: Uri,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let respond = async {
        let request = SqlRequest::read_get(&uri, &headers, limits(&query))?;
        answer::answer(query, request, QueryId::of(&headers, caller.as_deref())?).await
    };
    measured("sql", respond).await
}

/// `DELETE /sql/{query_id}`.
pub(crate) async fn cancel(
    State(query): State<Query>,
    caller: Option<Extension<Caller>>,
    Path(query_id): Path<String>,
) -> Result<StatusCode, Problem> {
    if query.statements().cancel(&QueryId::named(query_id, caller.as_deref())) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = "no query of this id and key is running; it may have ended, or run in another process";
    Err(Problem::new(StatusCode::NOT_FOUND, "no_such_query", detail))
}

fn limits(query: &Query) -> Limits {
    Limits { max_sql_bytes: query.max_sql_bytes(), max_rows: query.max_rows() }
}
