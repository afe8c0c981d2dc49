//! The answer to one statement: rows as bytes, and what its head says about them.

use anyhow::Context;
use bytes::Bytes;
use http::HeaderMap;
use reqwest::Response;

use crate::client::{self, NOT_FRESH};

const TRUNCATED: &str = "there are more rows than `query.max_rows` allows here; csv, tsv and jsonl have no such limit";

/// Rows that are on their way.
pub(super) struct Answer(Response);

impl Answer {
    /// The good answer to a request.
    pub(super) const fn new(response: Response) -> Self {
        Self(response)
    }

    /// What one should know about the rows.
    pub(super) fn notes(&self) -> impl Iterator<Item = &'static str> {
        notes(self.0.headers())
    }

    /// The next bytes.
    ///
    /// # Errors
    /// The rest does not come.
    pub(super) async fn chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        self.0.chunk().await.context("the answer broke off; its last rows are missing")
    }

    /// All bytes, which must be text.
    pub(super) async fn text(&mut self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend(chunk);
        }
        String::from_utf8(bytes).context("the answer is not UTF-8 text")
    }
}

fn notes(headers: &HeaderMap) -> impl Iterator<Item = &'static str> + use<> {
    let missing = client::is_stale(headers).then_some(NOT_FRESH);
    missing.into_iter().chain(client::is_truncated(headers).then_some(TRUNCATED))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn noted(fresh: &'static str, truncated: &'static str) -> Vec<&'static str> {
        let headers = [("tidemark-fresh", fresh), ("x-truncated", truncated)];
        let headers: HeaderMap =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        notes(&headers).collect()
    }

    #[test]
    fn rows_that_are_missing_are_noted() {
        assert_eq!(noted("true", "false"), [""; 0]);
        assert_eq!(noted("false", "false"), [NOT_FRESH]);
        assert_eq!(noted("true", "true"), [TRUNCATED]);
        assert_eq!(notes(&HeaderMap::new()).count(), 0, "an older server says neither");
    }
}
