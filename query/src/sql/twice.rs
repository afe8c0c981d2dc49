//! SELECT lists that DataFusion would compute once although they stand twice.
//!
//! Its rule `optimize_projections` drops one of two equal lists that come to stand directly above each other. That is right of columns and
//! wrong of everything that is computed: `SELECT s + s AS s FROM (SELECT s + s AS s FROM ...)` would be doubled once. A wrong answer is
//! worse than none, so such a statement is refused.

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    logical_expr::{Expr, LogicalPlan, Projection},
};

use super::fault::{self, BadStatement};

/// Refuses a statement in which a list stands twice.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), BadStatement> {
    let mut is_wrong = false;
    let walked = plan.apply_with_subqueries(|node| {
        is_wrong |= matches!(node, LogicalPlan::Projection(list) if stands_twice(list));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| fault::of_statement(&error))?;
    if !is_wrong {
        return Ok(());
    }
    Err(BadStatement::too_complex(
        "a SELECT and the subquery in it compute the same list, which would be done only once",
        "give the columns of the inner one other names, such as `SELECT a + a AS b FROM (SELECT x + x AS a ...)`",
    ))
}

fn stands_twice(list: &Projection) -> bool {
    !is_taken_as_it_is(list) && computed_below(&list.input).is_some_and(|inner| inner.expr == list.expr)
}

/// The next computed list, through everything that may be moved out of the way.
fn computed_below(mut node: &LogicalPlan) -> Option<&Projection> {
    loop {
        node = match node {
            LogicalPlan::Projection(list) if is_taken_as_it_is(list) => &list.input,
            LogicalPlan::Projection(list) => return Some(list),
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Sort(sort) => &sort.input,
            LogicalPlan::Limit(limit) => &limit.input,
            _ => return None,
        }
    }
}

/// Whether nothing in a list is computed.
fn is_taken_as_it_is(list: &Projection) -> bool {
    let is_taken = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
    list.expr.iter().all(|expr| matches!(expr, Expr::Alias(alias) if is_taken(&alias.expr)) || is_taken(expr))
}
