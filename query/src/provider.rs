//! A table at one version, and the rows above it, as DataFusion sees them.
//!
//! A plain Parquet scan over the files that may hold matching rows: nothing is listed, nothing is looked up. Files are
//! skipped by day and by the ranges of the Delta log before any is opened; row groups and pages by the statistics inside.
//! Filters stay `Inexact`, so DataFusion filters the rows again and a range that is too wide costs time, never an answer.
//! The number of rows is exact, so that `COUNT(*)` of everything reads no file; ranges are not given as statistics, because the
//! log rounds them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::cast,
        datatypes::{DataType, FieldRef, Schema, SchemaRef},
    },
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue, stats::Precision},
    config::TableParquetOptions,
    datasource::{
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource, parquet::CachedParquetFileReaderFactory},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    object_store::{ObjectMeta, path::Path},
    physical_plan::{ExecutionPlan, Statistics, empty::EmptyExec, union::UnionExec},
};
use schemas::tables::EVENT_DATE;
use table::{DataFile, Snapshot};

use crate::{footers::WholeFooters, pruning::may_match};

/// Columns whose texts are long, and mostly different.
pub(crate) const FREE_TEXT: [&str; 2] = ["metadata", "message"];

/// Under which name the store of the tables is registered with DataFusion.
pub(crate) fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse("tidemark://tables").expect("a scheme and a host are a URL")
}

/// The committed rows of a table at one version.
#[derive(Debug)]
pub(crate) struct Committed {
    snapshot: Snapshot,
    schema: SchemaRef,
    /// What is in the files, and the partition column behind it.
    layout: TableSchema,
}

impl Committed {
    /// The rows of a snapshot, with these columns in this order.
    pub(crate) fn new(snapshot: Snapshot, schema: SchemaRef) -> Self {
        let (day, stored): (Vec<FieldRef>, Vec<FieldRef>) = schema.fields().iter().cloned().partition(|field| field.name() == EVENT_DATE);
        let stored = Arc::new(Schema::new(stored));
        let layout = TableSchema::builder(stored).with_table_partition_cols(day).build();
        Self { snapshot, schema, layout }
    }

    /// Columns of the table, by their place in the layout, where the partition column comes last.
    fn places(&self, projection: Option<&Vec<usize>>) -> Result<Vec<usize>> {
        let place = |column: usize| Ok(self.layout.table_schema().index_of(self.schema.field(column).name())?);
        match projection {
            Some(columns) => columns.iter().map(|column| place(*column)).collect(),
            None => (0..self.schema.fields().len()).map(place).collect(),
        }
    }

    fn partitioned(&self, file: &DataFile) -> Result<PartitionedFile> {
        let meta = ObjectMeta {
            location: Path::parse(&file.path)?,
            last_modified: chrono::DateTime::from_timestamp_millis(file.written_at_ms).unwrap_or_default(),
            size: file.size_bytes,
            e_tag: None,
            version: None,
        };
        let mut known = Statistics::new_unknown(self.layout.file_schema());
        known.num_rows = Precision::Exact(usize::try_from(file.rows).unwrap_or(usize::MAX));
        Ok(PartitionedFile::new_from_meta(meta)
            .with_partition_values(vec![ScalarValue::Date32(Some(file.date.0))])
            .with_statistics(Arc::new(known)))
    }

    fn source(&self, state: &dyn Session) -> Result<ParquetSource> {
        let runtime = state.runtime_env();
        let global = state.config_options().execution.parquet.clone();
        let footers =
            CachedParquetFileReaderFactory::new(runtime.object_store(store_url())?, runtime.cache_manager.get_file_metadata_cache());
        let footer_bytes = global.metadata_size_hint;
        let source = ParquetSource::new(self.layout.clone())
            .with_table_parquet_options(TableParquetOptions { global, ..TableParquetOptions::default() })
            .with_parquet_file_reader_factory(Arc::new(WholeFooters(footers)));
        Ok(match footer_bytes {
            Some(bytes) => source.with_metadata_size_hint(bytes),
            None => source,
        })
    }

    /// The files in groups, one for each thread that will read, with what is known about each group and about all of them.
    fn groups(&self, files: &[DataFile], threads: usize) -> Result<(Vec<FileGroup>, Statistics)> {
        let schema = self.layout.table_schema();
        let mut groups = Vec::new();
        for group in by_size(files, threads) {
            let files = group.into_iter().map(|file| self.partitioned(file)).collect::<Result<Vec<_>>>()?;
            let known = Statistics::try_merge_iter(files.iter().filter_map(|file| file.statistics.as_deref()), schema)?;
            groups.push(FileGroup::new(files).with_statistics(Arc::new(known)));
        }
        let known = Statistics::try_merge_iter(groups.iter().filter_map(|group| group.file_statistics(None)), schema)?;
        Ok((groups, known))
    }
}

#[async_trait]
impl TableProvider for Committed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let places = self.places(projection)?;
        let files = may_match(self.snapshot.files(), &self.schema, filters, state);
        tracing::debug!(files = self.snapshot.files().len(), scanned = files.len(), "files chosen");
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.layout.table_schema().project(&places)?))));
        }
        let (groups, known) = self.groups(&files, state.config().target_partitions())?;
        let scan = FileScanConfigBuilder::new(store_url(), Arc::new(self.source(state)?))
            .with_file_groups(groups)
            .with_statistics(known)
            .with_limit(limit)
            .with_projection_indices(Some(places))?;
        Ok(DataSourceExec::from_data_source(scan.build()))
    }
}

/// The rows of a cut: those of the table and those above it.
#[derive(Debug)]
pub(crate) struct WithTail {
    committed: Committed,
    tail: Vec<RecordBatch>,
}

impl WithTail {
    /// The rows of a snapshot, and rows above it in these columns, with texts as views.
    pub(crate) fn new(snapshot: Snapshot, schema: &Schema, tail: &[RecordBatch]) -> Result<Self> {
        let schema = with_views(schema);
        let tail = tail.iter().map(|rows| viewed(rows, &schema)).collect::<Result<_>>()?;
        Ok(Self { committed: Committed::new(snapshot, schema), tail })
    }
}

#[async_trait]
impl TableProvider for WithTail {
    fn schema(&self) -> SchemaRef {
        self.committed.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.committed.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let committed = self.committed.scan(state, projection, filters, limit).await?;
        if self.tail.is_empty() {
            return Ok(committed);
        }
        let tail = MemorySourceConfig::try_new_exec(std::slice::from_ref(&self.tail), self.schema(), projection.cloned())?;
        UnionExec::try_new(vec![committed, tail])
    }
}

/// The same columns with texts as views, which are decoded, filtered, compared and put into groups without being copied. Free texts are
/// copied, as a few of them would hold the memory of all that they were read with.
fn with_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 if !FREE_TEXT.contains(&field.name().as_str()) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn viewed(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The files in at most `groups` groups of about the same size: the largest first, each to the group that has least.
fn by_size(files: &[DataFile], groups: usize) -> Vec<Vec<&DataFile>> {
    let mut files: Vec<&DataFile> = files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size_bytes));
    let mut filled: Vec<(u64, Vec<&DataFile>)> = vec![(0, Vec::new()); groups.clamp(1, files.len().max(1))];
    for file in files {
        let (bytes, group) = filled.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is at least one group");
        *bytes += file.size_bytes;
        group.push(file);
    }
    filled.into_iter().map(|(_, group)| group).collect()
}
