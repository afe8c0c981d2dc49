//! Shows the tails of this process: by a call to the queries in the same process, over HTTP to those in others.
//!
//! `GET /tail` answers with the bytes of [`TailView::encode`] of every shard of this process. `shard=0&run=..&after=<sequence>` asks
//! for the rows of one shard above those that the reader has of the same run; `at_least=<sequence>` waits a moment for that sequence.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use schemas::{Sequence, ShardId};
use serde::Deserialize;
use service::{http::Route, keys::Scope, problem::Problem};
use table::{TailUnavailable, TailView, Tails};
use tokio::{sync::watch, time::timeout};

const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";
/// How long a reader is kept waiting for a sequence before it gets what there is.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the route of [`Board::router`] needs.
pub const ROUTES: [Route; 1] = [Route::needs("/tail", Scope::Admin)];

/// Where the writer of a shard shows its tail: absent until it has read the table.
pub(super) type Sign = watch::Sender<Option<TailView>>;

/// The tails of the shards that this process writes. Clones show the same.
#[derive(Clone)]
pub struct Board(Arc<BTreeMap<ShardId, watch::Receiver<Option<TailView>>>>);

impl Board {
    /// A board and the sign of each shard.
    pub(super) fn new(shards: u16) -> (Self, Vec<(ShardId, Sign)>) {
        let (signs, shown): (Vec<_>, BTreeMap<_, _>) = (0..shards)
            .map(|shard| {
                let (sign, shown) = watch::channel(None);
                ((ShardId(shard), sign), (ShardId(shard), shown))
            })
            .unzip();
        (Self(Arc::new(shown)), signs)
    }

    /// `GET /tail`, for the internal port.
    pub fn router(&self) -> Router {
        Router::new().route("/tail", get(tail)).with_state(self.clone())
    }

    /// Whether the writer of a shard is at work in this process.
    pub(crate) fn shows(&self, shard: ShardId) -> bool {
        self.view(shard).is_ok()
    }

    fn view(&self, shard: ShardId) -> Result<TailView, TailUnavailable> {
        let unavailable = |reason: String| TailUnavailable { reason };
        let shown = self.0.get(&shard).ok_or_else(|| unavailable(format!("shard {shard} has no writer here")))?;
        shown.borrow().clone().ok_or_else(|| unavailable(format!("the writer of shard {shard} has not read the table yet")))
    }
}

#[async_trait]
impl Tails for Board {
    async fn views(&self) -> Result<Vec<TailView>, TailUnavailable> {
        self.0.keys().map(|shard| self.view(*shard)).collect()
    }

    async fn reached(&self, shard: ShardId, at_least: Sequence) {
        if let Some(shown) = self.0.get(&shard) {
            let mut shown = shown.clone();
            // Whatever ends the wait, the reader looks at what there is then.
            let _ = timeout(PATIENCE, shown.wait_for(|view| view.as_ref().is_some_and(|view| view.head >= at_least))).await;
        }
    }
}

#[derive(Deserialize)]
struct Question {
    shard: Option<u16>,
    run: Option<u64>,
    after: Option<u64>,
    at_least: Option<u64>,
}

impl Question {
    /// The part of a view that the reader does not have.
    fn part(&self, view: TailView) -> TailView {
        match (self.run, self.after) {
            (Some(run), Some(after)) if run == view.run => view.rows_after(Sequence(after)),
            _ => view,
        }
    }
}

async fn tail(State(board): State<Board>, Query(question): Query<Question>) -> Result<Response, Problem> {
    let shard = question.shard.map(ShardId);
    if let (Some(shard), Some(at_least)) = (shard, question.at_least) {
        board.reached(shard, Sequence(at_least)).await;
    }
    let views = match shard {
        Some(shard) => board.view(shard).map(|view| vec![question.part(view)]),
        None => board.views().await,
    };
    let mut bytes = Vec::new();
    for view in views.map_err(unavailable)? {
        bytes.extend(view.encode().map_err(|error| Problem::internal(&error))?);
    }
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response())
}

fn unavailable(error: TailUnavailable) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tail_unavailable", error.reason).with_retry_after(1)
}
