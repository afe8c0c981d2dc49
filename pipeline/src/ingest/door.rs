//! The three routes for events: judge what was sent, hand it to the batchers, answer when it is on disk.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use metrics::Counter;
use schemas::{
    Event, Identity, IdentityRule, Position, RawEvent, Rules, Timestamp, Violation,
    raw::{self, Body, Item},
};
use service::{clock::Clock, http::Access, keys::Scope, openapi::Api, problem::Problem};
use uuid::Uuid;

use super::{
    Config, MissingEventId,
    answer::{self, AcceptedMany, AcceptedOne, PageViewAccepted, Refused},
    batcher::{Batchers, Receipt},
    openapi,
    options::Options,
    request::Events,
};

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Door(Arc<Shared>);

struct Shared {
    batchers: Batchers,
    identity: IdentityRule,
    missing_event_id: MissingEventId,
    rules: Rules,
    page_view_rules: Rules,
    max_events: usize,
    max_body_bytes: usize,
    clock: Clock,
    accepted: Counter,
    rejected: Counter,
}

/// The routes, each with what clients are told about it.
pub(super) fn api() -> Api<Door> {
    Api::new("events", Access::Needs(Scope::Ingest), "Events in: a 2xx means that they are on disk.")
        .post("/events", events, openapi::events)
        .post("/events/bulk", bulk, openapi::bulk)
        .post("/event", page_view, openapi::page_view)
}

/// The routes.
pub(super) fn router(door: Door) -> Router {
    let (routes, _) = api().finish();
    routes.with_state(door)
}

async fn events(State(door): State<Door>, request: Request) -> Response {
    let take = |events: &Events| match events.read()? {
        Body::One(raw) => door.take_one(*raw, &door.0.rules, events, Taken::One),
        Body::Many(items) => door.take_many(door.judge(items)?, events),
    };
    door.answer(request, take).await
}

async fn bulk(State(door): State<Door>, request: Request) -> Response {
    let take = |events: &Events| match events.read()? {
        Body::One(raw) => door.take_many(door.judge_one(*raw), events),
        Body::Many(items) => door.take_many(door.judge(items)?, events),
    };
    door.answer(request, take).await
}

async fn page_view(State(door): State<Door>, request: Request) -> Response {
    let take = |events: &Events| match events.read()? {
        Body::One(raw) => door.take_one(*raw, &door.0.page_view_rules, events, Taken::PageView),
        Body::Many(_) => Err(answer::one_only()),
    };
    door.answer(request, take).await
}

impl Shared {
    /// The event, if it is one; with an id of its own where ids are random and it has none.
    fn event<'a>(&self, raw: RawEvent<'a>, rules: &Rules, now: Timestamp) -> Result<Event<'a>, Vec<Violation>> {
        let mut event = Event::validate(raw, rules, now)?;
        if self.missing_event_id == MissingEventId::Random {
            event.event_id.get_or_insert_with(|| Uuid::now_v7().simple().to_string().into());
        }
        Ok(event)
    }
}

/// What is answered once the events are on disk, or at once in a dry run.
enum Taken {
    /// The id of the event.
    One(String),
    /// The ids of the good ones, and the others.
    Many(Vec<String>, Refused),
    /// The id of the event.
    PageView(String),
}

/// What was taken, and where it will stand; nowhere in a dry run.
type Submitted = (Taken, Option<Receipt>);

impl Taken {
    /// The good events and the others.
    const fn counts(&self) -> (usize, usize) {
        match self {
            Self::One(_) | Self::PageView(_) => (1, 0),
            Self::Many(event_ids, refused) => (event_ids.len(), refused.events),
        }
    }

    fn answer(self, positions: Option<&[Position]>) -> Response {
        let first = positions.map(|positions| positions[0]);
        match self {
            Self::One(event_id) => AcceptedOne::new(event_id, first).into_response(),
            Self::Many(event_ids, refused) => AcceptedMany::new(event_ids, refused, positions).into_response(),
            Self::PageView(event_id) => PageViewAccepted(AcceptedOne::new(event_id, first)).into_response(),
        }
    }
}

/// The events of a request, told apart.
#[derive(Default)]
struct Judged<'a> {
    good: Vec<(Event<'a>, Identity)>,
    refused: Refused,
}

impl Door {
    pub(super) fn new(config: &Config, batchers: Batchers, identity: IdentityRule, clock: Clock) -> Self {
        let rules = config.rules();
        let page_view_rules = rules.for_page_views();
        let Config { missing_event_id, max_bulk_events: max_events, .. } = *config;
        let max_body_bytes = config.max_body.as_usize();
        let [accepted, rejected] =
            ["accepted", "rejected"].map(|result| metrics::counter!("tidemark_ingest_events_total", "result" => result));
        Self(Arc::new(Shared {
            batchers,
            identity,
            missing_event_id,
            rules,
            page_view_rules,
            max_events,
            max_body_bytes,
            clock,
            accepted,
            rejected,
        }))
    }

    /// Gives a request its answer, good or bad, which tells what was applied of what the client asked for.
    async fn answer(&self, request: Request, take: impl FnOnce(&Events) -> Result<Submitted, Problem>) -> Response {
        let options = match Options::of(&request) {
            Ok(options) => options,
            Err(problem) => return problem.into_response(),
        };
        let mut response = self.store(request, options, take).await.unwrap_or_else(IntoResponse::into_response);
        options.tell(response.headers_mut());
        response
    }

    /// Takes the events of a request, and waits until they are on disk; body and events are gone by then.
    async fn store(
        &self,
        request: Request,
        options: Options,
        take: impl FnOnce(&Events) -> Result<Submitted, Problem>,
    ) -> Result<Response, Problem> {
        let (taken, receipt) = take(&Events::of(request, options, self.0.max_body_bytes).await?)?;
        let Some(receipt) = receipt else { return Ok(taken.answer(None)) };
        let positions = receipt.wait().await.map_err(|refusal| answer::not_stored(&refusal))?;
        let (accepted, rejected) = taken.counts();
        self.count(accepted, rejected);
        Ok(taken.answer(Some(&positions)))
    }

    fn take_one(&self, raw: RawEvent<'_>, rules: &Rules, request: &Events, taken: fn(String) -> Taken) -> Result<Submitted, Problem> {
        request.charge(1)?;
        let event = self.0.event(raw, rules, self.now()).map_err(|violations| {
            self.count(0, 1);
            answer::invalid(Refused::one(violations))
        })?;
        let identity = self.0.identity.of(&event);
        let taken = taken(event_id(&event, identity));
        Ok((taken, self.submit(&[(event, identity)], request)?))
    }

    fn take_many(&self, judged: Judged<'_>, request: &Events) -> Result<Submitted, Problem> {
        let Judged { good, refused } = judged;
        request.charge(good.len() + refused.events)?;
        if good.is_empty() || (request.options.is_strict() && refused.events > 0) {
            self.count(0, refused.events);
            return Err(answer::invalid(refused));
        }
        let event_ids = good.iter().map(|(event, identity)| event_id(event, *identity)).collect();
        Ok((Taken::Many(event_ids, refused), self.submit(&good, request)?))
    }

    fn count(&self, accepted: usize, rejected: usize) {
        self.0.accepted.increment(accepted as u64);
        self.0.rejected.increment(rejected as u64);
    }

    fn submit(&self, events: &[(Event<'_>, Identity)], request: &Events) -> Result<Option<Receipt>, Problem> {
        if request.options.is_dry_run {
            return Ok(None);
        }
        self.0.batchers.submit(events).map(Some).map_err(|refusal| answer::not_stored(&refusal))
    }

    fn judge<'a>(&self, events: raw::Events<'a>) -> Result<Judged<'a>, Problem> {
        let (now, rules) = (self.now(), &self.0.rules);
        let mut judged = Judged::default();
        let mut index = 0;
        let take = |item: Item<'a>| {
            judged.add(
                Some(index),
                item.map_err(|violation| vec![violation]).and_then(|raw| self.0.event(raw, rules, now)),
                &self.0.identity,
            );
            index += 1;
        };
        match events.for_each(self.0.max_events, rules.reject_unknown_fields, take) {
            Ok(0) => Err(answer::no_events()),
            Ok(_) => Ok(judged),
            Err(unreadable) => Err(answer::unreadable(unreadable)),
        }
    }

    fn judge_one<'a>(&self, raw: RawEvent<'a>) -> Judged<'a> {
        let mut judged = Judged::default();
        judged.add(None, self.0.event(raw, &self.0.rules, self.now()), &self.0.identity);
        judged
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.clock.now().timestamp_micros())
    }
}

impl<'a> Judged<'a> {
    fn add(&mut self, index: Option<usize>, event: Result<Event<'a>, Vec<Violation>>, rule: &IdentityRule) {
        match event {
            Ok(event) => {
                let identity = rule.of(&event);
                self.good.push((event, identity));
            }
            Err(violations) => self.refused.add(index, violations),
        }
    }
}

/// The client's own id, or the text of the identity.
fn event_id(event: &Event<'_>, identity: Identity) -> String {
    event.event_id.as_ref().map_or_else(|| identity.to_string(), ToString::to_string)
}
