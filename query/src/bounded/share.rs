//! How much one call may make: all calls of a statement together are bounded, too.

use datafusion::{
    common::{
        Result,
        config::{ConfigExtension, ConfigOptions},
        extensions_options,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator},
};

use super::size_of;

/// The most that one call, for one batch of rows, may make.
const MOST_BYTES_OF_CALL: u128 = 64 << 20;
/// The most that all calls of a statement may make together, for one batch of each.
const MOST_BYTES_OF_STATEMENT: u128 = 512 << 20;

extensions_options! {
    /// The share of each bounded call of a statement.
    pub(crate) struct Share {
        /// Between how many calls the statement's bound is divided.
        pub(crate) calls: usize, default = 1
    }
}

impl ConfigExtension for Share {
    const PREFIX: &'static str = "bounded";
}

impl Share {
    /// That of the calls in a plan. A chain of `||` is one call; a CTE counts at each of its names.
    pub(crate) fn among_calls_of(plan: &LogicalPlan) -> Result<Self> {
        let mut calls = 0;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expression| {
                expression.apply(|part| {
                    calls += calls_in(part);
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(Self { calls: usize::try_from(calls).unwrap_or_default() })
    }

    /// That of the statement to which these options belong.
    pub(super) fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// In bytes.
    pub(super) fn bytes(&self) -> u128 {
        MOST_BYTES_OF_CALL.min(MOST_BYTES_OF_STATEMENT / self.calls.max(1) as u128)
    }
}

/// What a part of an expression adds to the number of calls. A `||` takes its left neighbour into its own call.
fn calls_in(part: &Expr) -> i64 {
    let is_concatenation = |part: &Expr| matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }));
    match part {
        Expr::BinaryExpr(binary) if is_concatenation(part) => i64::from(!is_concatenation(&binary.left)),
        Expr::ScalarFunction(call) => i64::from(size_of(call.func.name()).is_some()),
        _ => 0,
    }
}
