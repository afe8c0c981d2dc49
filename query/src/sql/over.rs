//! Aggregates that are not possible for every row of a window.
//!
//! `array_agg(path) OVER (ORDER BY timestamp)` over a million rows makes half a billion of values, outside of what the memory pool sees;
//! `median(x) OVER (ORDER BY timestamp)` sorts as many. Both do so in one go that nothing can end.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition, expr::WindowFunction},
};

use super::fault::{self, BadStatement};

/// Their result grows with the rows, and each row has one of its own.
const GROWING: [&str; 2] = ["array_agg", "string_agg"];
/// To tell their result they go through all values that they were given; so does whatever is DISTINCT but a count.
const SORTING: [&str; 2] = ["median", "percentile_cont"];

/// Refuses a statement that asks for such an aggregate of a window.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), BadStatement> {
    let mut wrong = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                wrong = wrong.take().or_else(|| if let Expr::WindowFunction(call) = part { refused(call) } else { None });
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(|error| fault::of_statement(&error))?;
    wrong.map_or(Ok(()), Err)
}

fn refused(call: &WindowFunction) -> Option<BadStatement> {
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return None };
    let (name, params) = (function.name(), &call.params);
    if GROWING.contains(&name) {
        return Some(BadStatement::too_complex(
            &format!("`{name}` is not possible with OVER, as it would make a list or a text of its own for every row"),
            "group by what it is of, or take single rows of the window with lag, lead or nth_value",
        ));
    }
    let is_distinct = params.distinct && name != "count";
    let frame = &params.window_frame;
    let grows = frame.start_bound.is_unbounded() != frame.end_bound.is_unbounded();
    (grows && (is_distinct || SORTING.contains(&name))).then(|| {
        BadStatement::too_complex(
            &format!("`{name}` of a growing window is not possible, as it would go through all rows before for every row"),
            "leave ORDER BY out, which takes the whole partition, or say how many rows: ROWS BETWEEN 99 PRECEDING AND CURRENT ROW",
        )
    })
}
