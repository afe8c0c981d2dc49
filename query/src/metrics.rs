//! `GET /metrics`: totals and unique users over a time range, filtered and grouped.
//!
//! [`question`] reads the parameters into a [`MetricsQuestion`]; [`plan`] turns it into DataFusion plans, built from
//! expressions and never from text; [`answer`] puts the rows into the shape of the contract.

use std::time::Instant;

use axum::{extract::State, http::Uri, response::Response};
use futures::try_join;

use self::{
    answer::{Measured, arrange},
    question::{Limits, MetricsQuestion},
};
use crate::{
    Query,
    cancel::Cancel,
    cut::Cut,
    engine::Lane,
    error::Error,
    measures::measured,
    reply::{self, X_TRUNCATED},
};

mod answer;
mod plan;
mod question;

pub(crate) use self::answer::MetricsAnswer;
#[cfg(test)]
pub(crate) use self::question::{DIMENSIONS, PARAMETERS};

/// The route.
pub(crate) async fn get(State(query): State<Query>, uri: Uri) -> Result<Response, Error> {
    measured("metrics", respond(query, uri)).await
}

async fn respond(query: Query, uri: Uri) -> Result<Response, Error> {
    let began = Instant::now();
    let question = MetricsQuestion::read(&uri, Limits { now: query.now(), max_groups: query.max_rows() })?;
    let limit = query.engine().timeout(None);
    let answered = answer(query.clone(), question, began);
    let (cut, answer, is_truncated) = query.engine().run(Lane::Metrics, limit, Cancel::default(), answered).await?;
    let mut response = reply::json(&cut, &answer)?;
    response.headers_mut().insert(X_TRUNCATED, reply::flag(is_truncated));
    Ok(response)
}

async fn answer(query: Query, question: MetricsQuestion, began: Instant) -> Result<(Cut, MetricsAnswer, bool), Error> {
    let cut = query.pin_at_least(&question.at_least).await?;
    let (totals, groups) = try_join!(totals(&query, &cut, &question), groups(&query, &cut, &question))?;
    let (groups, is_truncated) = arrange(groups, &question)?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = MetricsAnswer::new(&question, &cut, &totals, &groups, took_ms);
    Ok((cut, answer, is_truncated))
}

async fn totals(query: &Query, cut: &Cut, question: &MetricsQuestion) -> Result<Measured, Error> {
    let rows = plan::totals(query.sessions().events(cut)?, question)?.collect().await?;
    Ok(Measured::read(&rows, 0).pop().unwrap_or_default())
}

async fn groups(query: &Query, cut: &Cut, question: &MetricsQuestion) -> Result<Vec<Measured>, Error> {
    if question.group_by.is_empty() {
        return Ok(Vec::new());
    }
    let rows = plan::groups(query.sessions().events(cut)?, question)?.collect().await?;
    Ok(Measured::read(&rows, question.group_by.len()))
}
