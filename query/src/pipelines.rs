//! The tails of pipelines in other processes, over their internal ports.
//!
//! What was got once is kept, also when more does not come in time: the next request of the same run asks only for the rows above it,
//! and what the pipeline has committed since is dropped. A pipeline that is gone, or shows nothing, ends its run.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::try_join_all;
use schemas::{Sequence, ShardId};
use service::{keys, settings::Secret};
use table::{TailPart, TailUnavailable, TailView, Tails};
use tokio::time::timeout;

/// A pipeline in the same network answers in milliseconds; one that does not is as good as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks pipelines by HTTP.
pub struct Pipelines {
    client: reqwest::Client,
    pipelines: Vec<Pipeline>,
}

struct Pipeline {
    url: String,
    known: Mutex<BTreeMap<ShardId, TailPart>>,
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
        let views = self.pipelines.iter().map(|pipeline| async {
            // All parts together: what has come by then is kept.
            let views = timeout(PATIENCE, pipeline.views(&self.client)).await;
            views.unwrap_or_else(|_elapsed| Err(pipeline.unavailable("more of its tail is to come")))
        });
        Ok(try_join_all(views).await?.into_iter().flatten().collect())
    }

    async fn reached(&self, shard: ShardId, at_least: Sequence) {
        for pipeline in &self.pipelines {
            let known = pipeline.known().clone();
            if let Some(part) = known.get(&shard) {
                // What a pipeline reads again is fetched meanwhile.
                let wait = format!("{shard}:{}", if part.is_behind() { part.head().next() } else { at_least });
                let nothing_but_the_wait = heads(known.values().map(|part| (part, Sequence(u64::MAX))));
                // Whatever comes of it, the caller looks at the views next.
                let _ = pipeline.ask(&self.client, &[("known", &nothing_but_the_wait), ("at_least", &wait)]).await;
            }
        }
    }
}

/// What a reader has, as a pipeline is told.
fn heads<'a>(known: impl Iterator<Item = (&'a TailPart, Sequence)>) -> String {
    known.map(|(part, head)| format!("{}:{}:{head}", part.shard(), part.run())).collect::<Vec<_>>().join(",")
}

impl Pipeline {
    /// The views of this pipeline's shards: what is known of them, and what is new.
    async fn views(&self, client: &reqwest::Client) -> Result<Vec<TailView>, TailUnavailable> {
        loop {
            let known = self.known().clone();
            let heads = heads(known.values().map(|part| (part, part.head())));
            let parts = self.ask(client, &[("known", &heads)]).await?;
            let earlier = |part: &TailPart| known.get(&part.shard());
            let parts = parts.into_iter().map(|part| match earlier(&part) {
                Some(earlier) => part.continuing(earlier),
                None => part,
            });
            let known: BTreeMap<ShardId, TailPart> = parts.map(|part| (part.shard(), part)).collect();
            *self.known() = known.clone();
            if let Some(views) = known.values().map(|part| part.whole().cloned()).collect() {
                return Ok(views);
            }
            if known.values().any(TailPart::is_behind) {
                return Err(self.unavailable("it reads again what it had shown"));
            }
        }
    }

    async fn ask(&self, client: &reqwest::Client, parameters: &[(&str, &str)]) -> Result<Vec<TailPart>, TailUnavailable> {
        let answer = async {
            let request = client.get(format!("{}/tail", self.url)).query(parameters);
            request.send().await?.error_for_status()?.bytes().await
        };
        let bytes = answer.await.map_err(|error| {
            if !error.is_timeout() {
                self.known().clear();
            }
            self.unavailable(error)
        })?;
        TailPart::decode_all(&bytes).map_err(|error| self.unavailable(error))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ShardId, TailPart>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> TailUnavailable {
        TailUnavailable { reason: format!("`{}`: {reason}", self.url) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Router, extract::RawQuery, routing::get};
    use testkit::pause;
    use tokio::net::TcpListener;

    use super::*;

    /// A reader of a server that says one answer after the other, and what it was asked.
    #[expect(clippy::disallowed_methods, reason = "a server that ends with the runtime of its test")]
    async fn reader_of(answers: Vec<Option<TailPart>>) -> (Pipelines, Arc<Mutex<Vec<String>>>) {
        let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answers.into_iter())));
        let log = Arc::clone(&asked);
        let tail = move |RawQuery(query): RawQuery| {
            log.lock().unwrap().push(query.unwrap_or_default());
            let next = answers.lock().unwrap().next().unwrap();
            async move {
                match next {
                    Some(part) => part.encode().unwrap(),
                    None => {
                        pause(PATIENCE * 2).await;
                        Vec::new()
                    }
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/tail", get(tail))).into_future());
        (Pipelines::new(&[url], &Secret::default()).unwrap().unwrap(), asked)
    }

    fn part(run: u64, head: u64, shown_from: u64) -> TailPart {
        TailPart::new(TailView { head: Sequence(head), ..TailView::empty(ShardId(0), run, Sequence::ZERO) }, Sequence(shown_from))
    }

    #[tokio::test]
    async fn what_was_received_stays_when_the_next_part_does_not_come_in_time() {
        let (pipelines, asked) = reader_of(vec![Some(part(7, 5, 9)), None, Some(part(7, 9, 9))]).await;
        assert!(pipelines.views().await.is_err(), "it is behind");
        assert!(pipelines.views().await.is_err(), "it does not answer in time");
        assert_eq!(pipelines.views().await.unwrap()[0].head, Sequence(9));
        assert_eq!(*asked.lock().unwrap(), ["known=", "known=0%3A7%3A5", "known=0%3A7%3A5"]);
    }

    #[tokio::test]
    async fn a_tail_that_is_behind_is_not_shown_and_not_waited_for() {
        let (pipelines, asked) = reader_of(vec![Some(part(7, 5, 9)), Some(part(7, 8, 9)), Some(part(8, 9, 9))]).await;
        assert!(pipelines.views().await.is_err() && pipelines.views().await.is_err());
        assert_eq!(asked.lock().unwrap().len(), 2, "one part for each look");
        assert_eq!(pipelines.views().await.unwrap()[0].run, 8, "another run begins anew");
    }
}
