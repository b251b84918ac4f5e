//! Errors as the host sees them: a number and a text.

use std::fmt;

/// Error numbers every agent uses alike; the ABI shows them negative.
pub mod number {
    /// The input is damaged or of the wrong kind: the caller is at fault.
    pub const INPUT: u16 = 1;
    /// The input is over a limit: the caller is at fault.
    pub const TOO_LARGE: u16 = 2;
    /// The input is valid, but of a kind this agent does not do: the caller is at fault.
    pub const UNSUPPORTED: u16 = 3;
    /// The configuration is wrong: whoever wrote the site file is at fault.
    pub const CONFIG: u16 = 4;
    /// A call out of order (`infer` before `init`, `init` twice): the host is at fault.
    pub const ORDER: u16 = 5;
    /// A pointer and length that `alloc` did not give: the host is at fault.
    pub const BUFFER: u16 = 6;
    /// Memory cannot be had.
    pub const MEMORY: u16 = 7;
    /// From here to 999: an agent's own.
    pub const OWN: u16 = 100;
}

/// Why an agent does not answer. The text says what, both values and where, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    number: u16,
    text: String,
}

impl Error {
    /// The input is damaged or of the wrong kind.
    pub fn input(text: impl Into<String>) -> Self {
        Self { number: number::INPUT, text: text.into() }
    }

    /// The input is over a limit.
    pub fn too_large(text: impl Into<String>) -> Self {
        Self { number: number::TOO_LARGE, text: text.into() }
    }

    /// The input is valid, but of a kind this agent does not do.
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self { number: number::UNSUPPORTED, text: text.into() }
    }

    /// The configuration is wrong.
    pub fn config(text: impl fmt::Display) -> Self {
        Self { number: number::CONFIG, text: format!("config: {text}") }
    }

    /// So many bytes more cannot be had.
    #[must_use]
    pub fn memory(bytes: usize) -> Self {
        Self { number: number::MEMORY, text: format!("out of memory: {bytes} more bytes cannot be had") }
    }

    /// An error of the agent's own; a `number` outside 100..=999 becomes the nearest of those.
    pub fn own(number: u16, text: impl Into<String>) -> Self {
        Self { number: number.clamp(number::OWN, 999), text: text.into() }
    }

    /// The same error, and which part of the input it is about.
    #[must_use]
    pub fn within(self, part: impl fmt::Display) -> Self {
        Self { text: format!("{part}: {}", self.text), ..self }
    }

    pub(crate) fn host(number: u16, text: impl Into<String>) -> Self {
        Self { number, text: text.into() }
    }

    /// 1..=999; the ABI shows it negative.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
