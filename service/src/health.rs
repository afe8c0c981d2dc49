//! Whether the process lives, and whether it can work.
//!
//! Each part that can be down holds a [`Check`] and says so when that changes, so asking costs nothing. `/health`, `/healthz`
//! and `/livez` answer 200 as long as the process answers at all; `/ready` and `/readyz` answer 503 while any check is down.

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
    down: Arc<RwLock<Option<String>>>,
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
        let check = Check { name: Arc::from(name), down: Arc::new(RwLock::new(Some("starting".to_owned()))) };
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

    /// Why each part is down; `None` for a part that is up.
    fn states(&self) -> BTreeMap<Arc<str>, Option<String>> {
        let mut states = BTreeMap::new();
        for check in self.checks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let state: &mut Option<String> = states.entry(Arc::clone(&check.name)).or_default();
            *state = state.take().or_else(|| check.reason());
        }
        states
    }
}

impl Check {
    /// The part works.
    pub fn up(&self) {
        if self.set(None).is_some() {
            tracing::info!(part = &*self.name, "up");
        }
    }

    /// The part does not work: `reason` says why and what to do. It is shown to everybody who can ask, so no secrets.
    pub fn down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.set(Some(reason.clone())).as_ref() != Some(&reason) {
            tracing::warn!(part = &*self.name, reason, "down");
        }
    }

    fn set(&self, down: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.down.write().unwrap_or_else(PoisonError::into_inner), down)
    }

    fn reason(&self) -> Option<String> {
        self.down.read().unwrap_or_else(PoisonError::into_inner).clone()
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
    let (status, word) = match (health.is_stopping.load(Ordering::Relaxed), states.values().all(Option::is_none)) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, true) => (StatusCode::OK, "ready"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let text = |down: Option<String>| down.map_or_else(|| "ok".to_owned(), |reason| format!("down: {reason}"));
    let checks: BTreeMap<_, _> = states.into_iter().map(|(name, down)| (name.to_string(), text(down))).collect();
    (status, Json(json!({"status": word, "checks": checks})))
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
