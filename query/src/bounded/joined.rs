//! `a || b || ...` as a function: one text after the other, absent when one of them is.

use std::sync::Arc;

use datafusion::{
    arrow::{array::ArrayRef, compute::kernels::concat_elements::concat_elements_dyn, datatypes::DataType},
    common::{Result, ScalarValue, plan_err},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, type_coercion::binary::BinaryTypeCoercer,
    },
};

/// The operator `||` over two or more parts, with the types that DataFusion gives it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Concatenation {
    signature: Signature,
}

impl Concatenation {
    /// No name that a statement can call.
    pub(super) const NAME: &'static str = "||";

    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn schema_name(&self, parts: &[Expr]) -> Result<String> {
        Ok(parts.iter().map(|part| part.schema_name().to_string()).collect::<Vec<_>>().join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, parts: &[DataType]) -> Result<DataType> {
        common_type(parts)
    }

    fn coerce_types(&self, parts: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![common_type(parts)?; parts.len()])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = call.args.iter().all(|part| matches!(part, ColumnarValue::Scalar(_)));
        let mut parts = ColumnarValue::values_to_arrays(&call.args)?.into_iter();
        let Some(first) = parts.next() else { return plan_err!("`||` stands between two texts") };
        let joined = parts.try_fold(first, |joined, part| concat_elements_dyn(&joined, &part))?;
        as_value(&joined, is_constant)
    }
}

fn as_value(joined: &ArrayRef, is_constant: bool) -> Result<ColumnarValue> {
    Ok(match is_constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(joined, 0)?),
        false => ColumnarValue::Array(Arc::clone(joined)),
    })
}

fn common_type(parts: &[DataType]) -> Result<DataType> {
    let Some((first, others)) = parts.split_first() else { return plan_err!("`||` stands between two texts") };
    others.iter().try_fold(first.clone(), |left, right| BinaryTypeCoercer::new(&left, &Operator::StringConcat, right).get_result_type())
}
