//! Bounded functions in the place of those that an operator or the planner names by itself, such as `a || b` and `[a, b]`; and texts
//! in the place of views for the aggregation that would keep what they point to without counting it.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, FieldRef},
    common::{DFSchema, Result, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF,
        expr::{AggregateFunction, Cast, ScalarFunction},
        expr_rewriter::FunctionRewrite,
    },
};

use super::{Bounded, joined::Concatenation, size::Size, size_of};

/// Keeps the values that it is given as they are, and of a view counts only the place.
const KEEPS_VALUES: &str = "array_agg";

/// Applied to each expression of a plan, from the inside out, before anything is computed.
#[derive(Debug)]
pub(super) struct BoundEverywhere;

impl FunctionRewrite for BoundEverywhere {
    fn name(&self) -> &'static str {
        "bound_everywhere"
    }

    fn rewrite(&self, expression: Expr, schema: &DFSchema, _options: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => Transformed::yes(concatenation(*left, *right)),
            Expr::ScalarFunction(ScalarFunction { func, args }) if !Bounded::is(&func) && size_of(func.name()).is_some() => {
                let size = size_of(func.name()).expect("it was just found");
                Transformed::yes(Bounded::udf(func, size).call(args))
            }
            Expr::AggregateFunction(mut call) if call.func.name() == KEEPS_VALUES => {
                let are_copied = copied(&mut call, schema)?;
                Transformed::new_transformed(Expr::AggregateFunction(call), are_copied)
            }
            other => Transformed::no(other),
        })
    }
}

/// Gives an aggregation texts of its own in the place of views, and tells whether there were any. Where it has to sort its values, or to
/// know which it has already, it makes its own anyway.
fn copied(call: &mut AggregateFunction, schema: &DFSchema) -> Result<bool> {
    if call.params.distinct || !call.params.order_by.is_empty() {
        return Ok(false);
    }
    let mut are_copied = false;
    for argument in &mut call.params.args {
        let kind = argument.get_type(schema)?;
        let own = without_views(&kind);
        if own != kind {
            *argument = Expr::Cast(Cast::new(Box::new(argument.clone()), own));
            are_copied = true;
        }
    }
    Ok(are_copied)
}

fn without_views(kind: &DataType) -> DataType {
    let of_field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(without_views(field.data_type())));
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::List(element) => DataType::List(of_field(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of_field).collect()),
        other => other.clone(),
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
