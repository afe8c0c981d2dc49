//! What one request may take, and the header fields that tell its caller how it stands.
//!
//! `RateLimit-Policy: "events";q=1000;w=10` and `RateLimit: "events";r=990;t=1` are those of draft-ietf-httpapi-ratelimit-headers-10.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    KeyLimits, Meters,
    meter::{Excess, Standing, Unit},
};
use crate::{keys::Caller, problem::Problem};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What one request may take; among its extensions. Clones are of the same request.
#[derive(Clone)]
pub struct Allowance(Option<Arc<Request>>);

struct Request {
    meters: Meters,
    caller: Caller,
    rates: KeyLimits,
    standings: Mutex<Vec<Standing>>,
}

impl Allowance {
    pub(super) fn new(meters: Meters, caller: Caller, rates: KeyLimits) -> Self {
        let request = || Arc::new(Request { meters, caller, rates, standings: Mutex::default() });
        Self(rates.has_any().then(request))
    }

    /// Whether anything of it is limited.
    pub(crate) const fn has_limits(&self) -> bool {
        self.0.is_some()
    }

    /// That of the request with these extensions; one without limits when nobody limits it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self(None))
    }

    /// Takes a query.
    ///
    /// # Errors
    /// 429 when the caller asks too often.
    pub fn take_query(&self) -> Result<(), Problem> {
        let Some(request) = &self.0 else { return Ok(()) };
        let rate = request.rates.queries_per_second.unwrap_or_default();
        request.note(request.meters.0.queries.take(&request.caller, rate, 1))
    }

    /// Takes the events of a request, which came in so many bytes.
    ///
    /// # Errors
    /// 429 when the caller sends too much, 413 when the request is more than may ever come at once. Nothing must be stored then.
    pub fn take_events(&self, events: usize, bytes: usize) -> Result<(), Problem> {
        let Some(request) = &self.0 else { return Ok(()) };
        let rates = &request.rates;
        let byte_rate = rates.bytes_per_second.map_or(0, |rate| rate.0);
        request.note(request.meters.0.bytes.take(&request.caller, byte_rate, bytes as u64))?;
        request.note(request.meters.0.events.take(&request.caller, rates.events_per_second.unwrap_or_default(), events as u64))
    }

    /// Writes how the caller stands after what was taken.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        let Some(request) = &self.0 else { return };
        let standings = request.standings();
        if standings.is_empty() {
            return;
        }
        let list = |text: fn(&Standing) -> String| {
            let items = standings.iter().map(text).collect::<Vec<_>>().join(", ");
            HeaderValue::try_from(items).expect("names, digits and signs are a header value")
        };
        headers.insert(RATE_LIMIT_POLICY, list(policy));
        headers.insert(RATE_LIMIT, list(standing));
    }
}

impl Request {
    fn note(&self, taken: Result<Option<Standing>, Excess>) -> Result<(), Problem> {
        let (standing, outcome) = match taken {
            Ok(standing) => (standing, Ok(())),
            Err(Excess::TooSoon(standing)) => (Some(standing), Err(too_soon(&standing))),
            Err(Excess::TooLarge(standing)) => (Some(standing), Err(too_large(&standing))),
        };
        self.standings().extend(standing);
        outcome
    }

    fn standings(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn policy(Standing { unit, quota, window_seconds, .. }: &Standing) -> String {
    let content_unit = if *unit == Unit::Bytes { ";qu=\"content-bytes\"" } else { "" };
    format!("\"{}\";q={quota}{content_unit};w={window_seconds}", unit.name())
}

fn standing(Standing { unit, remaining, reset_seconds, .. }: &Standing) -> String {
    format!("\"{}\";r={remaining};t={reset_seconds}", unit.name())
}

fn too_soon(Standing { unit, reset_seconds, .. }: &Standing) -> Problem {
    let name = unit.name();
    refused("rate_limited");
    let detail = format!("too many {name} in a short time; nothing of this request was done, send it again in {reset_seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after(*reset_seconds).with_extension("limit", name)
}

fn too_large(Standing { unit, quota, .. }: &Standing) -> Problem {
    let name = unit.name();
    refused("over_burst");
    let detail = format!(
        "the request has more {name} than may ever come at once, which is {quota}; nothing was stored, send it in smaller parts \
         (settings `limits.{name}_per_second` and `limits.burst`, or the limits of the key)"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "over_burst", detail).with_extension("limit", name)
}

fn refused(code: &'static str) {
    metrics::counter!("tidemark_requests_refused_total", "code" => code).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::Config,
        settings::{ByteSize, Interval},
    };

    fn allowance(own: KeyLimits) -> Allowance {
        let burst = Interval(std::time::Duration::from_secs(100));
        let config = Config { events_per_second: 1, bytes_per_second: ByteSize(10), queries_per_second: 0, burst };
        Meters::new(config).allowance(Caller::Peer([10, 0, 0, 1].into()), own)
    }

    fn fields(allowance: &Allowance) -> [String; 2] {
        let mut headers = HeaderMap::new();
        allowance.describe(&mut headers);
        [RATE_LIMIT_POLICY, RATE_LIMIT].map(|name| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned())
    }

    #[test]
    fn the_fields_tell_each_limit_that_was_used() {
        let allowance = allowance(KeyLimits::default());
        assert_eq!(fields(&allowance), ["", ""]);
        allowance.take_query().unwrap();
        allowance.take_events(60, 500).unwrap();
        let policy = r#""bytes";q=1000;qu="content-bytes";w=100, "events";q=100;w=100"#;
        assert_eq!(fields(&allowance), [policy, r#""bytes";r=500;t=50, "events";r=40;t=60"#]);
    }

    #[test]
    fn too_soon_is_429_with_retry_after_and_too_large_is_413() {
        let allowance = allowance(KeyLimits::default());
        let too_large = allowance.take_events(101, 1).unwrap_err();
        assert_eq!((too_large.status().as_u16(), too_large.code()), (413, "over_burst"));
        assert!(too_large.detail().contains("more events than may ever come at once, which is 100"), "{}", too_large.detail());
        allowance.take_events(100, 1).unwrap();
        let too_soon = allowance.take_events(1, 1).unwrap_err();
        assert_eq!((too_soon.status().as_u16(), too_soon.code()), (429, "rate_limited"));
        assert!(too_soon.detail().ends_with("send it again in 1 s"), "{}", too_soon.detail());
    }

    #[test]
    fn a_key_may_have_its_own_rates_and_0_is_none() {
        let own = KeyLimits { events_per_second: Some(0), bytes_per_second: Some(ByteSize(1)), queries_per_second: None };
        let allowance = allowance(own);
        allowance.take_events(1_000_000, 100).unwrap();
        assert_eq!(allowance.take_events(1, 1).unwrap_err().status(), 429);
    }
}
