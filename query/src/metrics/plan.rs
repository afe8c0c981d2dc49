//! A question as DataFusion plans: one row of totals, and the groups.
//!
//! Exact unique users are counted by grouping twice, by (keys, user) and then by keys. The answer is that of `COUNT(DISTINCT)`,
//! which keeps a set for each group: about as fast with few groups, three times slower with tens of thousands.

use datafusion::{
    common::{NullHandling, Result, ScalarValue, UnnestOptions},
    dataframe::DataFrame,
    functions::expr_fn::coalesce,
    functions_aggregate::expr_fn::{approx_distinct, count, sum},
    functions_nested::expr_fn::{array_distinct, array_has},
    logical_expr::{Expr, SortExpr, cast},
    prelude::{ident, lit},
};
use schemas::Timestamp;

use super::question::{Dimension, Filters, MetricsQuestion, Order, Uniques};
use crate::buckets::time_bucket;

const USER: &str = "user_id";
const ROWS: &str = "rows_of_user";
/// The column of a group's or the whole's number of events.
pub(super) const TOTAL: &str = "total_events";
/// The column of a group's or the whole's number of users.
pub(super) const UNIQUE: &str = "unique_users";

/// The column of the key at `place`.
pub(super) fn key(place: usize) -> String {
    format!("key_{place}")
}

/// One row: what the answer says about all events of the question, whatever the groups.
pub(super) fn totals(events: DataFrame, question: &MetricsQuestion) -> Result<DataFrame> {
    let rows = events.filter(predicate(question))?.select([ident(USER)])?;
    counted(rows, Vec::new(), question.uniques)
}

/// The groups: keys, then the two counts, in the order of the question. At most one more than the answer may have.
pub(super) fn groups(events: DataFrame, question: &MetricsQuestion) -> Result<DataFrame> {
    let mut columns: Vec<Expr> =
        question.group_by.iter().enumerate().map(|(place, dimension)| dimension_column(*dimension, question).alias(key(place))).collect();
    columns.push(ident(USER));
    let mut rows = events.filter(predicate(question))?.select(columns)?;
    if let Some(place) = question.group_by.iter().position(|dimension| *dimension == Dimension::Tag) {
        rows = rows.unnest_columns_with_options(
            &[&key(place)],
            UnnestOptions { null_handling: NullHandling::PreserveAndExpandEmpty, ..UnnestOptions::new() },
        )?;
    }
    let keys = (0..question.group_by.len()).map(|place| ident(key(place))).collect();
    counted(rows, keys, question.uniques)?.sort(order(question))?.limit(0, Some(most_groups(question) + 1))
}

/// With `fill=zero` the limit is applied after filling.
fn most_groups(question: &MetricsQuestion) -> usize {
    if question.fill.is_some() { question.max_groups } else { question.limit.unwrap_or(question.max_groups) }
}

/// `keys`, [`TOTAL`] and [`UNIQUE`] of rows that have the keys and the user.
fn counted(rows: DataFrame, keys: Vec<Expr>, uniques: Uniques) -> Result<DataFrame> {
    let grouped = match uniques {
        Uniques::Approximate => {
            rows.aggregate(keys.clone(), vec![count(lit(1)).alias(TOTAL), approx_distinct(ident(USER)).alias(UNIQUE)])?
        }
        Uniques::Exact => {
            let per_user = keys.iter().cloned().chain([ident(USER)]).collect();
            rows.aggregate(per_user, vec![count(lit(1)).alias(ROWS)])?
                .aggregate(keys.clone(), vec![sum(ident(ROWS)).alias(TOTAL), count(ident(USER)).alias(UNIQUE)])?
        }
    };
    let number = |name: &str| coalesce(vec![cast(ident(name), datafusion::arrow::datatypes::DataType::Int64), lit(0_i64)]).alias(name);
    grouped.select(keys.into_iter().chain([number(TOTAL), number(UNIQUE)]))
}

fn predicate(question: &MetricsQuestion) -> Expr {
    let range = ident("timestamp").between(instant(question.from), instant(question.to));
    filters(&question.filters).into_iter().fold(range, Expr::and)
}

fn filters(filters: &Filters) -> Vec<Expr> {
    let equal = filters.equal.iter().map(|(column, value)| ident(*column).eq(lit(value.as_str())));
    equal.chain(filters.tag.as_deref().map(|tag| array_has(ident("tags"), lit(tag)))).collect()
}

fn instant(timestamp: Timestamp) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(timestamp.0), Some("UTC".into())))
}

fn dimension_column(dimension: Dimension, question: &MetricsQuestion) -> Expr {
    match dimension {
        Dimension::Time(unit) => time_bucket(unit, &question.zone.name, ident("timestamp")),
        Dimension::Column(name) => ident(name),
        Dimension::Tag => array_distinct(ident("tags")),
    }
}

fn order(question: &MetricsQuestion) -> Vec<SortExpr> {
    let ascending = |place: usize| ident(key(place)).sort(true, false);
    let keys = 0..question.group_by.len();
    let total = ident(TOTAL).sort(false, false);
    match question.order {
        Order::Key => keys.map(ascending).collect(),
        Order::TotalDescending => [total].into_iter().chain(keys.map(ascending)).collect(),
        Order::Natural => {
            let (time, others): (Vec<usize>, Vec<usize>) = keys.partition(|place| matches!(question.group_by[*place], Dimension::Time(_)));
            time.into_iter().map(ascending).chain([total]).chain(others.into_iter().map(ascending)).collect()
        }
    }
}
