//! Chroma rows at the picture's width, with libjpeg's triangle filters ("fancy upsampling") and its rounding.

use littoral_lanes::I16x8;

use crate::error::{Result, stretch};
use crate::frame::Sampling;
use crate::scale::Scale;

/// How one component reaches the size of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upsampling {
    /// It has that size.
    None,
    /// Twice as wide: 3/4 of the nearer and 1/4 of the further sample.
    Wide,
    /// Twice as wide and high.
    WideAndHigh,
    /// Twice as high.
    High,
    /// Samples repeated.
    Repeat,
}

impl Upsampling {
    /// The filter libjpeg takes: none at an eighth, and none over less than three columns.
    pub(crate) fn of(sampling: &Sampling, scale: Scale) -> Self {
        let is_smooth = scale != Scale::Eighth;
        match (sampling.h_expand, sampling.v_expand) {
            (1, 1) => Self::None,
            (2, 1) if is_smooth && sampling.width > 2 => Self::Wide,
            (2, 2) if is_smooth && sampling.width > 2 => Self::WideAndHigh,
            (1, 2) if is_smooth => Self::High,
            _ => Self::Repeat,
        }
    }
}

/// One component's rows around the one that is upsampled; each holds `width` samples.
pub(crate) struct Rows<'a> {
    pub(crate) here: &'a [u8],
    /// The row above for the upper output row of a pair, else the row below.
    pub(crate) near: &'a [u8],
    pub(crate) is_upper: bool,
}

/// Working memory for one row at a time.
#[derive(Default)]
pub(crate) struct Upsampler {
    /// One sum a sample, with its neighbours at both ends repeated.
    sums: Vec<i16>,
}

impl Upsampler {
    /// Writes the output row; `out` has room for the samples of whole blocks.
    pub(crate) fn row(&mut self, how: Upsampling, rows: &Rows, repeat: usize, out: &mut [u8]) -> Result<()> {
        match how {
            Upsampling::None => out[..rows.here.len()].copy_from_slice(rows.here),
            Upsampling::Wide => {
                self.sum(rows.here.iter().map(|&here| i16::from(here)), rows.here.len())?;
                self.widen::<2>(1, 2, out);
            }
            Upsampling::WideAndHigh => {
                let weigh = |(&here, &near): (&u8, &u8)| 3 * i16::from(here) + i16::from(near);
                self.sum(rows.here.iter().zip(rows.near).map(weigh), rows.here.len())?;
                self.widen::<4>(8, 7, out);
            }
            Upsampling::High => {
                let round = if rows.is_upper { 1 } else { 2 };
                for ((out, &here), &near) in out.iter_mut().zip(rows.here).zip(rows.near) {
                    *out = ((3 * u16::from(here) + u16::from(near) + round) >> 2) as u8;
                }
            }
            Upsampling::Repeat => {
                for (out, &here) in out.chunks_mut(repeat).zip(rows.here) {
                    out.fill(here);
                }
            }
        }
        Ok(())
    }

    fn sum(&mut self, values: impl Iterator<Item = i16>, width: usize) -> Result<()> {
        stretch(&mut self.sums, width.next_multiple_of(8) + 2, 0)?;
        for (sum, value) in self.sums[1..].iter_mut().zip(values) {
            *sum = value;
        }
        self.sums[0] = self.sums[1];
        self.sums[width + 1] = self.sums[width];
        Ok(())
    }

    fn widen<const SHIFT: u32>(&self, round_even: i16, round_odd: i16, out: &mut [u8]) {
        let (round_even, round_odd, three) = (I16x8::splat(round_even), I16x8::splat(round_odd), I16x8::splat(3));
        let (out, _) = out.as_chunks_mut::<16>();
        for (out, window) in out.iter_mut().zip(self.sums.windows(10).step_by(8)) {
            let [before, here, after] = [0, 1, 2].map(|i| I16x8::load(window[i..].first_chunk().unwrap_or(&[0; 8])));
            let here = here * three;
            *out =
                I16x8::zip_u8((here + before + round_even).shr::<SHIFT>(), (here + after + round_odd).shr::<SHIFT>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upsample(how: Upsampling, here: &[u8], near: &[u8], is_upper: bool) -> Vec<u8> {
        let mut out = vec![0; here.len() * 2 + 32];
        Upsampler::default().row(how, &Rows { here, near, is_upper }, 2, &mut out).expect("memory");
        out.truncate(if how == Upsampling::High { here.len() } else { here.len() * 2 });
        out
    }

    #[test]
    fn the_nearer_sample_weighs_three_quarters_and_the_ends_stand_for_themselves() {
        assert_eq!(upsample(Upsampling::Wide, &[10, 20, 40], &[], true), [10, 13, 17, 25, 35, 40]);
        assert_eq!(upsample(Upsampling::High, &[10, 20, 41], &[20, 10, 40], true), [12, 17, 41]);
        assert_eq!(upsample(Upsampling::High, &[10, 20, 41], &[20, 10, 40], false), [13, 18, 41]);
        assert_eq!(upsample(Upsampling::Repeat, &[1, 2, 3], &[], true), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn both_directions_are_filtered_at_once() {
        let (here, near): (Vec<u8>, Vec<u8>) =
            ((0..37).map(|i| i * 6).collect(), (0..37).map(|i| 255 - i * 5).collect());
        let sum = |i: usize| 3 * i32::from(here[i]) + i32::from(near[i]);
        let expected: Vec<u8> = (0..37)
            .flat_map(|i: usize| {
                let (left, right) = (sum(i.saturating_sub(1)), sum((i + 1).min(36)));
                [(3 * sum(i) + left + 8) >> 4, (3 * sum(i) + right + 7) >> 4]
            })
            .map(|value| value as u8)
            .collect();
        assert_eq!(upsample(Upsampling::WideAndHigh, &here, &near, true), expected);
    }
}
