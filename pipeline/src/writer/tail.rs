//! Shows the tails of this process: by a call to the queries in the same process, over HTTP to those in others.
//!
//! `GET /tail` answers with the bytes of [`TailPart::encode`] for every shard of this process: the next rows of each, about 8 MiB. The
//! reader asks again until each is whole. `known=<shard>:<run>:<sequence>,..` says what it has, so it gets the rows above those of the same
//! run; `at_least=<shard>:<sequence>` waits a moment for that sequence.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use schemas::{Position, Sequence, ShardId};
use serde::Deserialize;
use service::{http::Route, keys::Scope, problem::Problem};
use table::{TailPart, TailUnavailable, TailView, Tails};
use tokio::{sync::watch, time::timeout};

const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";
/// How long a reader is kept waiting for a sequence before it gets what there is.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the route of [`Board::router`] needs.
pub const ROUTES: [Route; 1] = [Route::needs("/tail", Scope::Admin)];

/// Of each table: a reader has it in a moment also from a busy machine, and neither side needs much memory for it.
const PART_BYTES: usize = 8 << 20;

/// Where the writer of a shard shows its tail: absent until it has read the table, not whole until it has read what was shown before.
pub(super) type Sign = watch::Sender<Option<TailPart>>;

/// The tails of the shards that this process writes. Clones show the same.
#[derive(Clone)]
pub struct Board(Arc<BTreeMap<ShardId, watch::Receiver<Option<TailPart>>>>);

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
        let part = self.part(shard)?;
        part.whole()
            .cloned()
            .ok_or_else(|| TailUnavailable { reason: format!("the writer of shard {shard} reads again what it had shown") })
    }

    fn part(&self, shard: ShardId) -> Result<TailPart, TailUnavailable> {
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
            let _ = timeout(PATIENCE, shown.wait_for(|part| part.as_ref().is_some_and(|part| part.head() >= at_least))).await;
        }
    }
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    known: String,
    at_least: Option<String>,
}

/// What a reader has of a run.
struct Known {
    shard: ShardId,
    run: u64,
    head: Sequence,
}

impl FromStr for Known {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let known = match parts[..] {
            [shard, run, head] => shard.parse().ok().zip(run.parse().ok()).zip(head.parse().ok()),
            _ => None,
        };
        let known = known.map(|((shard, run), head)| Self { shard: ShardId(shard), run, head: Sequence(head) });
        known.ok_or_else(|| invalid("known", format!("`{text}` is not `shard:run:sequence`, such as `0:7:1234`")))
    }
}

async fn tail(State(board): State<Board>, Query(question): Query<Question>) -> Result<Response, Problem> {
    let known: Vec<Known> = question.known.split(',').filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    if let Some(at_least) = question.at_least {
        let position = Position::from_str(&at_least).map_err(|error| invalid("at_least", error.to_string()))?;
        board.reached(position.shard, position.sequence).await;
    }
    let mut bytes = Vec::new();
    for shard in board.0.keys() {
        let part = board.part(*shard).map_err(unavailable)?;
        let has = known.iter().find(|known| known.shard == *shard && known.run == part.run());
        let next = part.next(has.map_or(Sequence::ZERO, |known| known.head), PART_BYTES);
        bytes.extend(next.encode().map_err(|error| Problem::internal(&error))?);
    }
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response())
}

fn invalid(parameter: &str, detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail).with_extension("parameter", parameter)
}

fn unavailable(error: TailUnavailable) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tail_unavailable", error.reason).with_retry_after(1)
}
