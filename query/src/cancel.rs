//! Stopping a query that does not yield.
//!
//! Aborting a task works only where the task waits, and a join can compute for minutes between two waits. So the plan of a
//! query gets a check above each join and below its inputs: once the query's [`Cancel`] is given, the next batch that passes is
//! an error instead. What remains is the work on one batch.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        exec_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        filter_pushdown::{FilterDescription, FilterPushdownPhase},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

/// The signal that ends one query. Clones are the same signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(CancellationToken);

impl Cancel {
    /// Ends the query.
    pub(crate) fn give(&self) {
        self.0.cancel();
    }

    /// Whether it is over.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is given.
    pub(crate) async fn given(&self) {
        self.0.cancelled().await;
    }
}

/// Puts a [`Checked`] above each join and below its inputs.
#[derive(Debug)]
pub(crate) struct CheckJoins;

impl PhysicalOptimizerRule for CheckJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let checked = plan.transform_up(|node| {
            if !node.name().contains("Join") {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| Checked::around(Arc::clone(input))).collect();
            let join = node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?;
            Ok(Transformed::yes(Checked::around(join)))
        })?;
        Ok(checked.data)
    }

    fn name(&self) -> &'static str {
        "CheckJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes batches on until the query is cancelled. The signal is in the session of the query, so the plan itself stays plain data.
#[derive(Debug)]
struct Checked {
    input: Arc<dyn ExecutionPlan>,
}

impl Checked {
    fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input })
    }
}

impl DisplayAs for Checked {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checked")
    }
}

impl ExecutionPlan for Checked {
    fn name(&self) -> &'static str {
        "Checked"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::around(children.swap_remove(0)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let cancel = context.session_config().get_extension::<Cancel>().unwrap_or_default();
        let batches = self.input.execute(partition, context)?;
        let schema = batches.schema();
        let checked = batches.map(move |batch| if cancel.is_given() { exec_err!("the query was cancelled") } else { batch });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, checked)))
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }
}
