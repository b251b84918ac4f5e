//! Antialiased resizing, bit for bit as Pillow does it: along one axis, rounded to bytes, then along the other.

use littoral_jpeg::Region;
use littoral_lanes::{I16x8, I32x4};
use littoral_sdk::Error;

use crate::geometry::{Size, Window};
use crate::taps::{Filter, LOW_BITS, Pair, Taps, WEIGHT_BITS};

const PIXEL_BYTES: usize = 3;
/// Resized pixels have a fourth byte of no meaning: they are written as one word.
pub(crate) const SIZED_BYTES: usize = 4;
/// Rows that are resized across together; they share their weights.
const ROWS: usize = 4;

pub(crate) struct Resampler {
    filter: Filter,
    across: Taps,
    down: Taps,
    /// What the first pass leaves to the second.
    between: Vec<u8>,
}

impl Resampler {
    pub(crate) fn new(filter: Filter) -> Self {
        Self { filter, across: Taps::default(), down: Taps::default(), between: Vec::new() }
    }

    /// Makes ready for a picture of `size`; which of its pixels `run` will look at.
    pub(crate) fn prepare(&mut self, size: Size, window: &Window) -> Result<Region, Error> {
        self.across.set(window.x, size.width, self.filter, 2)?;
        self.down.set(window.y, size.height, self.filter, 1)?;
        Ok(Region { columns: self.across.reach(size.width), rows: self.down.reach(size.height) })
    }

    /// Brings the window of `rgb`, a picture of `size` with three bytes a pixel, to its own size, into `out`: `SIZED_BYTES` a
    /// pixel. It has been prepared for the two.
    pub(crate) fn run(&mut self, rgb: &[u8], size: Size, window: &Window, out: &mut Vec<u8>) -> Result<(), Error> {
        let picture = Picture { bytes: rgb, stride: size.width * PIXEL_BYTES };
        if window.is_down_first {
            let columns = self.across.reach(size.width);
            let stride = columns.len() * PIXEL_BYTES;
            reserve(&mut self.between, stride * self.down.count())?;
            picture.down(&self.down, 0, columns.start * PIXEL_BYTES, stride, &mut self.between);
            let between = Picture { bytes: &self.between, stride };
            reserve(out, self.across.count() * self.down.count() * SIZED_BYTES)?;
            between.across(&self.across, columns.start, 0, out);
        } else {
            let rows = self.down.reach(size.height);
            let stride = self.across.count() * SIZED_BYTES;
            reserve(&mut self.between, stride * rows.len())?;
            picture.across(&self.across, 0, rows.start, &mut self.between);
            let between = Picture { bytes: &self.between, stride };
            reserve(out, stride * self.down.count())?;
            between.down(&self.down, rows.start, 0, stride, out);
        }
        Ok(())
    }
}

fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), Error> {
    if buffer.capacity() < bytes {
        *buffer = Vec::new(); // old and new never lie in memory together
        buffer.try_reserve_exact(bytes).map_err(|_| Error::memory(bytes))?;
    }
    buffer.resize(bytes, 0);
    Ok(())
}

struct Picture<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl Picture<'_> {
    /// Sixteen bytes from `at` on; what lies beyond the end is zero, and only zero weights fall on it.
    #[inline(always)]
    fn load(&self, at: usize) -> [u8; 16] {
        #[cold]
        fn end_of(bytes: &[u8], at: usize) -> [u8; 16] {
            let mut out = [0; 16];
            let rest = bytes.get(at..).unwrap_or_default();
            let length = rest.len().min(16);
            out[..length].copy_from_slice(&rest[..length]);
            out
        }
        match self.bytes.get(at..at + 16).and_then(<[u8]>::first_chunk) {
            Some(chunk) => *chunk,
            None => end_of(self.bytes, at),
        }
    }

    /// Resizes rows from `first_row` on, as many as `out` holds; column 0 of this picture is `first_column` of the taps.
    fn across(&self, taps: &Taps, first_column: usize, first_row: usize, out: &mut [u8]) {
        let out_stride = taps.count() * SIZED_BYTES;
        for (group, y) in out.chunks_mut(out_stride * ROWS).zip((first_row..).step_by(ROWS)) {
            self.rows_across(taps, first_column, y, group.len() / out_stride, group);
        }
    }

    /// Resizes the first `used` of `ROWS` rows from row `y` on.
    fn rows_across(&self, taps: &Taps, first_column: usize, y: usize, used: usize, out: &mut [u8]) {
        let out_stride = taps.count() * SIZED_BYTES;
        for (x, (start, pairs)) in taps.iter().enumerate() {
            let mut sums = [Sum::default(); ROWS];
            let mut at = y * self.stride + (start - first_column) * PIXEL_BYTES;
            for &[first, second] in pairs.as_chunks::<2>().0 {
                let (first, second) = (Weights::of(first), Weights::of(second));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let [a, b] = I16x8::pixel_pairs(&self.load(at + row * self.stride));
                    sum.add(a, first);
                    sum.add(b, second);
                }
                at += 4 * PIXEL_BYTES;
            }
            let pixels = Sum::bytes(sums);
            for (row, pixel) in pixels.as_chunks::<SIZED_BYTES>().0.iter().take(used).enumerate() {
                let at = row * out_stride + x * SIZED_BYTES;
                out[at..at + SIZED_BYTES].copy_from_slice(pixel);
            }
        }
    }

    /// Resizes `width_bytes` of every row from byte `first_byte` on; row 0 of this picture is `first_row` of the taps.
    fn down(&self, taps: &Taps, first_row: usize, first_byte: usize, width_bytes: usize, out: &mut [u8]) {
        for (row, (start, pairs)) in out.chunks_exact_mut(width_bytes).zip(taps.iter()) {
            let top = (start - first_row) * self.stride + first_byte;
            for (chunk, column) in row.chunks_mut(16).zip((0..).step_by(16)) {
                let mut sums = [Sum::default(); 4];
                let mut at = top + column;
                for &pair in pairs {
                    let weights = Weights::of(pair);
                    let zipped = I16x8::zip_rows(&self.load(at), &self.load(at + self.stride));
                    for (sum, values) in sums.iter_mut().zip(zipped) {
                        sum.add(values, weights);
                    }
                    at += 2 * self.stride;
                }
                chunk.copy_from_slice(&Sum::bytes(sums)[..chunk.len()]);
            }
        }
    }
}

/// A pair of weights in every lane.
#[derive(Clone, Copy)]
struct Weights {
    high: I16x8,
    low: I16x8,
}

impl Weights {
    #[inline(always)]
    fn of(pair: Pair) -> Self {
        Self { high: I16x8::splat_pair(pair.high), low: I16x8::splat_pair(pair.low) }
    }
}

/// Sums of products with both parts of the weights.
#[derive(Clone, Copy)]
struct Sum {
    high: I32x4,
    low: I32x4,
}

impl Default for Sum {
    #[inline(always)]
    fn default() -> Self {
        Self { high: I32x4::splat(0), low: I32x4::splat(1 << (WEIGHT_BITS - 1)) }
    }
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, values: I16x8, weights: Weights) {
        self.high = self.high + values.dot(weights.high);
        self.low = self.low + values.dot(weights.low);
    }

    /// Sixteen sums rounded, as bytes.
    #[inline(always)]
    fn bytes(sums: [Self; 4]) -> [u8; 16] {
        let [a, b, c, d] = sums.map(|sum| (sum.high.shl::<LOW_BITS>() + sum.low).shr::<WEIGHT_BITS>());
        I16x8::narrow_u8(I16x8::narrow(a, b), I16x8::narrow(c, d))
    }
}
