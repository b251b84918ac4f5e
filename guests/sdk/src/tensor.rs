//! Element types, and what an agent takes and gives.

/// An element type: numpy's name outside, safetensors' name in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// `bool`, one byte
    Bool,
    /// `uint8`
    U8,
    /// `int8`
    I8,
    /// `uint16`
    U16,
    /// `int16`
    I16,
    /// `uint32`
    U32,
    /// `int32`
    I32,
    /// `uint64`
    U64,
    /// `int64`
    I64,
    /// `float16`, as raw bits
    F16,
    /// `bfloat16`, as raw bits
    Bf16,
    /// `float32`
    F32,
    /// `float64`
    F64,
}

impl Dtype {
    const TABLE: [(Self, &'static str, &'static str, usize); 13] = [
        (Self::Bool, "bool", "BOOL", 1),
        (Self::U8, "uint8", "U8", 1),
        (Self::I8, "int8", "I8", 1),
        (Self::U16, "uint16", "U16", 2),
        (Self::I16, "int16", "I16", 2),
        (Self::U32, "uint32", "U32", 4),
        (Self::I32, "int32", "I32", 4),
        (Self::U64, "uint64", "U64", 8),
        (Self::I64, "int64", "I64", 8),
        (Self::F16, "float16", "F16", 2),
        (Self::Bf16, "bfloat16", "BF16", 2),
        (Self::F32, "float32", "F32", 4),
        (Self::F64, "float64", "F64", 8),
    ];

    fn row(self) -> &'static (Self, &'static str, &'static str, usize) {
        &Self::TABLE[self as usize]
    }

    /// numpy's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn safetensors(self) -> &'static str {
        self.row().2
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.row().3
    }

    pub(crate) fn of_safetensors(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.2 == name).map(|row| row.0)
    }
}

/// Name, element type and shape of one tensor; −1 in a shape = any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The tensor's name in a frame.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<i64>,
}

impl Spec {
    /// The spec of a tensor.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<i64>>) -> Self {
        Self { name: name.into(), dtype, shape: shape.into() }
    }
}

/// What an agent takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Bytes of any kind: a file, a message, a text.
    Bytes,
    /// These tensors, as one frame.
    Tensors(Vec<Spec>),
}

impl Ports {
    pub(crate) fn json(&self) -> String {
        let specs = match self {
            Self::Bytes => return r#""bytes""#.into(),
            Self::Tensors(specs) => specs,
        };
        let spec = |s: &Spec| {
            let name = serde_json::Value::from(s.name.as_str());
            format!(r#"{{"name":{name},"dtype":"{}","shape":{:?}}}"#, s.dtype.name(), s.shape)
        };
        format!("[{}]", specs.iter().map(spec).collect::<Vec<_>>().join(","))
    }
}

/// A Rust type whose bytes in memory are those of a [`Dtype`] in a frame.
pub trait Element: Copy + sealed::Plain {
    /// The element type.
    const DTYPE: Dtype;
}

mod sealed {
    /// Any bits are a value, and a value has no padding.
    pub trait Plain {}
}

macro_rules! elements {
    ($($kind:ty: $dtype:ident),*) => {$(
        impl sealed::Plain for $kind {}
        impl Element for $kind {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )*};
}

elements!(u8: U8, i8: I8, u16: U16, i16: I16, u32: U32, i32: I32, u64: U64, i64: I64, f32: F32, f64: F64);

/// `bytes` as elements, where their address and length allow it.
pub(crate) fn elements<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    #[expect(unsafe_code, reason = "numbers from bytes")]
    // SAFETY: `Element` is sealed over types for which any bits are a value.
    let (before, middle, after) = unsafe { bytes.align_to() };
    (before.is_empty() && after.is_empty()).then_some(middle)
}

/// `bytes` as elements to be written, where their address and length allow it.
pub(crate) fn elements_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    #[expect(unsafe_code, reason = "numbers as bytes")]
    // SAFETY: `Element` is sealed over types for which any bits are a value, without padding.
    let (before, middle, after) = unsafe { bytes.align_to_mut() };
    (before.is_empty() && after.is_empty()).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_stands_at_its_own_place() {
        for (i, row) in Dtype::TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert_eq!(Dtype::of_safetensors(row.2), Some(row.0));
        }
    }

    #[test]
    fn ports_are_written_as_the_manifest_writes_them() {
        let ports = Ports::Tensors(vec![Spec::new("a\"b", Dtype::F32, [1, -1])]);
        assert_eq!(ports.json(), r#"[{"name":"a\"b","dtype":"float32","shape":[1, -1]}]"#);
    }
}
