//! Running a statement and sending its rows.
//!
//! An answer with a row limit is buffered, so its headers know everything and a failure is a clean error. One without is a
//! stream: rows leave while later ones are computed, through a channel of two chunks; a failure after the first byte breaks
//! the transfer and never ends it cleanly. Either way everything runs on the queries' threads and is aborted when the client goes away.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use bytes::Bytes;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::Schema},
    execution::{SendableRecordBatchStream, memory_pool::MemoryConsumer},
};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::{BadStatement, encode::Encoder, fault, format::Format, gate, plan, request::SqlRequest};
use crate::{
    Query,
    cancel::Cancel,
    cut::Cut,
    engine::{Deadline, Lane},
    error::Error,
    reply::{self, X_TRUNCATED},
    statements::{Place, QueryId, X_QUERY_ID},
};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// How many chunks wait for a slow client.
const CHUNKS_WAITING: usize = 2;

/// Bytes of a body, or `None` after the last of them.
type Chunk = Result<Option<Bytes>, Error>;

/// A statement that has begun to run.
struct Running {
    cut: Cut,
    rows: SendableRecordBatchStream,
    encoder: Encoder,
    cancel: Cancel,
    timing: Timing,
    _place: Place,
}

/// Where the time went.
#[derive(Clone, Copy)]
struct Timing {
    pinned: Duration,
    planned: Duration,
    began: Instant,
}

/// An answer without its body.
struct Head {
    query_id: QueryId,
    format: Format,
    cut: Cut,
    timing: Timing,
    is_truncated: bool,
}

/// Answers a request.
pub(super) async fn answer(query: Query, request: SqlRequest, query_id: QueryId) -> Result<Response, Error> {
    let limit = query.engine().timeout(request.timeout);
    let format = request.format;
    tracing::debug!(query_id = query_id.as_str(), ?format, sql_bytes = request.sql.len(), "query");
    let place = query.statements().enter(query_id.clone())?;
    let cancel = place.cancel();
    match request.max_rows {
        Some(max_rows) => {
            let work = document(query.clone(), request, max_rows, place);
            let (cut, timing, is_truncated, body) = query.engine().run(Lane::Sql, limit, cancel, work).await?;
            Ok(Head { query_id, format, cut, timing, is_truncated }.with(Body::from(body)))
        }
        None => {
            let deadline = Deadline::after(limit, cancel.clone());
            let work = first_chunk(query.clone(), request, place);
            let (running, first) = query.engine().run(Lane::Sql, limit, cancel, work).await?;
            let head = Head { query_id: query_id.clone(), format, cut: running.cut.clone(), timing: running.timing, is_truncated: false };
            Ok(head.with(rest(&query, running, first, deadline, query_id)))
        }
    }
}

async fn run(query: &Query, request: SqlRequest, place: Place) -> Result<Running, Error> {
    let (began, cancel) = (Instant::now(), place.cancel());
    let statement = gate::parse(&request.sql)?;
    let cut = query.pin_at_least(&request.at_least).await?;
    let pinned = began.elapsed();
    let frame = plan::plan(query.sessions().over(&cut, cancel.clone())?, statement, request.params).await?;
    let rows = frame.execute_stream().await.map_err(fault::of_run)?;
    if request.format.needs_distinct_names() {
        check_names(&rows.schema())?;
    }
    let encoder = Encoder::new(request.format, &rows.schema())?;
    Ok(Running { cut, rows, encoder, cancel, timing: Timing { pinned, planned: began.elapsed() - pinned, began }, _place: place })
}

fn check_names(schema: &Schema) -> Result<(), BadStatement> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(BadStatement::same_name(pair[0])),
        None => Ok(()),
    }
}

/// At most `max_rows` rows as one body, and whether there were more. What waits to be encoded counts as memory of queries.
async fn document(query: Query, request: SqlRequest, max_rows: usize, place: Place) -> Result<(Cut, Timing, bool, Bytes), Error> {
    let mut running = run(&query, request, place).await?;
    let waiting = MemoryConsumer::new("answer").register(query.engine().memory(Lane::Sql));
    let mut body = Vec::from(running.encoder.write(&RecordBatch::new_empty(running.rows.schema()))?);
    let (mut rows, mut is_truncated) = (0, false);
    while let Some(batch) = running.next().await? {
        let left = max_rows - rows;
        is_truncated = batch.num_rows() > left;
        let batch = batch.slice(0, batch.num_rows().min(left));
        rows += batch.num_rows();
        waiting.try_grow(batch.get_array_memory_size())?;
        body.extend(running.encoder.write(&batch)?);
        if is_truncated {
            break;
        }
    }
    body.extend(running.encoder.finish()?);
    Ok((running.cut, running.timing, is_truncated, body.into()))
}

impl Running {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        self.rows.next().await.transpose().map_err(fault::of_run)
    }

    /// The next bytes; `None` when all rows are encoded.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(batch) = self.next().await? {
            let chunk = self.encoder.write(&batch)?;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Sends what is still to come, and `None` as the sign that this was all; ends early when nobody wants it any more.
    async fn send(mut self, chunks: &mpsc::Sender<Chunk>) -> Result<(), Error> {
        while let Some(chunk) = self.next_chunk().await? {
            if chunks.send(Ok(Some(chunk))).await.is_err() {
                return Ok(());
            }
        }
        for chunk in [Some(self.encoder.finish()?), None] {
            // Nobody to tell when the client has gone away.
            let _ = chunks.send(Ok(chunk)).await;
        }
        Ok(())
    }
}

/// The header and the first rows: what goes wrong until here is still a clean error.
async fn first_chunk(query: Query, request: SqlRequest, place: Place) -> Result<(Running, Vec<Bytes>), Error> {
    let mut running = run(&query, request, place).await?;
    let header = running.encoder.write(&RecordBatch::new_empty(running.rows.schema()))?;
    let first = running.next_chunk().await?;
    Ok((running, [Some(header), first].into_iter().flatten().collect()))
}

/// The body of a stream. It owns the task, so dropping the body ends the query.
///
/// The deadline is kept on both sides: by the body for a query that computes without waiting, by the task for a client that does
/// not read.
fn rest(query: &Query, running: Running, first: Vec<Bytes>, deadline: Deadline, query_id: QueryId) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let of_task = deadline.clone();
    let task = query.engine().spawn(Lane::Sql, running.cancel.clone(), async move {
        if let Err(error) = of_task.keep(running.send(&sender)).await.and_then(|sent| sent) {
            tracing::warn!(query_id = query_id.as_str(), error = &error as &dyn std::error::Error, "an answer broke off");
            // Nobody to tell when the client has gone away.
            let _ = sender.send(Err(error)).await;
        }
    });
    let later = later(receiver, deadline, task);
    Body::from_stream(stream::iter(first.into_iter().map(Ok)).chain(later))
}

/// The chunks that a task sends, up to its sign that these were all. When it ends without, the last item is an error.
fn later<T>(receiver: mpsc::Receiver<Chunk>, deadline: Deadline, task: T) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::unfold(Some((receiver, task, deadline)), move |source| async move {
        let (mut receiver, task, deadline) = source?;
        let next = deadline.keep(receiver.recv()).await.and_then(|chunk| chunk.unwrap_or(Err(Error::BrokenOff)));
        match next {
            Ok(chunk) => Some((Ok(chunk?), Some((receiver, task, deadline)))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Head {
    fn with(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        reply::describe(&self.cut, headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()));
        headers.insert(X_TRUNCATED, reply::flag(self.is_truncated));
        let text = |text: String| HeaderValue::try_from(text).expect("ASCII letters, digits and signs are a header value");
        headers.insert(X_QUERY_ID, text(self.query_id.as_str().to_owned()));
        headers.insert(SERVER_TIMING, text(self.timing.to_string()));
        response
    }
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(f, "pin;dur={:.1}, plan;dur={:.1}, total;dur={:.1}", ms(self.pinned), ms(self.planned), ms(self.began.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn received(chunks: Vec<Chunk>, limit: Duration) -> Vec<Result<Bytes, Error>> {
        let (sender, receiver) = mpsc::channel(8);
        for chunk in chunks {
            sender.send(chunk).await.unwrap();
        }
        later(receiver, Deadline::after(limit, Cancel::default()), sender).collect().await
    }

    #[tokio::test]
    async fn a_body_ends_cleanly_only_after_the_sign() {
        let whole = received(vec![Ok(Some("a".into())), Ok(None)], Duration::from_secs(5)).await;
        assert!(matches!(&whole[..], [Ok(a)] if a == "a"));
    }

    #[tokio::test]
    async fn a_task_that_is_gone_without_the_sign_breaks_the_body() {
        let (sender, receiver) = mpsc::channel(8);
        sender.send(Ok(Some("a".into()))).await.unwrap();
        drop(sender);
        let broken: Vec<_> = later(receiver, Deadline::after(Duration::from_secs(5), Cancel::default()), ()).collect().await;
        assert!(matches!(&broken[..], [Ok(_), Err(Error::BrokenOff)]), "a panic must not look like the end");
    }

    #[tokio::test]
    async fn a_task_that_says_nothing_in_time_breaks_the_body() {
        let late = received(vec![Ok(Some("a".into()))], Duration::from_millis(20)).await;
        assert!(matches!(&late[..], [Ok(_), Err(Error::TimedOut { .. })]));
    }
}
