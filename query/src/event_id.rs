//! The id of an event, computed where the client sent none.
//!
//! The id in a 2xx is derived from the event's identity and not stored; this function derives it again from the row, with the
//! same rule, so that the id of an answer can always be found. It stands in the view `events` as an expression: a query
//! that does not mention `event_id` neither computes it nor reads the columns it needs.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::{DataType, Field, FieldRef, Schema},
    },
    common::Result,
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::ident,
};
use schemas::{IdentityRule, identity::event_ids, raw, tables};

/// The expression that stands for `event_id` over the rows of `events`.
pub(crate) fn event_id(rule: &IdentityRule) -> Expr {
    let function = EventId::new(rule.clone());
    let columns = function.columns.iter().map(|column| ident(column.name())).collect();
    ScalarUDF::from(function).call(columns).alias(raw::Field::EventId.name())
}

#[derive(Debug, PartialEq, Eq)]
struct EventId {
    rule: IdentityRule,
    columns: Vec<FieldRef>,
    signature: Signature,
}

impl Hash for EventId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.columns.hash(state);
    }
}

impl EventId {
    fn new(rule: IdentityRule) -> Self {
        let schema = tables::events();
        let columns: Vec<FieldRef> = columns(&rule)
            .into_iter()
            .map(|name| schema.field_with_name(name).expect("an event's field is a column of `events`"))
            .map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true)))
            .collect();
        let types = columns.iter().map(|column| column.data_type().clone()).collect();
        Self { rule, columns, signature: Signature::exact(types, Volatility::Immutable) }
    }
}

/// What an identity is read from: see [`event_ids`].
fn columns(rule: &IdentityRule) -> Vec<&'static str> {
    let mut names = vec![raw::Field::EventId.name()];
    names.extend(rule.fields().iter().map(|field| field.name()));
    if rule.fields().contains(&raw::Field::Timestamp) {
        names.push("received_at");
    }
    names
}

impl ScalarUDFImpl for EventId {
    fn name(&self) -> &'static str {
        "event_id"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _arguments: datafusion::logical_expr::ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, false)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let schema = Arc::new(Schema::new(self.columns.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(call.number_rows));
        let rows = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        Ok(ColumnarValue::Array(Arc::new(event_ids(&self.rule, &rows))))
    }
}
