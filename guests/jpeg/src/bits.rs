//! Bits of entropy-coded data, most significant first, with stuffed bytes taken out (T.81, F.2.2.5).

use crate::error::{Result, damaged};
use crate::segments::marker;

/// Reader over one scan. Past a marker or the end it yields zeros and remembers that it did.
///
/// `buffer` holds `count` unread bits at its top; below them lie bits of the byte at `at` or zeros, which a refill
/// writes again unchanged. A loop works on its own copy and writes that back: only then does it live in registers.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0, invented: 0 }
    }

    /// Makes at least 32 bits readable: enough for one Huffman code and the value behind it.
    #[inline(always)]
    pub(crate) fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(&bytes) = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(bytes);
            if !has_byte_ff(word) {
                self.buffer |= word >> self.count;
                let taken = (63 - self.count) / 8;
                self.at += taken as usize;
                self.count += taken * 8;
                return;
            }
        }
        *self = self.refilled_bytewise();
    }

    #[cold]
    #[inline(never)]
    fn refilled_bytewise(mut self) -> Self {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.invented += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    /// The next `n` bits (1..=16) without reading them; `refill` comes first.
    #[inline(always)]
    pub(crate) fn peek(&self, n: u32) -> usize {
        (self.buffer >> (64 - n)) as usize
    }

    #[inline(always)]
    pub(crate) fn consume(&mut self, n: u32) {
        debug_assert!(n <= self.count);
        self.buffer <<= n;
        self.count = self.count.wrapping_sub(n);
    }

    /// A value of `size` bits (0..=15) in the signed form of T.81, F.2.2.1; `refill` comes first.
    #[inline(always)]
    pub(crate) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = self.peek(size) as i32;
        self.consume(size);
        extend(value, size)
    }

    /// An unsigned value of `size` bits (0..=15); `refill` comes first.
    #[inline(always)]
    pub(crate) fn unsigned(&mut self, size: u32) -> u32 {
        if size == 0 {
            return 0;
        }
        let value = self.peek(size) as u32;
        self.consume(size);
        value
    }

    /// One bit; refills by itself.
    #[inline(always)]
    pub(crate) fn bit(&mut self) -> bool {
        self.refill();
        self.unsigned(1) == 1
    }

    /// Whether bits were read that the data do not have.
    pub(crate) fn is_overrun(&self) -> bool {
        self.count < self.invented
    }

    /// Moves behind the restart marker with `number` (0..=7), which must be the next marker.
    pub(crate) fn restart(&mut self, number: u8) -> Result<()> {
        while let Some(step) = self.data.get(self.at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) {
            self.at += step + 1;
            match self.data.get(self.at) {
                Some(0) => self.at += 1,
                Some(&found) if found == marker::RST0 + number => {
                    *self = Self { at: self.at + 1, ..Self::new(self.data) };
                    return Ok(());
                }
                Some(&found @ marker::RST0..=marker::RST7) => {
                    return damaged(format!("restart marker {} where {number} is expected", found - marker::RST0));
                }
                _ => {}
            }
        }
        damaged(format!("entropy-coded data end where restart marker {number} is expected"))
    }
}

/// The value that `size` bits stand for: the lower half of the range is negative.
#[inline]
pub(crate) fn extend(value: i32, size: u32) -> i32 {
    if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
}

#[inline]
fn has_byte_ff(word: u64) -> bool {
    let zeros = !word;
    zeros.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_ff_is_found_anywhere_and_nothing_else_is() {
        for shift in 0..8 {
            assert!(has_byte_ff(0xFF << (8 * shift)));
            assert!(!has_byte_ff(0xFE << (8 * shift)));
        }
        assert!(!has_byte_ff(0x807F_0001_FEFE_7F80));
    }

    #[test]
    fn stuffed_bytes_vanish_whichever_way_the_buffer_is_filled() {
        let plain: Vec<u8> = (0..200u8).map(|i| if i % 7 == 0 { 0xFF } else { i }).collect();
        let stuffed: Vec<u8> = plain.iter().flat_map(|&b| if b == 0xFF { vec![b, 0] } else { vec![b] }).collect();
        let mut bits = Bits::new(&stuffed);
        let read: Vec<u8> = (0..plain.len())
            .map(|_| {
                bits.refill();
                bits.unsigned(3) as u8 * 32 + bits.unsigned(5) as u8
            })
            .collect();
        assert_eq!(read, plain);
        assert!(!bits.is_overrun());
        bits.bit();
        assert!(bits.is_overrun());
    }

    #[test]
    fn signed_values_are_those_of_the_standard() {
        let table =
            [(0b0, 1, -1), (0b1, 1, 1), (0b00, 2, -3), (0b01, 2, -2), (0b10, 2, 2), (0b000, 3, -7), (0b111, 3, 7)];
        for (bits, size, value) in table {
            assert_eq!(extend(bits, size), value);
        }
    }

    #[test]
    fn a_wrong_restart_marker_is_named() {
        let mut bits = Bits::new(&[1, 2, 0xFF, 0xD0, 3, 0xFF, 0xD5]);
        bits.restart(0).expect("the first marker is 0");
        bits.refill();
        assert_eq!(bits.unsigned(8), 3);
        let error = bits.restart(1).expect_err("the second is 5");
        assert_eq!(error.to_string(), "JPEG: restart marker 5 where 1 is expected");
    }
}
