//! Filters inside the scan: the columns that they read are decoded first, of the long texts only the rows that pass.
//!
//! Only what cannot fail goes there, comparisons of columns with constants: Parquet's reader makes a text of every error, and who asks
//! would not learn what is wrong. The filter above the scan stays, so that this costs time at worst, never an answer. A scan without long
//! texts is left as it is, as they are what costs time; so is one of small files: it would ask the store twice for each instead of once.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{
        physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource},
        source::DataSourceExec,
    },
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, conjunction,
        expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr},
        split_conjunction,
        utils::collect_columns,
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
};

use crate::provider::FREE_TEXT;

/// From this size on, as the files of a scan are on average, a second request costs less than what is not decoded.
const LARGE_BYTES: u64 = 4 << 20;

/// Comparisons, and what puts them together.
const SAFE: [Operator; 10] = [
    Operator::Eq,
    Operator::NotEq,
    Operator::Lt,
    Operator::LtEq,
    Operator::Gt,
    Operator::GtEq,
    Operator::IsDistinctFrom,
    Operator::IsNotDistinctFrom,
    Operator::And,
    Operator::Or,
];

/// Puts the filters of a scan of long texts that cannot fail into the scan.
#[derive(Debug)]
pub(crate) struct EarlyFilters;

impl PhysicalOptimizerRule for EarlyFilters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let early = plan.transform_up(|node| {
            let scan = node.downcast_ref::<DataSourceExec>().and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>);
            Ok(match scan.and_then(|(scan, source)| filtering(scan, source)) {
                Some(scan) => Transformed::yes(DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })?;
        Ok(early.data)
    }

    fn name(&self) -> &'static str {
        "EarlyFilters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A scan that applies its filters; nothing when it should stay as it is.
fn filtering(scan: &FileScanConfig, source: &ParquetSource) -> Option<FileScanConfig> {
    let files = || scan.file_groups.iter().flat_map(|group| group.iter());
    let bytes: u64 = files().map(|file| file.object_meta.size).sum();
    if bytes < LARGE_BYTES * files().count() as u64 {
        return None;
    }
    let predicate = scan.file_source().filter()?;
    let filters = split_conjunction(&predicate);
    // One that changes while the query runs lets whole files be skipped, and is tied to the scan that it was given to.
    if filters.iter().any(|filter| filter.is::<DynamicFilterPhysicalExpr>()) {
        return None;
    }
    let is_long = |column: usize| FREE_TEXT.contains(&source.table_schema().table_schema().field(column).name().as_str());
    let reads_none = |filter: &Arc<dyn PhysicalExpr>| !collect_columns(filter).iter().any(|column| is_long(column.index()));
    let early: Vec<_> = filters.into_iter().filter(|filter| cannot_fail(filter) && reads_none(filter)).cloned().collect();
    if early.is_empty() || !source.projection()?.column_indices().into_iter().any(is_long) {
        return None;
    }
    let source = source.with_predicate(conjunction(early)).with_pushdown_filters(true);
    Some(FileScanConfigBuilder::from(scan.clone()).with_source(Arc::new(source)).build())
}

fn cannot_fail(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let is_known = match expression.downcast_ref::<BinaryExpr>() {
        Some(binary) => SAFE.contains(binary.op()),
        None => {
            expression.is::<Column>()
                || expression.is::<Literal>()
                || expression.is::<InListExpr>()
                || expression.is::<IsNullExpr>()
                || expression.is::<IsNotNullExpr>()
                || expression.is::<LikeExpr>()
                || expression.is::<NotExpr>()
        }
    };
    is_known && expression.children().into_iter().all(cannot_fail)
}
