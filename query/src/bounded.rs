//! Functions whose results may be far larger than their arguments, with a bound.
//!
//! What a function makes is no operator's memory, so the memory pool does not see it: `repeat('x', 10000000000)` or
//! `generate_series(1, 10000000000)` as an expression would take the process with it. These functions are told what they would make
//! for a batch before they make it, and refuse more than [`MOST_BYTES`]. As a table, `FROM generate_series(...)` makes its rows as
//! they are read, and needs no bound.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, FieldRef},
    common::{Result, exec_err},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use self::size::Size;

mod size;

/// The most that one call, for one batch of rows, may make.
const MOST_BYTES: u128 = 64 << 20;

const FUNCTIONS: [(&str, Size); 8] = [
    ("repeat", Size::Repeated),
    ("array_repeat", Size::Repeated),
    ("lpad", Size::Filled),
    ("rpad", Size::Filled),
    ("array_resize", Size::Filled),
    ("replace", Size::Replaced),
    ("range", Size::Counted),
    ("generate_series", Size::Counted),
];

/// Puts the bounded functions in the place of the others.
pub(crate) fn register_all(state: &mut SessionState) -> Result<()> {
    for (name, size) in FUNCTIONS {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, size })))?;
    }
    Ok(())
}

/// A function that refuses to make too much.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.size.of(&call)?;
        if bytes > MOST_BYTES {
            let most = MOST_BYTES >> 20;
            return exec_err!("`{}` would make {bytes} bytes for one batch of rows; at most {most} MiB are possible", self.name());
        }
        self.inner.invoke_with_args(call)
    }
}
