//! Quantization and Huffman tables, as segments set them.

use crate::error::{Result, damaged};
use crate::huffman::{Huffman, STANDARD};

/// Where coefficient k of a block in coded order belongs in a row-major block (T.81, figure A.6).
pub(crate) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Quantization steps in row-major order.
pub(crate) type Steps = [i16; 64];

/// The tables in force at one point of the file.
pub(crate) struct Tables {
    pub(crate) quantization: [Option<Steps>; 4],
    dc: [Option<Box<Huffman>>; 4],
    ac: [Option<Box<Huffman>>; 4],
}

impl Tables {
    /// No quantization table, and the Huffman tables of T.81, annex K.3: frames of video leave them out.
    pub(crate) fn new() -> Result<Self> {
        let mut tables = Self { quantization: [None; 4], dc: [const { None }; 4], ac: [const { None }; 4] };
        tables.define_huffman(&STANDARD)?;
        Ok(tables)
    }

    pub(crate) fn define_quantization(&mut self, mut data: &[u8]) -> Result<()> {
        while let Some((&what, rest)) = data.split_first() {
            let (precision, slot) = (what >> 4, usize::from(what & 15));
            if precision > 1 || slot > 3 {
                return damaged(format!("quantization table `{what:02x}`, must be 00..03 or 10..13"));
            }
            let size = if precision == 0 { 64 } else { 128 };
            let Some((steps, rest)) = rest.split_at_checked(size) else {
                return damaged(format!("quantization table {slot} of {} bytes, {size} expected", rest.len()));
            };
            let mut table = [0; 64];
            for (k, &position) in ZIGZAG.iter().enumerate() {
                let step = if precision == 0 {
                    u16::from(steps[k])
                } else {
                    u16::from_be_bytes([steps[2 * k], steps[2 * k + 1]])
                };
                table[usize::from(position)] = step as i16;
            }
            self.quantization[slot] = Some(table);
            data = rest;
        }
        Ok(())
    }

    pub(crate) fn define_huffman(&mut self, mut data: &[u8]) -> Result<()> {
        while let Some((&what, rest)) = data.split_first() {
            let (class, slot) = (what >> 4, usize::from(what & 15));
            if class > 1 || slot > 3 {
                return damaged(format!("Huffman table `{what:02x}`, must be 00..03 or 10..13"));
            }
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else {
                return damaged(format!("Huffman table of {} bytes, at least 16 expected", rest.len()));
            };
            let size: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let Some((symbols, rest)) = rest.split_at_checked(size) else {
                return damaged(format!("Huffman table of {size} codes with {} symbols", rest.len()));
            };
            let set = if class == 0 { &mut self.dc } else { &mut self.ac };
            set[slot].get_or_insert_default().define(counts, symbols)?;
            data = rest;
        }
        Ok(())
    }

    pub(crate) fn dc(&self, slot: usize) -> Result<&Huffman> {
        named(&self.dc, "DC", slot)
    }

    pub(crate) fn ac(&self, slot: usize) -> Result<&Huffman> {
        named(&self.ac, "AC", slot)
    }

    pub(crate) fn steps(&self, slot: usize) -> Result<Steps> {
        match self.quantization[slot] {
            Some(steps) => Ok(steps),
            None => damaged(format!("a scan uses quantization table {slot}, which no segment defines")),
        }
    }
}

fn named<'a>(set: &'a [Option<Box<Huffman>>; 4], class: &str, slot: usize) -> Result<&'a Huffman> {
    match set.get(slot).and_then(Option::as_deref) {
        Some(table) => Ok(table),
        None => damaged(format!("a scan uses {class} Huffman table {slot}, which no segment defines")),
    }
}
