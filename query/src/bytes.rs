//! Functions over bytes, which the column `raw` of `quarantine` has.
//!
//! Their length is the number of bytes, as in PostgreSQL. Where a text is asked for, they are read as UTF-8; when they are
//! none, the error names the function and what can be done instead.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::AsArray,
        compute::{
            cast,
            kernels::length::{bit_length, length},
        },
        datatypes::{DataType, Field, FieldRef},
    },
    common::{DFSchema, Result, config::ConfigOptions, exec_err, tree_node::Transformed},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::{Cast, Like, ScalarFunction},
        expr_rewriter::FunctionRewrite,
        type_coercion::functions::fields_with_udf,
    },
};

/// The functions that measure a text, which measure bytes too.
const MEASURES: [&str; 3] = ["character_length", "octet_length", "bit_length"];

/// What can be done with bytes that are no text.
pub(crate) const INSTEAD_OF_TEXT: &str = "use octet_length(raw), encode(raw, 'hex') or TRY_CAST(raw AS TEXT)";

/// Teaches the functions of a session about bytes.
pub(crate) fn register_all(state: &mut SessionState) -> Result<()> {
    for name in MEASURES {
        let of_text = state.udf(name)?;
        let signature = Signature::user_defined(Volatility::Immutable);
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Length { of_text, signature })))?;
    }
    state.register_function_rewrite(Arc::new(ReadAsText))
}

/// The length of a text or of bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    of_text: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        self.of_text.name()
    }

    fn aliases(&self) -> &[String] {
        self.of_text.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if let [DataType::Binary] = arguments {
            return Ok(arguments.to_vec());
        }
        let fields: Vec<FieldRef> = arguments.iter().map(|argument| Arc::new(Field::new("", argument.clone(), true))).collect();
        Ok(fields_with_udf(&fields, self.of_text.as_ref())?.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if let [DataType::Binary] = arguments { Ok(DataType::Int32) } else { self.of_text.return_type(arguments) }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &call.args[..] {
            [bytes] if bytes.data_type() == DataType::Binary => {
                let bytes = bytes.to_array(call.number_rows)?;
                Ok(ColumnarValue::Array(if self.name() == "bit_length" { bit_length(&bytes)? } else { length(&bytes)? }))
            }
            _ => self.of_text.invoke_with_args(call),
        }
    }
}

/// Puts a [`Text`] around bytes where a text is asked for.
#[derive(Debug)]
struct ReadAsText;

impl FunctionRewrite for ReadAsText {
    fn name(&self) -> &'static str {
        "read_as_text"
    }

    fn rewrite(&self, expression: Expr, schema: &DFSchema, _options: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expression {
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() != Text::NAME => in_call(&func, args, schema),
            Expr::Like(Like { expr, negated, pattern, escape_char, case_insensitive }) => {
                let (expr, is_changed) = Text::of("LIKE", *expr, schema);
                let like = Expr::Like(Like { expr: Box::new(expr), negated, pattern, escape_char, case_insensitive });
                Ok(Transformed::new_transformed(like, is_changed))
            }
            Expr::Cast(Cast { expr, field }) if field.data_type().is_string() => {
                let (expr, is_changed) = Text::of("CAST", *expr, schema);
                Ok(Transformed::new_transformed(Expr::Cast(Cast { expr: Box::new(expr), field }), is_changed))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The arguments that are bytes and for which the function takes texts.
fn in_call(function: &Arc<ScalarUDF>, arguments: Vec<Expr>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !arguments.iter().any(|argument| is_bytes(argument, schema)) {
        return Ok(Transformed::no(function.call(arguments)));
    }
    let fields = arguments.iter().map(|argument| Ok(argument.to_field(schema)?.1)).collect::<Result<Vec<FieldRef>>>()?;
    let taken = fields_with_udf(&fields, function.as_ref())?;
    let as_taken = |(argument, taken): (Expr, &FieldRef)| {
        if taken.data_type().is_string() { Text::of(function.name(), argument, schema).0 } else { argument }
    };
    let arguments = arguments.into_iter().zip(&taken).map(as_taken).collect();
    Ok(Transformed::yes(function.call(arguments)))
}

fn is_bytes(expression: &Expr, schema: &DFSchema) -> bool {
    expression.get_type(schema).is_ok_and(|data_type| data_type == DataType::Binary)
}

/// Bytes as the text that they are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    /// Who asks for it.
    asker: String,
    signature: Signature,
}

impl Text {
    /// No name that a statement can call.
    const NAME: &'static str = "as text";

    /// An expression, read as a text when it is bytes, and whether it is.
    fn of(asker: &str, expression: Expr, schema: &DFSchema) -> (Expr, bool) {
        if !is_bytes(&expression, schema) {
            return (expression, false);
        }
        let signature = Signature::exact(vec![DataType::Binary], Volatility::Immutable);
        (ScalarUDF::from(Self { asker: asker.to_owned(), signature }).call(vec![expression]), true)
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [bytes] = &call.args[..] else { return exec_err!("`{}` takes one argument", Self::NAME) };
        let bytes = bytes.to_array(call.number_rows)?;
        let is_text = |bytes: Option<&[u8]>| bytes.is_none_or(|bytes| std::str::from_utf8(bytes).is_ok());
        if !bytes.as_binary::<i32>().iter().all(is_text) {
            return exec_err!("`{}` takes text, and these bytes are not UTF-8; {INSTEAD_OF_TEXT}", self.asker);
        }
        Ok(ColumnarValue::Array(cast(&bytes, &DataType::Utf8)?))
    }
}
