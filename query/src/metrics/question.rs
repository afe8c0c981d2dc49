//! What a client may ask of `/metrics`.

use std::time::Duration;

use schemas::{Position, Timestamp};

use crate::{
    buckets::{Buckets, Unit, Zone},
    params::{BadParameter, Params, not_one_of},
};

/// The parameters of the route.
pub(crate) const PARAMETERS: [&str; 15] = [
    "event_name",
    "channel",
    "campaign_id",
    "site_id",
    "user_id",
    "tag",
    "from",
    "to",
    "group_by",
    "limit",
    "order",
    "fill",
    "tz",
    "uniques",
    "at_least",
];
/// How far back a question without `from` looks.
const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 3600);

/// What rows are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dimension {
    /// The bucket of the event time.
    Time(Unit),
    /// A text column.
    Column(&'static str),
    /// Each tag of an event; an event with several is in several groups.
    Tag,
}

/// The dimensions that are not time.
pub(crate) const DIMENSIONS: [(&str, Dimension); 6] = [
    ("channel", Dimension::Column("channel")),
    ("event_name", Dimension::Column("event_name")),
    ("campaign_id", Dimension::Column("campaign_id")),
    ("site_id", Dimension::Column("site_id")),
    ("path", Dimension::Column("path")),
    ("tag", Dimension::Tag),
];

impl Dimension {
    fn parse(text: &str) -> Result<Self, BadParameter> {
        if let Some(unit) = Unit::parse(text) {
            return Ok(Self::Time(unit));
        }
        let known = DIMENSIONS.iter().find(|(name, _)| *name == text).map(|(_, dimension)| *dimension);
        known.ok_or_else(|| {
            let names: Vec<&str> = Unit::ALL.iter().map(|(name, _)| *name).chain(DIMENSIONS.iter().map(|(name, _)| *name)).collect();
            not_one_of("group_by", text, &names)
        })
    }
}

/// In which order the groups come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Time ascending, then total descending, then key ascending.
    #[default]
    Natural,
    /// Keys ascending, as named in `group_by`.
    Key,
    /// Total descending, then keys ascending.
    TotalDescending,
}

/// How unique users are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Uniques {
    /// Every user exactly once.
    #[default]
    Exact,
    /// An estimate, from sketches in constant memory.
    Approximate,
}

/// The equality filters; `None` takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filters {
    /// Column and value.
    pub(crate) equal: Vec<(&'static str, String)>,
    /// One of the event's tags.
    pub(crate) tag: Option<String>,
}

impl Filters {
    const COLUMNS: [&'static str; 5] = ["event_name", "channel", "campaign_id", "site_id", "user_id"];

    fn read(params: &Params) -> Self {
        let equal = Self::COLUMNS.into_iter().filter_map(|name| Some((name, params.owned(name)?))).collect();
        Self { equal, tag: params.owned("tag") }
    }

    /// The event name asked for.
    pub(crate) fn event_name(&self) -> Option<&str> {
        self.equal.iter().find(|(name, _)| *name == "event_name").map(|(_, value)| value.as_str())
    }
}

/// The time zone of the buckets.
#[derive(Clone, Debug)]
pub(crate) struct NamedZone {
    /// As the client wrote it.
    pub(crate) name: String,
    /// What it means.
    pub(crate) zone: Zone,
}

/// What the server allows a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The instant of the question.
    pub(crate) now: Timestamp,
    /// Most groups of an answer.
    pub(crate) max_groups: usize,
}

/// A valid question.
#[derive(Clone, Debug)]
pub(crate) struct MetricsQuestion {
    /// Which events.
    pub(crate) filters: Filters,
    /// The first instant, itself included.
    pub(crate) from: Timestamp,
    /// The last instant, itself included: `to=1723486400` takes the event at exactly that second and none after it.
    pub(crate) to: Timestamp,
    /// Up to two dimensions.
    pub(crate) group_by: Vec<Dimension>,
    /// `group_by` as the client wrote it.
    pub(crate) grouped_by: Option<String>,
    /// Whose days.
    pub(crate) zone: NamedZone,
    /// Most groups, if the client says so.
    pub(crate) limit: Option<usize>,
    /// Most groups, whatever the client says.
    pub(crate) max_groups: usize,
    /// The order of the groups.
    pub(crate) order: Order,
    /// The buckets that must be there, also when they are empty.
    pub(crate) fill: Option<Vec<i64>>,
    /// How users are counted.
    pub(crate) uniques: Uniques,
    /// What must be visible.
    pub(crate) at_least: Vec<Position>,
}

impl MetricsQuestion {
    /// Reads the parameters of a URL.
    ///
    /// # Errors
    /// The first parameter that is unknown, malformed or does not fit the others.
    pub(crate) fn read(uri: &axum::http::Uri, limits: Limits) -> Result<Self, BadParameter> {
        let params = Params::read(uri, &PARAMETERS)?;
        let (from, to) = range(&params, limits.now)?;
        let mut question = Self {
            filters: Filters::read(&params),
            from,
            to,
            group_by: group_by(&params)?,
            grouped_by: params.owned("group_by"),
            zone: zone(&params)?,
            limit: params.count("limit", limits.max_groups)?,
            max_groups: limits.max_groups,
            order: params.choice("order", &[("key", Order::Key), ("-total", Order::TotalDescending)])?.unwrap_or_default(),
            fill: None,
            uniques: params.choice("uniques", &[("exact", Uniques::Exact), ("approx", Uniques::Approximate)])?.unwrap_or_default(),
            at_least: params.positions("at_least")?,
        };
        question.fill = params.choice("fill", &[("zero", ())])?.map(|()| question.buckets_to_fill()).transpose()?;
        Ok(question)
    }

    /// The cutting of time for a unit, in the question's zone.
    pub(crate) const fn buckets(&self, unit: Unit) -> Buckets {
        Buckets { unit, zone: self.zone.zone }
    }

    /// The time dimension and its place among the keys.
    pub(crate) fn time(&self) -> Option<(usize, Buckets)> {
        self.group_by.iter().enumerate().find_map(|(place, dimension)| match dimension {
            Dimension::Time(unit) => Some((place, self.buckets(*unit))),
            Dimension::Column(_) | Dimension::Tag => None,
        })
    }

    fn buckets_to_fill(&self) -> Result<Vec<i64>, BadParameter> {
        let time_dimensions = self.group_by.iter().filter(|dimension| matches!(dimension, Dimension::Time(_))).count();
        let Some((_, buckets)) = self.time().filter(|_| time_dimensions == 1) else {
            return Err(BadParameter::new(
                "fill",
                "fills empty time buckets, so `group_by` needs exactly one of minute, hour, day, week, month",
            ));
        };
        buckets.starts(self.from.0, self.to.0, self.max_groups).ok_or_else(|| too_many_buckets(buckets.unit, self.max_groups))
    }
}

/// The error for a range with more buckets than an answer may have.
fn too_many_buckets(unit: Unit, most: usize) -> BadParameter {
    BadParameter::new(
        "fill",
        format!("the range has more than {most} buckets of one {}; choose a longer unit or a shorter range", unit.name()),
    )
}

fn range(params: &Params, now: Timestamp) -> Result<(Timestamp, Timestamp), BadParameter> {
    let to = params.instant("to")?;
    let from = params.instant("from")?;
    let end = to.unwrap_or_else(|| next_second(now));
    let start = from.unwrap_or_else(|| {
        Timestamp(end.0.saturating_sub(i64::try_from(DEFAULT_RANGE.as_micros()).expect("a day fits")).max(schemas::timestamp::EARLIEST.0))
    });
    if start > end {
        let default = if to.is_none() { ", which is now unless `to` is given" } else { "" };
        return Err(BadParameter::new("from", format!("{start} lies after `to`, {end}{default}; swap them or give a later `to`")));
    }
    Ok((start, end))
}

/// The whole second at or after an instant, so that a range nobody gave begins and ends with a number without fraction.
fn next_second(at: Timestamp) -> Timestamp {
    const SECOND_US: i64 = 1_000_000;
    Timestamp(at.0 + (-at.0).rem_euclid(SECOND_US))
}

fn group_by(params: &Params) -> Result<Vec<Dimension>, BadParameter> {
    let names = params.text("group_by").into_iter().flat_map(|text| text.split(','));
    let dimensions = names.map(|name| Dimension::parse(name.trim())).collect::<Result<Vec<_>, _>>()?;
    match dimensions[..] {
        [_, _, _, ..] => Err(BadParameter::new("group_by", "takes one dimension, or two joined by a comma")),
        [first, second] if first == second => Err(BadParameter::new("group_by", "names the same dimension twice")),
        _ => Ok(dimensions),
    }
}

fn zone(params: &Params) -> Result<NamedZone, BadParameter> {
    let name = params.text("tz").unwrap_or("UTC");
    let zone = Zone::parse(name)
        .ok_or_else(|| BadParameter::new("tz", format!("`{name}` is no time zone; send an IANA name such as `Europe/Berlin`")))?;
    Ok(NamedZone { name: name.to_owned(), zone })
}

#[cfg(test)]
mod tests;
