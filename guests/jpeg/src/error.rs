//! What can be wrong with a JPEG.

use std::fmt;

/// Why a picture is not decoded. The text says what, both values and where; it has no full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The bytes contradict the standard, or end too early.
    Damaged(String),
    /// A valid JPEG of a kind this decoder refuses.
    Unsupported(String),
    /// Memory for the picture cannot be had: bytes asked for.
    Memory(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(text) | Self::Unsupported(text) => write!(f, "JPEG: {text}"),
            Self::Memory(bytes) => write!(f, "JPEG: decoding needs {bytes} more bytes of memory than can be had"),
        }
    }
}

impl std::error::Error for Error {}

/// Shorthand used inside the crate.
pub(crate) type Result<T> = std::result::Result<T, Error>;

pub(crate) fn damaged<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Damaged(text.into()))
}

pub(crate) fn unsupported<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Unsupported(text.into()))
}

/// Makes `buffer` hold `len` elements of `value`, in the memory it has if that is enough.
pub(crate) fn fill<T: Copy>(buffer: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    buffer.clear();
    stretch(buffer, len, value)
}

/// Makes `buffer` hold `len` elements whose content is of no interest: what was there stays, `value` fills the rest.
pub(crate) fn stretch<T: Copy>(buffer: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    if buffer.capacity() < len {
        *buffer = Vec::new(); // old and new never lie in memory together
        buffer.try_reserve_exact(len).map_err(|_| Error::Memory(len.saturating_mul(size_of::<T>())))?;
    }
    buffer.resize(len, value);
    Ok(())
}
