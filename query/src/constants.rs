//! Constants that fit into every row.
//!
//! A constant becomes a column where an operator makes rows of it: a text of 60 MB, made once by `repeat`, would be copied for each of
//! 8,192 rows, outside of what the memory pool sees. So a plan may have only so many bytes of constants for each row that an operator
//! makes. Lists of `IN` and the sides of a comparison are never made into columns and do not count.

use std::sync::Arc;

use datafusion::{
    common::{
        Result, ScalarValue,
        config::ConfigOptions,
        exec_err,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, InListExpr, Literal},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, placeholder_row::PlaceholderRowExec},
};

/// The most that the constants of one operator may take, for one batch of rows.
const MOST_BYTES: usize = 64 << 20;

/// Refuses a plan in which the constants of an operator are too large.
#[derive(Debug)]
pub(crate) struct ConstantsFit;

impl PhysicalOptimizerRule for ConstantsFit {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let most = MOST_BYTES / options.execution.batch_size.get();
        plan.apply(|operator| {
            let bytes = if makes_one_row(operator) { 0 } else { bytes_of(operator)? };
            if bytes > most {
                return exec_err!("the constants of a SELECT take {bytes} bytes in each of its rows; at most {most} are possible");
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "ConstantsFit"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn makes_one_row(operator: &Arc<dyn ExecutionPlan>) -> bool {
    operator.children().iter().any(|input| input.is::<PlaceholderRowExec>())
}

fn bytes_of(operator: &Arc<dyn ExecutionPlan>) -> Result<usize> {
    let mut bytes = 0;
    operator.apply_expressions(&mut |expression| {
        bytes += made_by(expression);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

/// What the constants in an expression take in a row.
fn made_by(expression: &Arc<dyn PhysicalExpr>) -> usize {
    if let Some(constant) = expression.downcast_ref::<Literal>() {
        return width(constant.value());
    }
    if expression.is::<InListExpr>() {
        return 0;
    }
    let parts = expression.children().into_iter();
    let is_compared = |part: &&Arc<dyn PhysicalExpr>| expression.is::<BinaryExpr>() && part.is::<Literal>();
    parts.filter(|part| !is_compared(part)).map(made_by).sum()
}

/// What a value takes beyond its place in an array of such values.
fn width(value: &ScalarValue) -> usize {
    value.size().saturating_sub(size_of::<ScalarValue>())
}
