//! Huffman codes (T.81, annex C and F.2.2.3): a direct table for short codes, and often the value behind them too.

use crate::bits::{Bits, extend};
use crate::error::{self, damaged};

const DIRECT_BITS: u32 = 10;
const DIRECT_SIZE: usize = 1 << DIRECT_BITS;

/// One row of the direct table: bits to read (0 = the code is longer), whether the value is decoded already, the symbol
/// in the second byte, the value in the upper half.
type Row = u32;
const LENGTH: Row = 31;
const HAS_VALUE: Row = 128;

const NO_SUCH_CODE: &str = "a code that its Huffman table does not have";

/// One table, ready to decode.
pub(crate) struct Huffman {
    direct: [Row; DIRECT_SIZE],
    /// By code length: the first code that is longer, moved to the top of 16 bits.
    limit: [u32; 17],
    /// By code length: what turns a code into an index of `symbols`.
    offset: [i32; 17],
    symbols: [u8; 256],
}

impl Default for Huffman {
    fn default() -> Self {
        Self { direct: [0; DIRECT_SIZE], limit: [0; 17], offset: [0; 17], symbols: [0; 256] }
    }
}

impl Huffman {
    /// Replaces the table by the one with `counts[n]` codes of n + 1 bits for `symbols`.
    pub(crate) fn define(&mut self, counts: &[u8; 16], symbols: &[u8]) -> error::Result<()> {
        if symbols.len() > 256 {
            return damaged(format!("Huffman table of {} codes, at most 256 expected", symbols.len()));
        }
        *self = Self::default();
        self.symbols[..symbols.len()].copy_from_slice(symbols);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16 {
            let count = usize::from(counts[length - 1]);
            self.offset[length] = index as i32 - code as i32;
            for &symbol in &symbols[index..index + count] {
                if code >> length != 0 {
                    return damaged(format!("Huffman table with too many codes of {length} bits"));
                }
                if length <= DIRECT_BITS as usize {
                    self.fill_direct(code, length as u32, symbol);
                }
                code += 1;
            }
            index += count;
            self.limit[length] = code << (16 - length);
            code <<= 1;
        }
        Ok(())
    }

    fn fill_direct(&mut self, code: u32, length: u32, symbol: u8) {
        let spare = DIRECT_BITS - length;
        let size = u32::from(symbol & 15);
        for below in 0..1u32 << spare {
            let mut row = length | u32::from(symbol) << 8;
            if (1..=spare).contains(&size) {
                let value = extend((below >> (spare - size)) as i32, size);
                row = (value as u32) << 16 | u32::from(symbol) << 8 | HAS_VALUE | (length + size);
            }
            self.direct[(code << spare | below) as usize] = row;
        }
    }

    /// The next symbol; `Bits::refill` comes first. At most 16 bits are read.
    #[inline(always)]
    pub(crate) fn symbol(&self, bits: &mut Bits) -> Result<u8, &'static str> {
        let row = self.direct[bits.peek(DIRECT_BITS) & (DIRECT_SIZE - 1)];
        let symbol = (row >> 8) as u8;
        if row & HAS_VALUE != 0 {
            bits.consume((row & LENGTH) - u32::from(symbol & 15));
            return Ok(symbol);
        }
        self.symbol_of(row, bits)
    }

    /// Zeros before the next coefficient, and its value; value 0 where the symbol is a run of zeros alone.
    #[inline(always)]
    pub(crate) fn run_and_value(&self, bits: &mut Bits) -> Result<(usize, i32), &'static str> {
        let row = self.direct[bits.peek(DIRECT_BITS) & (DIRECT_SIZE - 1)];
        if row & HAS_VALUE != 0 {
            bits.consume(row & LENGTH);
            return Ok(((row >> 12 & 15) as usize, row as i32 >> 16));
        }
        let symbol = self.symbol_of(row, bits)?;
        Ok((usize::from(symbol >> 4), bits.signed(u32::from(symbol & 15))))
    }

    #[inline(always)]
    fn symbol_of(&self, row: Row, bits: &mut Bits) -> Result<u8, &'static str> {
        if row != 0 {
            bits.consume(row & LENGTH);
            return Ok((row >> 8) as u8);
        }
        match self.long_code(bits.peek(16) as u32) {
            (0, _) => Err(NO_SUCH_CODE),
            (length, symbol) => {
                bits.consume(length);
                Ok(symbol)
            }
        }
    }

    /// Length (0 = there is none) and symbol of the code that the 16 bits begin with.
    #[cold]
    #[inline(never)]
    fn long_code(&self, code: u32) -> (u32, u8) {
        for length in DIRECT_BITS + 1..=16 {
            if code < self.limit[length as usize] {
                let index = (code >> (16 - length)) as i32 + self.offset[length as usize];
                return (length, self.symbols[index as usize & 255]);
            }
        }
        (0, 0)
    }
}

/// The tables of T.81, K.3, as one segment: DC and AC for luminance (0) and chrominance (1).
#[rustfmt::skip]
pub(crate) const STANDARD: [u8; 416] = [
    0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_codes_bring_their_value_and_long_ones_are_found() {
        let mut table = Huffman::default();
        let mut counts = [0; 16];
        counts[1] = 1; // 00 → run 3, size 2
        counts[11] = 1; // 0100 0000 0000 → run 0, size 1
        table.define(&counts, &[0x32, 0x01]).expect("valid");
        let data = [0b0010_0100, 0b0000_0000, 0b1000_0000, 0];
        let mut bits = Bits::new(&data);
        bits.refill();
        assert_eq!(table.run_and_value(&mut bits), Ok((3, 2)));
        assert_eq!(table.run_and_value(&mut bits), Ok((0, 1)));
    }

    #[test]
    fn what_no_code_begins_with_is_an_error() {
        let mut table = Huffman::default();
        let mut counts = [0; 16];
        counts[0] = 1;
        table.define(&counts, &[0]).expect("valid");
        let mut bits = Bits::new(&[0xFE, 0xFE, 0xFE, 0xFE]);
        bits.refill();
        assert!(table.symbol(&mut bits).is_err());
    }

    #[test]
    fn more_codes_than_a_length_has_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::default().define(&counts, &[1, 2, 3]).is_err());
    }
}
