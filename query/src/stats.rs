//! `GET /stats`: the page views of a site on one UTC day, its users and its most viewed paths.

use std::{cmp::Reverse, sync::Arc};

use axum::{extract::State, http::Uri, response::Response};
use schemars::JsonSchema;
use schemas::{EventDate, Position, Timestamp};
use serde::Serialize;

use crate::{
    Query,
    cancel::Cancel,
    cut::Cut,
    engine::Lane,
    error::Error,
    measures::measured,
    metrics::{Dimension, Filters, Key, Measured, Shape, Uniques, count},
    params::{BadParameter, Params},
    reply,
};

/// The parameters of the route.
pub(crate) const PARAMETERS: [&str; 5] = ["site_id", "date", "top", "event_type", "at_least"];
/// What counts as a view, unless the client says otherwise.
const PAGE_VIEW: &str = "page_view";
/// The value of `event_type` that counts every event.
const ANY_TYPE: &str = "*";
const DEFAULT_TOP: usize = 10;
const MOST_TOP: usize = 1000;

/// A valid question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StatsQuestion {
    site_id: String,
    date: EventDate,
    top: usize,
    /// `None` counts every event.
    event_type: Option<String>,
    at_least: Vec<Position>,
}

impl StatsQuestion {
    fn read(uri: &Uri, now: Timestamp) -> Result<Self, BadParameter> {
        let params = Params::read(uri, &PARAMETERS)?;
        let event_type = params.text("event_type").unwrap_or(PAGE_VIEW);
        Ok(Self {
            site_id: params.owned("site_id").ok_or_else(|| BadParameter::new("site_id", "is required: `/stats?site_id=my-site`"))?,
            date: date(&params)?.unwrap_or_else(|| EventDate::of(now)),
            top: params.count("top", MOST_TOP)?.unwrap_or(DEFAULT_TOP),
            event_type: (event_type != ANY_TYPE).then(|| event_type.to_owned()),
            at_least: params.positions("at_least")?,
        })
    }

    fn shape(&self) -> Shape {
        let event_type = self.event_type.iter().map(|event_type| ("event_name", event_type.clone()));
        let equal = [("site_id", self.site_id.clone())].into_iter().chain(event_type).collect();
        Shape::in_utc(Filters { equal, tag: None }, vec![Dimension::Column("path")], Uniques::Exact)
    }

    /// The first and the last instant of the day.
    const fn range_us(&self) -> (i64, i64) {
        (self.date.start().0, EventDate(self.date.0 + 1).start().0 - 1)
    }
}

fn date(params: &Params) -> Result<Option<EventDate>, BadParameter> {
    let Some(text) = params.text("date") else { return Ok(None) };
    let date = EventDate::parse(text)
        .ok_or_else(|| BadParameter::new("date", format!("`{text}` is no day; send `YYYY-MM-DD`, for example `2026-11-21`")))?;
    Ok(Some(date))
}

/// The page views of a site on one day.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stats")]
pub(crate) struct StatsAnswer {
    /// As asked.
    site_id: String,
    /// The UTC day.
    date: String,
    /// Views.
    total_views: u64,
    /// Different users.
    unique_users: u64,
    /// The most viewed paths, the first one most.
    top_paths: Vec<PathViews>,
}

/// A path and its views.
#[derive(Serialize, JsonSchema)]
struct PathViews {
    /// The path.
    path: String,
    /// How often it was viewed.
    views: u64,
}

/// The route.
pub(crate) async fn get(State(query): State<Query>, uri: Uri) -> Result<Response, Error> {
    measured("stats", respond(query, uri)).await
}

async fn respond(query: Query, uri: Uri) -> Result<Response, Error> {
    let question = StatsQuestion::read(&uri, query.now())?;
    let limit = query.engine().timeout(None);
    let (cut, answer) = query.engine().run(Lane::Metrics, limit, Cancel::default(), answer(query.clone(), question)).await?;
    reply::json(&cut, &answer)
}

async fn answer(query: Query, question: StatsQuestion) -> Result<(Cut, StatsAnswer), Error> {
    let cut = query.pin_at_least(&question.at_least).await?;
    let shape = Arc::new(question.shape());
    let (totals, paths) = count(query.engine(), query.tallies(), &cut, &shape, question.range_us()).await?;
    let answer = StatsAnswer {
        date: question.date.to_string(),
        total_views: totals.total,
        unique_users: totals.unique,
        top_paths: top_paths(paths, question.top),
        site_id: question.site_id,
    };
    Ok((cut, answer))
}

/// The most viewed first. An event without a path counts as a view but has no place here.
fn top_paths(groups: Vec<Measured>, top: usize) -> Vec<PathViews> {
    let of_path = |group: Measured| match group.keys.into_iter().next() {
        Some(Key::Text(Some(path))) => Some(PathViews { path, views: group.total }),
        _ => None,
    };
    let mut paths: Vec<PathViews> = groups.into_iter().filter_map(of_path).collect();
    paths.sort_unstable_by(|a, b| (Reverse(a.views), &a.path).cmp(&(Reverse(b.views), &b.path)));
    paths.truncate(top);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_253_400_000_000);

    fn read(query: &str) -> Result<StatsQuestion, BadParameter> {
        StatsQuestion::read(&format!("/stats?{query}").parse().unwrap(), NOW)
    }

    #[test]
    fn a_site_is_enough_and_means_todays_page_views() {
        let question = read("site_id=shop&date=").unwrap();
        assert_eq!((question.date, question.top, question.event_type.as_deref()), (EventDate::of(NOW), 10, Some("page_view")));
    }

    #[test]
    fn a_star_counts_every_event() {
        assert_eq!(read("site_id=shop&event_type=*").unwrap().event_type, None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert!(read("").unwrap_err().to_string().contains("`site_id`: is required"));
        assert!(read("site_id=shop&date=21.11.2026").unwrap_err().to_string().contains("YYYY-MM-DD"));
        assert!(read("site=shop").unwrap_err().to_string().contains("did you mean `site_id`?"));
        assert!(read("site_id=shop&top=1001").unwrap_err().to_string().contains("from 1 to 1000"));
    }
}
