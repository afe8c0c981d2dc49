//! `tidemark metrics`: one question to `GET /metrics`, answered by a chart on a terminal and by a plain table elsewhere.
//!
//! The options become the parameters of the route, which judges them; only times that are told from now are computed here
//! ([`when`]). [`answer`] is what comes back, [`report`] puts it into words, [`bars`] and [`columns`] draw it.

use clap::Args;
use service::{clock::Clock, settings::Settings};

use self::{answer::Answer, report::Report};
use crate::{client, output, terminal};

mod answer;
mod bars;
mod columns;
mod report;
pub(crate) mod when;

/// The dimensions that are time.
const TIMES: [&str; 5] = ["minute", "hour", "day", "week", "month"];

/// Options of `tidemark metrics`.
#[derive(Args)]
pub(crate) struct MetricsOptions {
    /// Only events of this name.
    #[arg(long)]
    event_name: Option<String>,
    /// Only events of this channel.
    #[arg(long)]
    channel: Option<String>,
    /// Only events of this campaign.
    #[arg(long)]
    campaign_id: Option<String>,
    /// Only events of this site.
    #[arg(long)]
    site_id: Option<String>,
    /// Only events of this user.
    #[arg(long)]
    user_id: Option<String>,
    /// Only events with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// The first instant: RFC 3339, seconds or milliseconds since 1970, or a time before now such as `-7d`, `-3h`, `-90m`, which this command computes; a day before `--to` unless given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// The last instant, itself included, told like `--from`; now unless given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// What to count by: minute, hour, day, week, month, channel, event_name, campaign_id, site_id, path, tag, or two of them joined by a comma.
    #[arg(long, value_name = "DIMENSION")]
    group_by: Option<String>,
    /// Whose hours and days, such as Europe/Berlin; UTC unless given.
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// How users are counted: exact or approx.
    #[arg(long, value_name = "HOW")]
    uniques: Option<String>,
    /// The order of the groups, key or -total; time ascending and others by their total unless given.
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    order: Option<String>,
    /// The most groups.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<String>,
    /// Also count the hours, days and so on in which nothing happened; a chart over time always does.
    #[arg(long)]
    fill: bool,
    /// Wait until the events of these positions are counted; a position is what a 2xx answers.
    #[arg(long, value_name = "POSITIONS")]
    at_least: Option<String>,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
    /// Where Tidemark answers; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
}

/// Asks and shows the answer.
pub(crate) async fn run(options: MetricsOptions, settings: &Settings) -> anyhow::Result<()> {
    let is_chart = terminal::is_read() && !options.json;
    let parameters = options.parameters(&Clock::system(), is_chart)?;
    let url = client::server(options.url, settings)?;
    let request = client::client(settings)?.get(format!("{url}/metrics")).query(&parameters);
    let response = client::send(request, &url).await?;
    let is_truncated = client::is_truncated(response.headers());
    let body = response.text().await?;
    if options.json {
        return Ok(output::print(body.trim_end())?);
    }
    let answer: Answer = serde_json::from_str(&body)?;
    let filters: Vec<(&str, String)> = parameters.into_iter().filter(|(name, _)| is_filter(name)).collect();
    let report = Report { answer: &answer, filters: &filters, is_truncated };
    Ok(output::print(&if is_chart { report.chart(terminal::width()) } else { report.table() })?)
}

fn is_filter(name: &str) -> bool {
    ["event_name", "channel", "campaign_id", "site_id", "user_id", "tag", "tz"].contains(&name)
}

impl MetricsOptions {
    /// The parameters of the route.
    ///
    /// # Errors
    /// A time before now that is none.
    fn parameters(&self, clock: &Clock, is_chart: bool) -> anyhow::Result<Vec<(&'static str, String)>> {
        let now = clock.now();
        let instant = |text: &Option<String>| text.as_deref().map(|text| when::instant(text, now)).transpose();
        let is_timeline = is_chart && self.is_timeline();
        let parameters = [
            ("event_name", self.event_name.clone()),
            ("channel", self.channel.clone()),
            ("campaign_id", self.campaign_id.clone()),
            ("site_id", self.site_id.clone()),
            ("user_id", self.user_id.clone()),
            ("tag", self.tag.clone()),
            ("from", instant(&self.from)?),
            ("to", instant(&self.to)?),
            ("group_by", self.group_by.clone()),
            ("tz", self.tz.clone()),
            ("uniques", self.uniques.clone()),
            ("order", self.order.clone()),
            ("limit", self.limit.clone()),
            ("fill", (self.fill || is_timeline).then(|| "zero".to_owned())),
            ("at_least", self.at_least.clone()),
        ];
        Ok(parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// Whether the groups are one row of times in their order.
    fn is_timeline(&self) -> bool {
        self.order.is_none() && self.group_by.as_deref().is_some_and(|dimension| TIMES.contains(&dimension))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: MetricsOptions,
    }

    fn parameters(arguments: &str, is_chart: bool) -> Vec<(&'static str, String)> {
        let now: DateTime<Utc> = "2026-11-21T12:00:00Z".parse().unwrap();
        let line = Line::try_parse_from(["metrics"].into_iter().chain(arguments.split_whitespace())).unwrap();
        line.options.parameters(&Clock::manual(now), is_chart).unwrap()
    }

    #[test]
    fn options_become_parameters_and_times_before_now_become_instants() {
        let asked = parameters("--event-name purchase --from -7d --to -1h --order -total --limit 5 --uniques approx", true);
        let expected = [
            ("event_name", "purchase"),
            ("from", "2026-11-14T12:00:00Z"),
            ("to", "2026-11-21T11:00:00Z"),
            ("uniques", "approx"),
            ("order", "-total"),
            ("limit", "5"),
        ];
        assert_eq!(asked, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(parameters("", true).is_empty(), "the defaults are those of the route");
    }

    #[test]
    fn a_chart_over_time_has_a_column_for_every_bucket() {
        let has_fill = |arguments, is_chart| parameters(arguments, is_chart).contains(&("fill", "zero".to_owned()));
        assert!(has_fill("--group-by hour", true));
        assert!(has_fill("--group-by hour,channel --fill", false));
        for (arguments, is_chart) in [("--group-by hour", false), ("--group-by channel", true), ("--group-by hour --order -total", true)] {
            assert!(!has_fill(arguments, is_chart), "{arguments}");
        }
    }
}
