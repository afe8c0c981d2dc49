//! Bounded functions in the place of those that an operator or the planner names by itself, such as `a || b` and `[a, b]`.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF, expr::ScalarFunction, expr_rewriter::FunctionRewrite},
};

use super::{Bounded, joined::Concatenation, size::Size, size_of};

/// Applied to each expression of a plan, from the inside out, before anything is computed.
#[derive(Debug)]
pub(super) struct BoundEverywhere;

impl FunctionRewrite for BoundEverywhere {
    fn name(&self) -> &'static str {
        "bound_everywhere"
    }

    fn rewrite(&self, expression: Expr, _schema: &DFSchema, _options: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => Transformed::yes(concatenation(*left, *right)),
            Expr::ScalarFunction(ScalarFunction { func, args }) if !Bounded::is(&func) && size_of(func.name()).is_some() => {
                let size = size_of(func.name()).expect("it was just found");
                Transformed::yes(Bounded::udf(func, size).call(args))
            }
            other => Transformed::no(other),
        })
    }
}

/// `left || right`. A chain becomes one call, so that what is in its middle is not made.
fn concatenation(left: Expr, right: Expr) -> Expr {
    let (function, mut parts) = match left {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == Concatenation::NAME => (func, args),
        first => (Bounded::udf(Arc::new(ScalarUDF::new_from_impl(Concatenation::new())), Size::Joined), vec![first]),
    };
    parts.push(right);
    function.call(parts)
}
