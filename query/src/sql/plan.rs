//! From a statement to a plan over one cut.

use datafusion::{
    arrow::{
        array::timezone::Tz,
        datatypes::{DataType, FieldRef},
    },
    common::{Column, ParamValues},
    dataframe::DataFrame,
    execution::{SessionState, context::SessionContext},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    prelude::cast,
    sql::parser::Statement,
};
use datafusion_functions_json::{JSON_UNION_DATA_TYPE, functions::json_union_to_text};

use super::{
    fault::{self, BadStatement},
    gate, over, twice,
};
use crate::bounded::Share;

/// The plan of a statement, with its parameters filled in.
///
/// # Errors
/// What the statement names does not exist, does not fit together, or would do more than read.
pub(super) async fn plan(session: SessionState, statement: Statement, params: Option<ParamValues>) -> Result<DataFrame, BadStatement> {
    let text = statement.to_string();
    let plan = session.statement_to_plan(statement).await.map_err(|error| fault::of_statement(&error))?;
    gate::read_only().verify_plan(&plan).map_err(|_| BadStatement::read_only(&text))?;
    let plan = match params {
        Some(params) => plan.with_param_values(params).map_err(|error| fault::of_statement(&error))?,
        None => plan,
    };
    check_zones(&plan)?;
    twice::check(&plan)?;
    over::check(&plan)?;
    let plan = in_plain_types(plan).map_err(|error| fault::of_statement(&error))?;
    let share = Share::among_calls_of(&plan).map_err(|error| fault::of_statement(&error))?;
    Ok(DataFrame::new(with_share(session, share), plan))
}

/// A cast takes any text for a time zone; the rows could not be shown in one that does not exist.
fn check_zones(plan: &LogicalPlan) -> Result<(), BadStatement> {
    for field in plan.schema().fields() {
        if let DataType::Timestamp(_, Some(zone)) = field.data_type()
            && zone.parse::<Tz>().is_err()
        {
            return Err(BadStatement::no_time_zone(zone));
        }
    }
    Ok(())
}

/// The session, in which each call of a bounded function knows its share.
fn with_share(mut session: SessionState, share: Share) -> SessionState {
    session.config_mut().options_mut().extensions.insert(share);
    SessionContext::new_with_state(session).state()
}

/// The rows in types that every format and every client knows: a union of JSON types leaves as JSON text, a view of text as text.
fn in_plain_types(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let is_plain = |field: &FieldRef| *field.data_type() != *JSON_UNION_DATA_TYPE && *field.data_type() != DataType::Utf8View;
    if plan.schema().fields().iter().all(is_plain) {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(table, field)| {
            let column = Expr::Column(Column::new(table.cloned(), field.name()));
            match field.data_type() {
                json if *json == *JSON_UNION_DATA_TYPE => json_union_to_text(column).alias_qualified(table.cloned(), field.name()),
                DataType::Utf8View => cast(column, DataType::Utf8).alias_qualified(table.cloned(), field.name()),
                _ => column,
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
