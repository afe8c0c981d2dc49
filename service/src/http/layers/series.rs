//! The two metrics of every answer. Their handles are kept, as finding one costs more than counting.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use http::StatusCode;
use metrics::{Counter, Histogram};

/// What is counted of the answers of one kind.
struct Series {
    method: &'static str,
    status: StatusCode,
    durations: Histogram,
    requests: Counter,
}

thread_local! {
    /// By route; of each there are few, as methods and routes are.
    static KNOWN: RefCell<HashMap<String, Vec<Series>, RandomState>> = RefCell::default();
}

/// Counts an answer. `method` and `route` have few values.
pub(super) fn count(method: &'static str, route: &str, status: StatusCode, elapsed: Duration) {
    KNOWN.with_borrow_mut(|known| {
        let of_route = match known.get_mut(route) {
            Some(of_route) => of_route,
            None => known.entry(route.to_owned()).or_default(),
        };
        let found = of_route.iter().position(|series| series.method == method && series.status == status);
        let place = found.unwrap_or_else(|| {
            of_route.push(Series::new(method, route, status));
            of_route.len() - 1
        });
        of_route[place].durations.record(elapsed);
        of_route[place].requests.increment(1);
    });
}

impl Series {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let (route, code) = (route.to_owned(), status.as_str().to_owned());
        let durations = metrics::histogram!("http_request_duration_seconds", "route" => route.clone(), "status" => code.clone());
        let requests = metrics::counter!("http_requests_total", "method" => method, "route" => route, "status" => code);
        Self { method, status, durations, requests }
    }
}
