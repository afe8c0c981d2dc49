//! `GET /stats`: the page views of a site on one UTC day, its users and its most viewed paths.

use axum::{extract::State, http::Uri, response::Response};
use datafusion::{
    arrow::{
        array::AsArray,
        datatypes::{DataType, Int64Type},
    },
    common::{Result as PlanResult, ScalarValue},
    dataframe::DataFrame,
    functions::expr_fn::coalesce,
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{Expr, cast},
    prelude::{ident, lit},
};
use futures::try_join;
use schemars::JsonSchema;
use schemas::{EventDate, Position, Timestamp, tables::EVENT_DATE};
use serde::Serialize;

use crate::{
    Query,
    cancel::Cancel,
    cut::Cut,
    engine::Lane,
    error::Error,
    measures::measured,
    params::{BadParameter, Params},
    reply,
};

/// The parameters of the route.
pub(crate) const PARAMETERS: [&str; 5] = ["site_id", "date", "top", "event_type", "at_least"];
const VIEWS: &str = "views";
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

    fn predicate(&self) -> Expr {
        let day = ident(EVENT_DATE).eq(lit(ScalarValue::Date32(Some(self.date.0))));
        let of_site = day.and(ident("site_id").eq(lit(self.site_id.as_str())));
        self.event_type.iter().fold(of_site, |all, event_type| all.and(ident("event_name").eq(lit(event_type.as_str()))))
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
    total_views: i64,
    /// Different users.
    unique_users: i64,
    /// The most viewed paths, the first one most.
    top_paths: Vec<PathViews>,
}

/// A path and its views.
#[derive(Serialize, JsonSchema)]
struct PathViews {
    /// The path.
    path: String,
    /// How often it was viewed.
    views: i64,
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
    let events = || query.sessions().events(&cut)?.filter(question.predicate());
    let totals = totals(events()?)?.collect();
    let top_paths = top_paths(events()?, question.top)?.collect();
    let (totals, paths) = try_join!(totals, top_paths)?;
    let number =
        |name: &str| totals[0].column_by_name(name).expect("the plan has one row of both counts").as_primitive::<Int64Type>().value(0);
    let views = |batch: &datafusion::arrow::array::RecordBatch| {
        let (paths, views) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        (0..batch.num_rows()).map(|row| PathViews { path: paths.value(row).to_owned(), views: views.value(row) }).collect::<Vec<_>>()
    };
    let answer = StatsAnswer {
        date: question.date.to_string(),
        total_views: number(VIEWS),
        unique_users: number("users"),
        top_paths: paths.iter().flat_map(views).collect(),
        site_id: question.site_id,
    };
    Ok((cut, answer))
}

/// One row: views and users, the users by grouping as in [`crate::metrics`].
fn totals(events: DataFrame) -> PlanResult<DataFrame> {
    let by_user = events.aggregate(vec![ident("user_id")], vec![count(lit(1)).alias(VIEWS)])?;
    let totals = by_user.aggregate(Vec::new(), vec![sum(ident(VIEWS)).alias(VIEWS), count(ident("user_id")).alias("users")])?;
    totals.select([coalesce(vec![cast(ident(VIEWS), DataType::Int64), lit(0_i64)]).alias(VIEWS), ident("users")])
}

/// Path and views, the most viewed first. An event without a path counts as a view but has no place here.
fn top_paths(events: DataFrame, top: usize) -> PlanResult<DataFrame> {
    let by_path = events.filter(ident("path").is_not_null())?.aggregate(vec![ident("path")], vec![count(lit(1)).alias(VIEWS)])?;
    by_path.sort(vec![ident(VIEWS).sort(false, false), ident("path").sort(true, false)])?.limit(0, Some(top))
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
