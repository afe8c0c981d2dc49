//! What a query can see: the tables and views of one cut, and the functions.
//!
//! | name | what it holds |
//! |---|---|
//! | `events` | all events of the cut, `event_id` computed where the client sent none |
//! | `events_committed` | those of them that are in the table |
//! | `event_names` | each event name: how many, the first and the last |
//! | `quarantine` | what was durable but is no event |
//!
//! There is no other table, and no way to one: no files, no URLs, no table factories.

use std::sync::Arc;

use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
        TableProvider,
    },
    common::Result,
    datasource::{ViewTable, provider_as_source},
    execution::{SessionState, SessionStateBuilder, SessionStateDefaults, context::SessionContext},
    functions_aggregate::expr_fn::{count, max, min},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    prelude::{SessionConfig, ident, lit},
};
use schemas::{IdentityRule, raw::Field, tables};

use crate::{
    bounded, bytes, cancel::Cancel, constants::ConstantsFit, cut::Cut, early::EarlyFilters, engine::Engine, event_id::event_id,
    provider::WithTail, watch::WatchOperators,
};

const CATALOG: &str = "tidemark";
const SCHEMA: &str = "public";
/// The names that a query may read.
pub(crate) const TABLES: [&str; 4] = ["events", "events_committed", "event_names", "quarantine"];

/// Makes a session for each query.
pub(crate) struct Sessions {
    template: SessionState,
    rule: IdentityRule,
}

impl Sessions {
    /// Sessions on the threads and the memory of an engine.
    pub(crate) fn new(engine: &Engine, rule: IdentityRule) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_target_partitions(engine.threads())
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        config.options_mut().sql_parser.collect_spans = true;
        let mut template = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(engine.environment())
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_physical_optimizer_rules(physical_rules())
            .with_table_function_list(SessionStateDefaults::default_table_functions())
            .build();
        datafusion_functions_json::register_all(&mut template)?;
        bounded::register_all(&mut template)?;
        bytes::register_all(&mut template)?;
        Ok(Self { template, rule })
    }

    /// A session in which the tables and views of a cut have their names, until the query is cancelled.
    pub(crate) fn over(&self, cut: &Cut, cancel: Cancel) -> Result<SessionState> {
        let schema = Arc::new(MemorySchemaProvider::new());
        schema.register_table("events".to_owned(), view(self.events_view(cut)?))?;
        schema.register_table("events_committed".to_owned(), view(self.events_view(&cut.committed())?))?;
        schema.register_table("event_names".to_owned(), view(event_names(cut)?))?;
        schema.register_table("quarantine".to_owned(), Arc::new(quarantine(cut)?))?;
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(SCHEMA, schema)?;
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(CATALOG.to_owned(), catalog);
        let mut state = self.template.clone();
        state.config_mut().set_extension(Arc::new(cancel));
        state.register_catalog_list(catalogs);
        Ok(SessionContext::new_with_state(state).state())
    }

    fn events_view(&self, cut: &Cut) -> Result<LogicalPlan> {
        let column = |name: &str| if name == Field::EventId.name() { event_id(&self.rule) } else { ident(name) };
        let columns: Vec<Expr> = tables::events().fields().iter().map(|field| column(field.name())).collect();
        LogicalPlanBuilder::from(stored_events(cut)?).project(columns)?.build()
    }
}

fn stored_events(cut: &Cut) -> Result<LogicalPlan> {
    let tail = cut.tail.as_ref().map(|tail| tail.events.as_slice()).unwrap_or_default();
    let rows = WithTail::new(cut.events.clone(), &tables::events(), tail)?;
    LogicalPlanBuilder::scan("events", provider_as_source(Arc::new(rows)), None)?.build()
}

fn quarantine(cut: &Cut) -> Result<WithTail> {
    let tail = cut.tail.as_ref().map(|tail| tail.quarantined.as_slice()).unwrap_or_default();
    WithTail::new(cut.quarantine.clone(), &tables::quarantine(), tail)
}

/// The rules that make a physical plan, with [`WatchOperators`] where the shape of the plan is final and filters are not yet tied to it,
/// and [`EarlyFilters`] and [`ConstantsFit`] at the end.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let final_shape = rules.iter().position(|rule| rule.name() == "EnsureCooperative").map_or(rules.len(), |place| place + 1);
    rules.insert(final_shape, Arc::new(WatchOperators));
    rules.push(Arc::new(EarlyFilters));
    rules.push(Arc::new(ConstantsFit));
    rules
}

fn event_names(cut: &Cut) -> Result<LogicalPlan> {
    let (name, time) = (ident("event_name"), ident("timestamp"));
    let counts = vec![count(lit(1)).alias("events"), min(time.clone()).alias("first"), max(time).alias("last")];
    LogicalPlanBuilder::from(stored_events(cut)?).aggregate([name], counts)?.build()
}

fn view(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(plan, None))
}
