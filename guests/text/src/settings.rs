//! The configuration, checked.

use littoral_sdk::{Config, Error};
use tokenizers::TruncationDirection;

const TOKENS_MAX: u64 = 8192;
const TEXTS_MAX: u64 = 2048;
const BYTES_MAX: u64 = 16 << 20;

pub(crate) struct Settings {
    /// Tokens of one text, the special ones included; 0 = what the tokenizer's file says.
    pub(crate) tokens_max: usize,
    /// Whether a longer text is cut; else it is refused.
    pub(crate) truncates: bool,
    /// Which end is cut off; None = what the tokenizer's file says.
    pub(crate) side: Option<TruncationDirection>,
    pub(crate) with_special: bool,
    pub(crate) with_types: bool,
    pub(crate) texts_max: usize,
    pub(crate) bytes_max: usize,
}

impl Settings {
    pub(crate) fn read(c: &mut Config) -> Result<Self, Error> {
        let sides = [
            ("file", None),
            ("right", Some(TruncationDirection::Right)),
            ("left", Some(TruncationDirection::Left)),
        ];
        Ok(Self {
            tokens_max: c.whole("max_tokens", 0..=TOKENS_MAX, 0)? as usize,
            truncates: c.switch("truncate", true)?,
            side: c.choice("truncate_side", &sides, None)?,
            with_special: c.switch("special_tokens", true)?,
            with_types: c.switch("token_type_ids", false)?,
            texts_max: c.whole("max_texts", 1..=TEXTS_MAX, 64)? as usize,
            bytes_max: c.whole("max_bytes", 1..=BYTES_MAX, 1 << 20)? as usize,
        })
    }
}
