//! A report as one HTML file that needs nothing else: the numbers, and three plots as SVG.

use std::ops::Range;

use anyhow::Context;
use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use super::{recorder::Second, report::Report};

const SIZE: (u32, u32) = (900, 320);
const FONT: (&str, u32) = ("sans-serif", 15);
const SCHEDULED: RGBColor = RGBColor(170, 170, 170);
const FIRST: RGBColor = RGBColor(31, 119, 180);
const SECOND: RGBColor = RGBColor(214, 39, 40);
const THIRD: RGBColor = RGBColor(255, 160, 60);
const SMALLEST_MS: f64 = 0.01;
/// The last percentile that is drawn is 100 - 100 / this: 99.999.
const LAST_PERCENTILE: f64 = 100_000.0;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}pre{background:#f6f6f6;padding:1em;overflow:auto}\
                     svg{max-width:100%;height:auto}.bad{color:#b00}";

/// A line of a plot.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The whole file.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let asked = &report.asked;
    let title = format!("{} to {}", asked.rate, asked.url);
    let failures: String = report.failures.iter().map(|failure| format!("<p class=bad>{}</p>", escaped(failure))).collect();
    let plots = plots(report).context("the plots cannot be drawn")?.concat();
    Ok(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>\
         <p>{began}, {connections} connections, {batch} events in a request, bodies {body}, ids {ids}, repeats {repeats} %, run {run}</p>\
         {failures}<pre>{summary}</pre>{plots}</html>\n",
        title = escaped(&title),
        began = asked.began.format("%F %T UTC"),
        connections = asked.connections,
        batch = asked.batch,
        body = asked.body,
        ids = asked.ids,
        repeats = asked.repeats_percent,
        run = asked.run,
        summary = escaped(&report.to_string()),
    ))
}

fn plots(report: &Report) -> anyhow::Result<[String; 3]> {
    let over_time = |value: fn(&Second) -> f64| report.seconds.iter().map(|second| (number(second.second), value(second))).collect();
    let scheduled = (0..).map(number).zip(report.asked.schedule.iter().map(|requests| number(*requests))).collect();
    let throughput = [
        Line { name: "scheduled", colour: SCHEDULED, points: scheduled },
        Line { name: "answered", colour: FIRST, points: over_time(|second| number(second.answered)) },
        Line { name: "errors and dropped", colour: SECOND, points: over_time(|second| number(second.errors + second.dropped)) },
    ];
    let latency = [
        Line { name: "max", colour: THIRD, points: over_time(|second| second.max_ms.max(SMALLEST_MS)) },
        Line { name: "p99", colour: SECOND, points: over_time(|second| second.p99_ms.max(SMALLEST_MS)) },
        Line { name: "p50", colour: FIRST, points: over_time(|second| second.p50_ms.max(SMALLEST_MS)) },
    ];
    let inverse = |(percentile, ms): &(f64, f64)| (100.0 / (100.0 - percentile), ms.max(SMALLEST_MS));
    let by_percentile = report.percentiles.iter().map(inverse).filter(|(inverse, _)| *inverse <= LAST_PERCENTILE).collect();
    let distribution = [Line { name: "latency", colour: FIRST, points: by_percentile }];
    let seconds = |second: &f64| format!("{second:.0}");
    let percentile = |inverse: &f64| format!("{} %", 100.0 - 100.0 / inverse);

    let time = 0.0..number(report.seconds.len() as u64).max(1.0);
    let most = 1.1 * highest(&throughput);
    let percentiles = (1.0..distribution[0].points.last().map_or(10.0, |last| last.0.max(10.0))).log_scale();
    let (latencies, by_percentile) = (decades(&latency).log_scale(), decades(&distribution).log_scale());
    Ok([
        plot(["Requests a second", "seconds since the start"], &throughput, (time.clone(), 0.0..most), &seconds)?,
        plot(["Latency in ms over time", "seconds since the start"], &latency, (time, latencies), &seconds)?,
        plot(["Latency in ms by percentile", "percentile"], &distribution, (percentiles, by_percentile), &percentile)?,
    ])
}

/// Lines over two axes, as SVG.
fn plot<X, Y>([title, x_name]: [&str; 2], lines: &[Line], (x, y): (X, Y), x_label: &dyn Fn(&f64) -> String) -> anyhow::Result<String>
where
    X: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
    Y: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&area);
        builder.caption(title, FONT).margin(12).x_label_area_size(38).y_label_area_size(70);
        let mut chart = builder.build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(x_name)
            .x_label_formatter(x_label)
            .y_label_formatter(&f64::to_string)
            .label_style(FONT)
            .draw()?;
        for Line { name, colour, points } in lines {
            let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            drawn.label(*name).legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font(FONT)
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value))
}

fn highest(lines: &[Line]) -> f64 {
    values(lines).fold(1.0, f64::max)
}

/// From the power of ten below the lowest value to the one above the highest.
fn decades(lines: &[Line]) -> Range<f64> {
    let lowest = values(lines).fold(1.0, f64::min);
    10_f64.powf(lowest.log10().floor())..10_f64.powf(highest(lines).log10().ceil()).max(10.0)
}

#[expect(clippy::cast_precision_loss, reason = "a pixel has no more precision")]
fn number(count: u64) -> f64 {
    count as f64
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
