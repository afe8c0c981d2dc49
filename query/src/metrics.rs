//! `GET /metrics`: totals and unique users over a time range, filtered and grouped.
//!
//! ```text
//! parameters -> question -> shape -+-> tail: rows --------------------------------------------+
//!                                  +-> each file: kept | summary and edges | rows -----------+-> sum -> answer
//!                                  +-> days that are over: kept | the same of their files ---+
//! ```
//!
//! [`question`] reads the parameters; what it asks of every row is its [`shape`]. [`files`] counts each file once, from its summary
//! where that tells enough, else from its [`rows`]; the exact users of days that are over are the [`past`]. [`mod@count`] adds these
//! and the tail to a [`sum`]; [`mod@answer`] puts it into the shape of the contract. [`tally`] holds counts, [`users`] the sets of
//! users in them; [`kept`] is what the next question finds. Who would make the same at the same time takes [`turns`].

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::Uri, response::Response};

use self::{
    answer::arrange,
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
mod count;
mod files;
mod kept;
mod past;
mod question;
mod rows;
mod shape;
mod sum;
mod tally;
mod turns;
mod users;

#[cfg(test)]
pub(crate) use self::question::{DIMENSIONS, PARAMETERS};
pub(crate) use self::{
    answer::{Key, Measured, MetricsAnswer},
    count::count,
    files::FileTallies,
    question::{Dimension, Filters, Uniques},
    shape::Shape,
};

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
    let shape = Arc::new(Shape::of(&question));
    let range_us = (question.from.0, question.to.0);
    let (totals, groups) = count(query.engine(), query.tallies(), &cut, &shape, range_us).await?;
    let (groups, is_truncated) = arrange(groups, &question)?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = MetricsAnswer::new(&question, &cut, &totals, &groups, took_ms);
    Ok((cut, answer, is_truncated))
}
