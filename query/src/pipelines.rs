//! The tails of pipelines in other processes, over their internal ports.
//!
//! What was got once is kept: the next request of the same run asks only for the rows above it, and what the pipeline has committed
//! since is dropped.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::try_join_all;
use schemas::{Sequence, ShardId};
use service::{keys, settings::Secret};
use table::{TailUnavailable, TailView, Tails};

/// A pipeline in the same network answers in milliseconds; one that does not is as good as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks pipelines by HTTP.
pub struct Pipelines {
    client: reqwest::Client,
    pipelines: Vec<Pipeline>,
}

struct Pipeline {
    url: String,
    known: Mutex<BTreeMap<ShardId, TailView>>,
}

impl Pipelines {
    /// The pipelines at these addresses (`http://host:9182`), which together have every shard, asked with this key; nothing for no
    /// address.
    ///
    /// # Errors
    /// When the HTTP client cannot start.
    pub fn new(urls: &[String], key: &Secret) -> reqwest::Result<Option<Self>> {
        let headers = keys::headers(key);
        let client = reqwest::Client::builder().timeout(PATIENCE).connect_timeout(PATIENCE).default_headers(headers).build()?;
        let pipeline = |url: &String| Pipeline { url: url.trim_end_matches('/').to_owned(), known: Mutex::default() };
        let pipelines: Vec<Pipeline> = urls.iter().map(pipeline).collect();
        Ok((!pipelines.is_empty()).then_some(Self { client, pipelines }))
    }
}

#[async_trait]
impl Tails for Pipelines {
    async fn views(&self) -> Result<Vec<TailView>, TailUnavailable> {
        let views = try_join_all(self.pipelines.iter().map(|pipeline| pipeline.views(&self.client))).await?;
        Ok(views.into_iter().flatten().collect())
    }

    async fn reached(&self, shard: ShardId, at_least: Sequence) {
        for pipeline in &self.pipelines {
            let run = pipeline.known().get(&shard).map(|view| view.run);
            if let Some(run) = run {
                let nothing_but_the_wait = [("shard", u64::from(shard.0)), ("run", run), ("after", u64::MAX), ("at_least", at_least.0)];
                // Whatever comes of it, the caller looks at the views next.
                let _ = pipeline.ask(&self.client, &nothing_but_the_wait).await;
            }
        }
    }
}

impl Pipeline {
    /// The views of this pipeline's shards: what is known of them, and what is new.
    async fn views(&self, client: &reqwest::Client) -> Result<Vec<TailView>, TailUnavailable> {
        let known = std::mem::take(&mut *self.known());
        let views = if known.is_empty() {
            self.ask(client, &[]).await?
        } else {
            try_join_all(known.values().map(|earlier| self.continued(client, earlier))).await?
        };
        *self.known() = views.iter().map(|view| (view.shard, view.clone())).collect();
        Ok(views)
    }

    async fn continued(&self, client: &reqwest::Client, earlier: &TailView) -> Result<TailView, TailUnavailable> {
        let parameters = [("shard", u64::from(earlier.shard.0)), ("run", earlier.run), ("after", earlier.head.0)];
        let view = self.ask(client, &parameters).await?.pop();
        Ok(view.ok_or_else(|| self.unavailable("it answers nothing"))?.continuing(earlier))
    }

    async fn ask(&self, client: &reqwest::Client, parameters: &[(&str, u64)]) -> Result<Vec<TailView>, TailUnavailable> {
        let request = client.get(format!("{}/tail", self.url)).query(parameters);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(|error| self.unavailable(error))?;
        let bytes = answer.bytes().await.map_err(|error| self.unavailable(error))?;
        TailView::decode_all(&bytes).map_err(|error| self.unavailable(error))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, TailView>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> TailUnavailable {
        TailUnavailable { reason: format!("`{}`: {reason}", self.url) }
    }
}
