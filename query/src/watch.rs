//! What operators of DataFusion do not do by themselves: end when the query is cancelled, tell the memory pool what they keep, and keep it
//! in few pieces.
//!
//! Aborting a task works only where the task waits, and a join can compute for minutes between two waits. A window keeps all rows that
//! it was given, twice while it puts them together, and takes no memory from the pool for them. The partial states of `array_agg` or
//! `median` leave their operator to wait in the next one until there are 8,192 of them, whatever they weigh. And a row that a join
//! repeats is copied each time.
//!
//! A sort that has to spill starts a task with a channel for each batch that it was given, some KiB that it does not count, and
//! `array_agg` keeps each by itself; a cross join or a recursion makes batches of a row or two. So these two get theirs [`gathered`].
//!
//! So the plan of a query gets a [`Watched`] above and below the operators that do so. What remains is the work on one batch.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::DataType},
    common::{
        Result, ScalarValue,
        config::ConfigOptions,
        exec_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        PhysicalExpr,
        utils::collect_columns,
        window::{StandardWindowExpr, WindowExpr},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties, ReplaceChildrenOptions,
        aggregates::{AggregateExec, AggregateInputMode, AggregateMode},
        filter_pushdown::{FilterDescription, FilterPushdownPhase},
        sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter,
        unnest::UnnestExec,
        windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr},
    },
};
use futures::StreamExt;

use crate::{cancel::Cancel, gathered::gathered, widths};

/// The widest row that may be repeated: a batch of 8,192 of them takes half a gigabyte.
const MOST_BYTES_OF_ROW: u128 = 64 << 10;

/// Puts a [`Watched`] where one is needed.
#[derive(Debug)]
pub(crate) struct WatchOperators;

impl PhysicalOptimizerRule for WatchOperators {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let watched = plan.transform_up(|node| {
            let inputs = node.children().into_iter().map(|input| Some(Watched::around(Arc::clone(input), below(&node, input)?)));
            match inputs.collect::<Option<Vec<_>>>() {
                Some(inputs) if !inputs.is_empty() => {
                    let node = node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?;
                    let times_kept = usize::from(has_wide_states(&node, |mode| *mode == AggregateMode::Partial));
                    Ok(Transformed::yes(Watched::around(node, Duty { times_kept, ..Duty::default() })))
                }
                _ => Ok(Transformed::no(node)),
            }
        })?;
        Ok(watched.data)
    }

    fn name(&self) -> &'static str {
        "WatchOperators"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What has to be watched of the rows that an operator is given by an input; nothing when it does all by itself.
fn below(node: &Arc<dyn ExecutionPlan>, input: &Arc<dyn ExecutionPlan>) -> Option<Duty> {
    if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        return Some(of_window(window.window_expr(), None));
    }
    if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
        return Some(of_window(window.window_expr(), Some(&window.input_order_mode)));
    }
    let is_sort = node.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    if is_sort || has_wide_states(node, |mode| mode.input_mode() == AggregateInputMode::Raw) {
        return Some(Duty { is_gathered: true, ..Duty::default() });
    }
    let columns = 0..input.schema().fields().len();
    if let Some(unnest) = node.downcast_ref::<UnnestExec>() {
        let is_list = |column: &usize| unnest.list_column_indices().iter().any(|list| list.index_in_input_schema == *column);
        return Some(Duty { repeated: columns.filter(|column| !is_list(column)).collect(), ..Duty::default() });
    }
    node.name().contains("Join").then(|| Duty { repeated: columns.collect(), ..Duty::default() })
}

/// A window keeps what it was given; one that streams through sorted partitions lets go of those that are over, and one that only numbers
/// its rows keeps none. It may repeat what its functions take.
fn of_window(functions: &[Arc<dyn WindowExpr>], streams_in: Option<&InputOrderMode>) -> Duty {
    let taken = functions.iter().flat_map(|function| function.expressions());
    let repeated = taken.flat_map(|argument| collect_columns(&argument)).map(|column| column.index()).collect();
    let times_kept = if streams_in.is_some() && functions.iter().all(numbers_rows) { 0 } else { 2 };
    let partitions = match streams_in {
        Some(InputOrderMode::Sorted) => functions.first().map(|function| function.partition_by().to_vec()).unwrap_or_default(),
        _ => Vec::new(),
    };
    Duty { times_kept, partitions, repeated, ..Duty::default() }
}

fn numbers_rows(function: &Arc<dyn WindowExpr>) -> bool {
    let standard = function.as_any().downcast_ref::<StandardWindowExpr>().map(StandardWindowExpr::get_standard_func_expr);
    standard.and_then(|standard| standard.as_any().downcast_ref::<WindowUDFExpr>()).is_some_and(|udf| udf.fun().name() == "row_number")
}

/// Whether an aggregation in one of these modes has states that grow with the rows of their groups.
fn has_wide_states(node: &Arc<dyn ExecutionPlan>, is_meant: impl Fn(&AggregateMode) -> bool) -> bool {
    let grows = |kind: &DataType| kind.is_nested() || *kind == DataType::LargeUtf8;
    node.downcast_ref::<AggregateExec>().filter(|aggregation| is_meant(aggregation.mode())).is_some_and(|aggregation| {
        let states = aggregation.aggr_expr().iter().flat_map(|function| function.state_fields());
        states.flatten().any(|state| grows(state.data_type()))
    })
}

/// What is done about the rows that pass, besides the look at [`Cancel`].
#[derive(Clone, Debug, Default)]
struct Duty {
    /// How often the next operator keeps each row without saying so.
    times_kept: usize,
    /// Rows that differ in these have nothing to do with each other: those before the last change are not kept any more. Without any, all
    /// are kept until the query has ended.
    partitions: Vec<Arc<dyn PhysicalExpr>>,
    /// The columns that the next operator may copy as often as it likes.
    repeated: Vec<usize>,
    /// The next operator does not count what each batch costs it beside its rows.
    is_gathered: bool,
}

/// Passes batches on until the query is cancelled. The signal is in the session of the query, so the plan itself stays plain data.
#[derive(Debug)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    duty: Duty,
}

impl Watched {
    fn around(input: Arc<dyn ExecutionPlan>, duty: Duty) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, duty })
    }
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.duty.is_gathered { "Watched: small batches put together" } else { "Watched" })
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        "Watched"
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
        Ok(Self::around(children.swap_remove(0), self.duty.clone()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let cancel = context.session_config().get_extension::<Cancel>().unwrap_or_default();
        let memory = MemoryConsumer::new(format!("Watched[{partition}]")).register(context.memory_pool());
        let batch_size = context.session_config().batch_size();
        let mut watch = Watch { duty: self.duty.clone(), memory, partition: None };
        let batches = self.input.execute(partition, context)?;
        let schema = batches.schema();
        let watched = batches.map(move |batch| {
            if cancel.is_given() {
                return exec_err!("the query was cancelled");
            }
            batch.and_then(|batch| watch.passed(batch))
        });
        Ok(match self.duty.is_gathered {
            true => {
                let gathered = gathered(watched, Arc::clone(&schema), batch_size);
                Box::pin(RecordBatchStreamAdapter::new(schema, gathered))
            }
            false => Box::pin(RecordBatchStreamAdapter::new(schema, watched)),
        })
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

/// The rows of one stream as they pass.
struct Watch {
    duty: Duty,
    memory: MemoryReservation,
    /// In which partition the last row was.
    partition: Option<Vec<ScalarValue>>,
}

impl Watch {
    /// A batch on its way, when there is memory for it.
    fn passed(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        self.check_repeated(&batch)?;
        if self.duty.times_kept > 0 && batch.num_rows() > 0 {
            self.keep(&batch)?;
        }
        Ok(batch)
    }

    fn check_repeated(&self, batch: &RecordBatch) -> Result<()> {
        let widest = match self.duty.repeated.is_empty() {
            true => 0,
            false => widths::of_rows(&batch.project(&self.duty.repeated)?)?.into_iter().max().unwrap_or_default(),
        };
        if widest <= MOST_BYTES_OF_ROW {
            return Ok(());
        }
        exec_err!(
            "a row of {widest} bytes would be repeated by a join, a window or an unnest; at most {MOST_BYTES_OF_ROW} are possible: leave \
             its long texts and lists out, or shorten them with left() or array_slice()"
        )
    }

    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        let last = batch.slice(batch.num_rows() - 1, 1);
        let value = |key: &Arc<dyn PhysicalExpr>| ScalarValue::try_from_array(&key.evaluate(&last)?.into_array(1)?, 0);
        let partition = Some(self.duty.partitions.iter().map(value).collect::<Result<Vec<_>>>()?);
        if self.partition != partition {
            self.memory.free();
            self.partition = partition;
        }
        let bytes = usize::try_from(widths::of_rows(batch)?.into_iter().sum::<u128>()).unwrap_or(usize::MAX);
        self.memory.try_grow(bytes.saturating_mul(self.duty.times_kept))
    }
}
