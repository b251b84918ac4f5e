//! Coefficients of one block from entropy-coded bits: sequential (T.81, F.2.2) and progressive (annex G).

use crate::bits::Bits;
use crate::huffman::Huffman;
use crate::scan::Entropy;
use crate::tables::ZIGZAG;

/// 64 coefficients in row-major order, before dequantization.
pub(crate) type Block = [i16; 64];

/// What is wrong with the data.
pub(crate) type Result<T> = std::result::Result<T, &'static str>;

/// Highest magnitude category of a DC difference of 8-bit samples.
const DC_SIZE_MAX: u8 = 11;

const BEYOND_THE_BLOCK: &str = "a run of zeros that goes beyond its block";

/// Coefficients that one progressive scan sends: from `first` to `last` in coded order, down to bit `shift`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Band {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) shift: u32,
}

/// How one component's blocks are coded in one scan.
pub(crate) enum Coder<'t> {
    Sequential { dc: &'t Huffman, ac: &'t Huffman },
    DcFirst { table: &'t Huffman, shift: u32 },
    DcRefine { shift: u32 },
    AcFirst { table: &'t Huffman, band: Band },
    AcRefine { table: &'t Huffman, band: Band },
}

impl Coder<'_> {
    /// Adds what the scan holds of one block.
    #[inline]
    pub(crate) fn block(&self, entropy: &mut Entropy, component: usize, block: &mut Block) -> Result<()> {
        let Entropy { mut bits, mut end_of_band_run, .. } = *entropy;
        let predictor = &mut entropy.predictors[component];
        let done = match *self {
            Self::Sequential { dc, ac } => sequential_block(&mut bits, predictor, dc, ac, block).map(|_| ()),
            Self::DcFirst { table, shift } => dc_value(&mut bits, predictor, table).map(|value| {
                block[0] = value.wrapping_shl(shift) as i16;
            }),
            Self::DcRefine { shift } => {
                block[0] |= i16::from(bits.bit()) << shift;
                Ok(())
            }
            Self::AcFirst { table, band } => ac_first(&mut bits, &mut end_of_band_run, table, band, block),
            Self::AcRefine { table, band } => ac_refine(&mut bits, &mut end_of_band_run, table, band, block),
        };
        (entropy.bits, entropy.end_of_band_run) = (bits, end_of_band_run);
        done
    }
}

/// Fills a block of zeros. Returns whether all coefficients but the first are still zero.
#[inline]
pub(crate) fn sequential(
    entropy: &mut Entropy,
    component: usize,
    dc: &Huffman,
    ac: &Huffman,
    block: &mut Block,
) -> Result<bool> {
    let mut bits = entropy.bits;
    let is_flat = sequential_block(&mut bits, &mut entropy.predictors[component], dc, ac, block);
    entropy.bits = bits;
    is_flat
}

#[inline(always)]
fn dc_value(bits: &mut Bits, predictor: &mut i32, table: &Huffman) -> Result<i32> {
    bits.refill();
    let size = table.symbol(bits)?;
    if size > DC_SIZE_MAX {
        return Err("a DC difference of more than 11 bits");
    }
    *predictor = predictor.wrapping_add(bits.signed(size.into()));
    Ok(*predictor)
}

#[inline(always)]
fn sequential_block(
    bits: &mut Bits,
    predictor: &mut i32,
    dc: &Huffman,
    ac: &Huffman,
    block: &mut Block,
) -> Result<bool> {
    block[0] = dc_value(bits, predictor, dc)? as i16;
    let mut is_flat = true;
    let mut k = 1;
    while k < 64 {
        bits.refill();
        let (run, value) = ac.run_and_value(bits)?;
        if value == 0 {
            if run < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let Some(&position) = ZIGZAG.get(k) else { return Err(BEYOND_THE_BLOCK) };
        block[usize::from(position) & 63] = value as i16;
        is_flat = false;
        k += 1;
    }
    Ok(is_flat)
}

#[inline(always)]
fn ac_first(bits: &mut Bits, end_of_band_run: &mut u32, table: &Huffman, band: Band, block: &mut Block) -> Result<()> {
    if *end_of_band_run > 0 {
        *end_of_band_run -= 1;
        return Ok(());
    }
    let mut k = band.first;
    while k <= band.last {
        bits.refill();
        let (run, value) = table.run_and_value(bits)?;
        if value == 0 {
            if run < 15 {
                *end_of_band_run = run_of_bands(bits, run) - 1;
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        if k > band.last {
            return Err(BEYOND_THE_BLOCK);
        }
        block[usize::from(ZIGZAG[k & 63]) & 63] = (value << band.shift) as i16;
        k += 1;
    }
    Ok(())
}

/// Blocks, this one included, whose rest of the band is zero.
#[inline(always)]
fn run_of_bands(bits: &mut Bits, run: usize) -> u32 {
    bits.refill();
    (1 << run) + bits.unsigned(run as u32)
}

#[inline(always)]
fn ac_refine(bits: &mut Bits, end_of_band_run: &mut u32, table: &Huffman, band: Band, block: &mut Block) -> Result<()> {
    let bit = 1 << band.shift;
    let mut k = band.first;
    if *end_of_band_run == 0 {
        while k <= band.last {
            bits.refill();
            let symbol = table.symbol(bits)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            if size == 0 && run < 15 {
                *end_of_band_run = run_of_bands(bits, run);
                break;
            }
            if size > 1 {
                return Err("a refinement of more than one bit");
            }
            let value = match size {
                0 => 0,
                _ if bits.bit() => bit,
                _ => -bit,
            };
            k = refine(bits, band, k, run, block);
            if value != 0 {
                if k > band.last {
                    return Err(BEYOND_THE_BLOCK);
                }
                block[usize::from(ZIGZAG[k & 63]) & 63] = value;
            }
            k += 1;
        }
    }
    if *end_of_band_run > 0 {
        refine(bits, band, k, usize::MAX, block);
        *end_of_band_run -= 1;
    }
    Ok(())
}

/// Reads one more bit of every coefficient that is not zero, from `k` on, until `zeros` zeros have been passed.
/// Returns where the next zero is, or one past the band.
#[inline(always)]
fn refine(bits: &mut Bits, band: Band, mut k: usize, mut zeros: usize, block: &mut Block) -> usize {
    let bit = 1 << band.shift;
    while k <= band.last {
        let coefficient = &mut block[usize::from(ZIGZAG[k & 63]) & 63];
        if *coefficient == 0 {
            if zeros == 0 {
                break;
            }
            zeros -= 1;
        } else if bits.bit() && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
        }
        k += 1;
    }
    k
}
