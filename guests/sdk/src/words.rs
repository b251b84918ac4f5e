//! What `last_error` tells: one text at a fixed place, written without allocating, readable even after a trap.

use std::cell::RefCell;
use std::fmt::{self, Write};

const BYTES_MAX: usize = 2048;

/// A text that drops what does not fit.
struct Words {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(BYTES_MAX - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

thread_local! {
    static WORDS: RefCell<Words> = const { RefCell::new(Words { bytes: [0; BYTES_MAX], len: 0 }) };
}

/// Replaces the text; cut at 2048 bytes.
pub(crate) fn set(text: fmt::Arguments<'_>) {
    WORDS.with(|words| {
        if let Ok(mut words) = words.try_borrow_mut() {
            words.len = 0;
            let _cut = words.write_fmt(text);
        }
    });
}

/// Hands the text to `read`; its address is the same every time.
pub(crate) fn with<T>(read: impl FnOnce(&[u8]) -> T) -> T {
    WORDS.with(|words| match words.try_borrow() {
        Ok(words) => read(&words.bytes[..words.len]),
        Err(_) => read(&[]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        set(format_args!("x{}", "é".repeat(2000)));
        with(|text| {
            assert_eq!(text.len(), 2047);
            assert!(std::str::from_utf8(text).is_ok());
        });
        set(format_args!("short"));
        with(|text| assert_eq!(text, b"short"));
    }
}
