//! Functions whose results may be far larger than their arguments, with a bound.
//!
//! What a function makes is no operator's memory, so the memory pool does not see it: `repeat('x', 10000000000)` would take the
//! process with it, and so would thirty nested `s || s`. These functions, and the operator `||`, are told what they would make for a
//! batch before they make it, and refuse more than their [`Share`]. As a table, `FROM generate_series(...)` makes its rows as they are
//! read, and needs no bound. What takes far longer than its texts are long is told how many steps it would take.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, FieldRef},
    common::{Result, exec_err},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use self::{rewrite::BoundEverywhere, size::Size};

mod joined;
mod rewrite;
mod share;
mod size;

pub(crate) use self::share::Share;

const FUNCTIONS: [(&str, Size); 19] = [
    ("repeat", Size::Repeated),
    ("array_repeat", Size::Listed),
    ("lpad", Size::Filled),
    ("rpad", Size::Filled),
    ("array_resize", Size::Filled),
    ("replace", Size::Replaced),
    ("regexp_replace", Size::Matched),
    ("range", Size::Counted),
    ("generate_series", Size::Counted),
    ("concat", Size::Joined),
    ("concat_ws", Size::Separated),
    ("overlay", Size::Joined),
    ("encode", Size::Joined),
    ("make_array", Size::Gathered),
    ("array_append", Size::Gathered),
    ("array_prepend", Size::Gathered),
    ("array_concat", Size::Joined),
    ("array_to_string", Size::Delimited),
    ("levenshtein", Size::Compared),
];

/// The most that one call may compare for one batch of rows: what has begun cannot be ended.
const MOST_STEPS: u128 = 1 << 30;

/// Puts the bounded functions in the place of the others, also where an operator or the planner names them.
pub(crate) fn register_all(state: &mut SessionState) -> Result<()> {
    for (name, size) in FUNCTIONS {
        let inner = state.udf(name)?;
        state.register_udf(Bounded::udf(inner, size))?;
    }
    state.register_function_rewrite(Arc::new(BoundEverywhere))
}

/// What makes the results of a function large, if it is one of these.
fn size_of(function: &str) -> Option<Size> {
    FUNCTIONS.iter().find(|(name, _)| *name == function).map(|(_, size)| *size)
}

/// A function that refuses to make too much.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
}

impl Bounded {
    fn udf(inner: Arc<ScalarUDF>, size: Size) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { inner, size }))
    }

    fn is(function: &ScalarUDF) -> bool {
        function.inner().is::<Self>()
    }
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

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let amount = self.size.of(&call)?;
        if self.size == Size::Compared {
            return match amount > MOST_STEPS {
                true => exec_err!("`{}` would take {amount} steps for one batch of rows; at most {MOST_STEPS} are possible", self.name()),
                false => self.inner.invoke_with_args(call),
            };
        }
        let most = Share::of(&call.config_options).bytes();
        if amount > most {
            return exec_err!(
                "`{}` would make {amount} bytes for one batch of rows; at most {} are possible, less where many calls share a statement",
                self.name(),
                ByteCount(most)
            );
        }
        self.inner.invoke_with_args(call)
    }
}

/// A number of bytes for a message.
struct ByteCount(u128);

impl std::fmt::Display for ByteCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >> 20 > 0 { write!(f, "{} MiB", self.0 >> 20) } else { write!(f, "{} bytes", self.0) }
    }
}
