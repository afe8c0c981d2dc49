//! The signal that ends a query.

use tokio_util::sync::CancellationToken;

/// The signal that ends one query. Clones are the same signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(CancellationToken);

impl Cancel {
    /// Ends the query.
    pub(crate) fn give(&self) {
        self.0.cancel();
    }

    /// Whether it is over.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is given.
    pub(crate) async fn given(&self) {
        self.0.cancelled().await;
    }
}
