//! Why a question has no answer, named by what the client should do next, and how each is told.

use std::{sync::Arc, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use datafusion::{arrow::error::ArrowError, common::DataFusionError};
use service::problem::Problem;

use crate::{cut::PinError, params::BadParameter, sql::BadStatement};

const UNAVAILABLE: &str = "the tables cannot be read at the moment; send the request again, and if it stays so, an operator finds the cause with `tidemark doctor`";
/// Seconds after which a request that came at a bad moment may be sent again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Correct the parameter.
    #[error(transparent)]
    Parameter(#[from] BadParameter),
    /// Correct the statement.
    #[error(transparent)]
    Statement(#[from] BadStatement),
    /// Ask again later for this position, or now without it.
    #[error("position not visible")]
    NotVisible(#[source] PinError),
    /// Ask for less.
    #[error("the query did not end within {after:?}")]
    TimedOut { after: Duration },
    /// Somebody ended it with `DELETE /sql/{query_id}`.
    #[error("the query was cancelled")]
    Cancelled,
    /// Ask again when another query has ended.
    #[error("{most} queries are running")]
    TooMany { most: usize },
    /// Ask for less, or give queries more memory.
    #[error("the memory for queries is used up")]
    OutOfMemory(#[source] DataFusionError),
    /// The store of the tables failed: ask again.
    #[error("the tables cannot be read")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A defect of ours.
    #[error("the query engine failed")]
    Engine(#[source] DataFusionError),
    /// A defect of ours: a query panicked.
    #[error("a query ended without an answer")]
    Panicked(#[source] tokio::task::JoinError),
    /// A defect of ours, or a stop of the process: the rest of a stream does not come.
    #[error("the rest of an answer does not come")]
    BrokenOff,
    /// A defect of ours: an answer cannot be written.
    #[error("an answer cannot be written")]
    Unwritable(#[source] serde_json::Error),
}

impl From<PinError> for Error {
    fn from(error: PinError) -> Self {
        match error {
            PinError::NotVisible { .. } => Self::NotVisible(error),
            PinError::Table(source) => Self::Unavailable(Arc::new(source)),
        }
    }
}

impl From<DataFusionError> for Error {
    /// For plans of our own: whatever is wrong with them is not the client's fault.
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::OutOfMemory(error),
            root if is_of_the_store(root) => Self::Unavailable(Arc::new(error)),
            _ => Self::Engine(error),
        }
    }
}

/// Whether reading failed, and not the query.
pub(crate) fn is_of_the_store(root: &DataFusionError) -> bool {
    match root {
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) | DataFusionError::External(_) => {
            true
        }
        DataFusionError::ArrowError(error, _) => matches!(
            **error,
            ArrowError::ExternalError(_) | ArrowError::IoError(..) | ArrowError::ParquetError(_) | ArrowError::IpcError(_)
        ),
        _ => false,
    }
}

impl Error {
    /// The kind of error, for metrics.
    pub(crate) const fn result(&self) -> &'static str {
        match self {
            Self::Parameter(_) | Self::Statement(_) => "invalid",
            Self::NotVisible(_) => "not_visible",
            Self::TimedOut { .. } => "timeout",
            Self::Cancelled => "cancelled",
            Self::TooMany { .. } => "too_many",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Unavailable(_) => "unavailable",
            Self::Engine(_) | Self::Panicked(_) | Self::BrokenOff | Self::Unwritable(_) => "failed",
        }
    }

    /// The answer of the contract.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Parameter(error) => Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", error.to_string())
                .with_extension("parameter", error.name.as_str()),
            Self::Statement(error) => error.problem(),
            Self::NotVisible(source) => {
                let detail = format!("{source}; ask again, or without `at_least`");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "position_not_visible", detail).with_retry_after(RETRY_AFTER_SECONDS)
            }
            Self::TimedOut { after } => {
                let detail = format!(
                    "the query was stopped after {after:?}; ask about a shorter time range or with a filter, or raise `query.timeout`"
                );
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "query_timeout", detail).with_retry_after(RETRY_AFTER_SECONDS)
            }
            Self::Cancelled => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "query_cancelled", "the query was ended by `DELETE /sql/{query_id}`")
            }
            Self::TooMany { most } => {
                let detail =
                    format!("{most} SQL queries are running, and `query.max_queries` allows no more; ask again when one has ended");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_queries", detail).with_retry_after(RETRY_AFTER_SECONDS)
            }
            Self::OutOfMemory(_) => {
                let detail = "the query needs more memory than `query.memory` leaves it; ask about a shorter time range, group by less, use `approx_distinct` or `uniques=approx`, or raise the setting";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "out_of_memory", detail)
            }
            Self::Unavailable(source) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tables_unavailable", UNAVAILABLE)
                .with_retry_after(RETRY_AFTER_SECONDS)
                .with_cause(chain(source.as_ref())),
            Self::Engine(_) | Self::Panicked(_) | Self::BrokenOff | Self::Unwritable(_) => Problem::internal(self),
        }
    }
}

/// An error with all its sources, for the log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}
