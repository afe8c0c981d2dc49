//! The three routes for events: judge what was sent, hand it to the batchers, answer when it is on disk.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::IntoResponse,
};
use schemas::{
    Event, Identity, IdentityRule, Rules, Timestamp,
    raw::{Body, Item, RawEvent},
};
use service::{
    clock::Clock,
    openapi::Api,
    problem::{ItemError, Problem},
    settings::ByteSize,
};
use tower_http::decompression::RequestDecompressionLayer;

use super::{
    Config,
    answer::{self, AcceptedMany, AcceptedOne, PageViewAccepted},
    batcher::Batchers,
    openapi,
    request::Events,
};

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Door(Arc<Shared>);

struct Shared {
    batchers: Batchers,
    identity: IdentityRule,
    rules: Rules,
    page_view_rules: Rules,
    max_events: usize,
    clock: Clock,
}

/// The routes, each with what clients are told about it.
pub(super) fn api() -> Api<Door> {
    Api::new("events", "Events in: a 2xx means that they are on disk.")
        .post("/events", events, openapi::events)
        .post("/events/bulk", bulk, openapi::bulk)
        .post("/event", page_view, openapi::page_view)
}

/// The routes, with the limit of the body on its decompressed side.
pub(super) fn router(door: Door, max_body: ByteSize) -> Router {
    let (routes, _) = api().finish();
    routes.layer(DefaultBodyLimit::max(max_body.as_usize())).layer(RequestDecompressionLayer::new()).with_state(door)
}

async fn events(State(door): State<Door>, events: Events) -> Result<impl IntoResponse, Problem> {
    match door.read(&events)? {
        Body::One(raw) => Ok(door.accept_one(*raw, &door.0.rules).await?.into_response()),
        Body::Many(items, _) => Ok(door.accept_many(items, events.is_strict).await?.into_response()),
    }
}

async fn bulk(State(door): State<Door>, events: Events) -> Result<AcceptedMany, Problem> {
    let items = match door.read(&events)? {
        Body::One(raw) => vec![Ok(*raw)],
        Body::Many(items, _) => items,
    };
    door.accept_many(items, events.is_strict).await
}

async fn page_view(State(door): State<Door>, events: Events) -> Result<PageViewAccepted, Problem> {
    match door.read(&events)? {
        Body::One(raw) => Ok(PageViewAccepted(door.accept_one(*raw, &door.0.page_view_rules).await?)),
        Body::Many(..) => Err(answer::one_only()),
    }
}

impl Door {
    pub(super) fn new(config: &Config, batchers: Batchers, identity: IdentityRule, clock: Clock) -> Self {
        let rules = config.rules();
        let page_view_rules = rules.for_page_views();
        Self(Arc::new(Shared { batchers, identity, rules, page_view_rules, max_events: config.max_bulk_events, clock }))
    }

    fn read<'a>(&self, events: &'a Events) -> Result<Body<'a>, Problem> {
        match events.read(self.0.max_events)? {
            Body::Many(_, count) if count > self.0.max_events => Err(answer::too_many(count, self.0.max_events)),
            Body::Many(_, 0) => Err(answer::no_events()),
            body => Ok(body),
        }
    }

    async fn accept_one(&self, raw: RawEvent<'_>, rules: &Rules) -> Result<AcceptedOne, Problem> {
        let event = Event::validate(raw, rules, self.now()).map_err(|violations| {
            count(0, 1);
            answer::invalid(answer::item_errors(None, violations))
        })?;
        let identity = self.0.identity.of(&event);
        let event_id = event_id(&event, identity);
        let receipt = self.0.batchers.submit(&[(event, identity)]);
        let positions =
            receipt.map_err(|refusal| answer::not_stored(&refusal))?.wait().await.map_err(|refusal| answer::not_stored(&refusal))?;
        count(1, 0);
        Ok(AcceptedOne { event_id, position: positions[0] })
    }

    async fn accept_many(&self, items: Vec<Item<'_>>, is_strict: bool) -> Result<AcceptedMany, Problem> {
        let (events, errors) = self.judge(items);
        if events.is_empty() || (is_strict && !errors.is_empty()) {
            count(0, errors.len());
            return Err(answer::invalid(errors));
        }
        let event_ids = events.iter().map(|(event, identity)| event_id(event, *identity)).collect();
        let receipt = self.0.batchers.submit(&events).map_err(|refusal| answer::not_stored(&refusal))?;
        let positions = receipt.wait().await.map_err(|refusal| answer::not_stored(&refusal))?;
        let rejected = answer::distinct_items(&errors);
        count(events.len(), rejected);
        Ok(AcceptedMany { event_ids, rejected, errors, positions })
    }

    fn judge<'a>(&self, items: Vec<Item<'a>>) -> (Vec<(Event<'a>, Identity)>, Vec<ItemError>) {
        let now = self.now();
        let mut events = Vec::with_capacity(items.len());
        let mut errors = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match item.map_err(|violation| vec![violation]).and_then(|raw| Event::validate(raw, &self.0.rules, now)) {
                Ok(event) => {
                    let identity = self.0.identity.of(&event);
                    events.push((event, identity));
                }
                Err(violations) => errors.extend(answer::item_errors(Some(index), violations)),
            }
        }
        (events, errors)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.clock.now().timestamp_micros())
    }
}

/// The client's own id, or the text of the identity.
fn event_id(event: &Event<'_>, identity: Identity) -> String {
    event.event_id.as_ref().map_or_else(|| identity.to_string(), ToString::to_string)
}

fn count(accepted: usize, rejected: usize) {
    metrics::counter!("tidemark_ingest_events_total", "result" => "accepted").increment(accepted as u64);
    metrics::counter!("tidemark_ingest_events_total", "result" => "rejected").increment(rejected as u64);
}
