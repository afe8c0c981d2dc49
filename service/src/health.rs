//! Whether the process lives, and whether it can work.
//!
//! Each part that can be down holds a [`Check`] and says so when that changes, so asking costs nothing. `/health`, `/healthz`
//! and `/livez` answer 200 as long as the process answers at all; `/ready` and `/readyz` answer 503 while any check is down. Beside up
//! and down a part may say what a person should know ([`Check::note`]), and numbers ([`Check::detail`]).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Json, Router, extract::State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    http::Access,
    openapi::{Api, Description, parts::responses},
};

/// The checks of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<RwLock<Vec<Check>>>,
    is_stopping: Arc<AtomicBool>,
}

/// One part of the process that can be down. Clones share its state.
#[derive(Clone, Debug)]
pub struct Check {
    name: Arc<str>,
    state: Arc<RwLock<Said>>,
}

/// What is said of a part.
#[derive(Clone, Debug, Default)]
struct Said {
    down: Option<String>,
    notes: Vec<String>,
    details: BTreeMap<String, Value>,
}

impl Health {
    /// No checks: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, down until it says [`Check::up`]. Two parts of one name count as one that is up when both are.
    #[must_use]
    pub fn check(&self, name: &str) -> Check {
        let check = Check { name: Arc::from(name), state: Arc::default() };
        check.change(|said| said.down = Some("starting".to_owned()));
        self.checks.write().unwrap_or_else(PoisonError::into_inner).push(check.clone());
        check
    }

    /// Not ready from now on, whatever the checks say: the process ends soon.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// `GET /health`, `/healthz`, `/livez`, `/ready` and `/readyz`. Merge it once into each port's router.
    pub fn router(&self) -> Router {
        api().finish().0.with_state(self.clone())
    }

    /// What clients are told about the routes.
    #[must_use]
    pub fn description() -> Description {
        api().finish().1
    }

    /// What is said of each part; of several checks of one name together.
    fn states(&self) -> BTreeMap<Arc<str>, Said> {
        let mut states: BTreeMap<Arc<str>, Said> = BTreeMap::new();
        for check in self.checks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            states.entry(Arc::clone(&check.name)).or_default().join(check.state());
        }
        states
    }
}

impl Check {
    /// The part works.
    pub fn up(&self) {
        if self.change(|state| state.down.take()).is_some() {
            tracing::info!(part = &*self.name, "up");
        }
    }

    /// The part does not work: `reason` says why and what to do. It is shown to everybody who can ask, so no secrets.
    pub fn down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.change(|state| state.down.replace(reason.clone())).as_ref() != Some(&reason) {
            tracing::warn!(part = &*self.name, reason, "down");
        }
    }

    /// Something that a person should know although the part works; it replaces the note before and stays.
    pub fn note(&self, note: impl Into<String>) {
        self.change(|state| state.notes = vec![note.into()]);
    }

    /// A number, or several, that say how the part does: `details.<part>.<name>` of `/readyz`.
    pub fn detail(&self, name: impl Into<String>, value: Value) {
        self.change(|state| state.details.insert(name.into(), value));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> Said {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Said {
    fn join(&mut self, other: Self) {
        self.down = self.down.take().or(other.down);
        self.notes.extend(other.notes);
        self.details.extend(other.details);
    }

    fn text(&self) -> String {
        match &self.down {
            Some(reason) => format!("down: {reason}"),
            None if self.notes.is_empty() => "ok".to_owned(),
            None => format!("ok, but {}", self.notes.join("; ")),
        }
    }
}

fn api() -> Api<Health> {
    Api::new("health", Access::Open, "Whether the process lives, and whether it can work.")
        .get("/health", alive, |_| describe_alive("health"))
        .get("/healthz", alive, |_| describe_alive("healthz"))
        .get("/livez", alive, |_| describe_alive("livez"))
        .get("/ready", ready, |_| describe_ready("ready"))
        .get("/readyz", ready, |_| describe_ready("readyz"))
}

fn describe_alive(id: &str) -> Value {
    let schema = json!({"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}});
    let good = json!({"200": {"description": "The process answers.", "content": {"application/json": {"schema": schema}}}});
    json!({"operationId": id, "summary": "Does the process answer?", "security": [{}], "responses": responses(good, &[500])})
}

fn describe_ready(id: &str) -> Value {
    let answer = |status: &str, description: &str, checks: Value| {
        let checks_schema = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let properties = json!({"status": {"const": status}, "checks": checks_schema});
        let schema = json!({"type": "object", "required": ["status", "checks"], "properties": properties});
        let content = json!({"schema": schema, "example": {"status": status, "checks": checks}});
        json!({"description": description, "content": {"application/json": content}})
    };
    let good = json!({
        "200": answer("ready", "Every part works.", json!({"journal": "ok", "pipeline": "ok", "table": "ok"})),
        "503": answer("unavailable", "The parts that are down say why.", json!({"journal": "down: no server; start it", "table": "ok"})),
    });
    json!({"operationId": id, "summary": "Can the process work?", "security": [{}], "responses": responses(good, &[500])})
}

async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let states = health.states();
    let (status, word) = match (health.is_stopping.load(Ordering::Relaxed), states.values().all(|state| state.down.is_none())) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, true) => (StatusCode::OK, "ready"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let checks: BTreeMap<&str, String> = states.iter().map(|(name, state)| (&**name, state.text())).collect();
    let details: BTreeMap<&str, _> =
        states.iter().filter(|(_, state)| !state.details.is_empty()).map(|(name, state)| (&**name, &state.details)).collect();
    let mut body = json!({"status": word, "checks": checks});
    if !details.is_empty() {
        body["details"] = json!(details);
    }
    (status, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(health: &Health) -> (u16, Value) {
        let (status, Json(body)) = ready(State(health.clone())).await;
        (status.as_u16(), body)
    }

    #[tokio::test]
    async fn ready_only_when_every_part_is_up() {
        let health = Health::new();
        let (journal, table) = (health.check("journal"), health.check("table"));
        table.up();
        let starting = json!({"status": "unavailable", "checks": {"journal": "down: starting", "table": "ok"}});
        assert_eq!(answer(&health).await, (503, starting));
        journal.up();
        assert_eq!(answer(&health).await, (200, json!({"status": "ready", "checks": {"journal": "ok", "table": "ok"}})));
        journal.down("no server at nats://a:4222; start it");
        assert_eq!(answer(&health).await.1["checks"]["journal"], "down: no server at nats://a:4222; start it");
    }

    #[tokio::test]
    async fn a_part_that_works_may_say_more_and_all_of_one_name_say_it_together() {
        let health = Health::new();
        let shards = [health.check("pipeline"), health.check("pipeline")];
        shards.iter().for_each(Check::up);
        shards[0].note("3 messages are gone");
        shards[0].detail("shard_0", json!({"lag_messages": 7}));
        shards[1].detail("shard_1", json!({"lag_messages": 0}));
        let expected = json!({
            "status": "ready",
            "checks": {"pipeline": "ok, but 3 messages are gone"},
            "details": {"pipeline": {"shard_0": {"lag_messages": 7}, "shard_1": {"lag_messages": 0}}}
        });
        assert_eq!(answer(&health).await, (200, expected));
        shards[0].down("gone");
        assert_eq!(answer(&health).await.1["checks"]["pipeline"], "down: gone");
    }

    #[tokio::test]
    async fn two_parts_of_one_name_are_up_only_together() {
        let health = Health::new();
        let (ingest, pipeline) = (health.check("journal"), health.check("journal"));
        ingest.up();
        pipeline.down("gone");
        assert_eq!(answer(&health).await, (503, json!({"status": "unavailable", "checks": {"journal": "down: gone"}})));
        pipeline.up();
        assert_eq!(answer(&health).await.0, 200);
    }
}
