//! The weights of antialiased resizing along one axis, with Pillow's arithmetic: a filter as wide as a target pixel is
//! in the source, normalized in double precision, then fixed point with 22 fractional bits.

use littoral_sdk::Error;

use crate::geometry::Axis;

/// Fractional bits of a weight.
pub(crate) const WEIGHT_BITS: u32 = 22;
/// A weight is `high << LOW_BITS | low`, so that both parts fit 16 bits.
pub(crate) const LOW_BITS: u32 = 11;

/// The interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Triangle.
    Bilinear,
    /// Cubic convolution with a = −1/2.
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// Two neighbouring weights, each in two parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) high: [i16; 2],
    pub(crate) low: [i16; 2],
}

impl Pair {
    fn set(&mut self, index: usize, weight: i32) {
        self.high[index] = (weight >> LOW_BITS) as i16;
        self.low[index] = (weight & ((1 << LOW_BITS) - 1)) as i16;
    }
}

/// For every target pixel: the first source pixel, and the weights from there on.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    starts: Vec<usize>,
    pairs: Vec<Pair>,
    pairs_each: usize,
    made_for: Option<(Axis, usize, Filter)>,
}

impl Taps {
    /// Makes the taps along `axis` of a source of `length` pixels; those of the last picture serve the next one of
    /// the same size. The weights of one target pixel are padded with zeros to a multiple of `2 * step_pairs`.
    pub(crate) fn set(&mut self, axis: Axis, length: usize, filter: Filter, step_pairs: usize) -> Result<(), Error> {
        let wanted = Some((axis, length, filter));
        if self.made_for == wanted {
            return Ok(());
        }
        self.made_for = None;
        let scale = axis.span / axis.steps as f64;
        let widened = scale.max(1.0);
        let narrowing = 1.0 / widened;
        let support = filter.support() * widened;
        let center = |i: usize| ((axis.first + i) as f64 + 0.5) * scale;
        let reach = |i: usize| {
            let start = ((center(i) - support + 0.5) as usize).min(length - 1);
            start..((center(i) + support + 0.5) as usize).clamp(start + 1, length)
        };
        let taps_max = (0..axis.count).map(|i| reach(i).len()).max().unwrap_or(1);
        self.pairs_each = taps_max.div_ceil(2).next_multiple_of(step_pairs);
        let pair_count = self.pairs_each * axis.count;
        self.starts.clear();
        self.pairs.clear();
        self.pairs.try_reserve_exact(pair_count).map_err(|_| Error::memory(pair_count * size_of::<Pair>()))?;
        self.pairs.resize(pair_count, Pair::default());
        let mut weights = Vec::with_capacity(taps_max);
        for (i, pairs) in self.pairs.chunks_exact_mut(self.pairs_each).enumerate() {
            weights.clear();
            weights.extend(reach(i).map(|x| filter.weight((x as f64 - center(i) + 0.5) * narrowing)));
            let sum: f64 = weights.iter().sum();
            for (k, weight) in weights.iter().enumerate() {
                let normalized = if sum == 0.0 { *weight } else { weight / sum };
                pairs[k / 2].set(k % 2, fixed_point(normalized));
            }
            self.starts.push(reach(i).start);
        }
        self.made_for = wanted;
        Ok(())
    }

    /// Target pixels in order: the first source pixel, and the weights.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[Pair])> {
        self.starts.iter().copied().zip(self.pairs.chunks_exact(self.pairs_each.max(1)))
    }

    /// How many target pixels there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// The source pixels with a weight lie between these two.
    pub(crate) fn reach(&self, length: usize) -> std::ops::Range<usize> {
        let first = self.starts.iter().copied().min().unwrap_or(0);
        let last = self.starts.iter().copied().max().unwrap_or(0);
        first..(last + 2 * self.pairs_each).min(length)
    }
}

/// Rounded half away from zero.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << WEIGHT_BITS);
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(axis: Axis, length: usize, filter: Filter) -> Vec<(usize, Vec<i32>)> {
        let mut taps = Taps::default();
        taps.set(axis, length, filter, 1).expect("memory");
        let whole = |pair: &Pair| [0, 1].map(|i| i32::from(pair.high[i]) << LOW_BITS | i32::from(pair.low[i]));
        taps.iter().map(|(start, pairs)| (start, pairs.iter().flat_map(whole).collect())).collect()
    }

    #[test]
    fn weights_of_a_pixel_sum_to_one_within_their_rounding() {
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for (length, steps) in [(640, 224), (224, 224), (100, 224), (3, 50), (1, 9), (65_535, 7)] {
                let axis = Axis { span: length as f64, steps, first: 0, count: steps };
                for (start, weights) in weights(axis, length, filter) {
                    let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
                    assert!((sum - (1 << WEIGHT_BITS)).unsigned_abs() as usize <= weights.len(), "{filter:?} {start}");
                }
            }
        }
    }

    #[test]
    fn at_the_same_size_a_pixel_is_itself() {
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            let axis = Axis { span: 9.0, steps: 9, first: 2, count: 4 };
            for (i, (start, weights)) in weights(axis, 9, filter).into_iter().enumerate() {
                for (k, weight) in weights.into_iter().enumerate() {
                    assert_eq!(weight, if start + k == i + 2 { 1 << WEIGHT_BITS } else { 0 });
                }
            }
        }
    }
}
