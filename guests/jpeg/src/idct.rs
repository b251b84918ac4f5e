//! Inverse cosine transforms from 8×8 coefficients to 8×8, 4×4, 2×2 or 1×1 samples.
//!
//! Fixed point with 13 fractional bits and the rounding of libjpeg's "islow" and reduced-size transforms, so that
//! samples are equal to what libjpeg-turbo, and with it Pillow and OpenCV, decodes. The full-size form is the
//! algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989); sums are regrouped so that each is one dot product.

use std::ops::{Add, Sub};

use littoral_lanes::{I16x8, I32x4};

use crate::tables::Steps;

/// Fractional bits of the constants, and of what the first pass leaves to the second.
const CONSTANT_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

/// Writes the samples of one block to `out`, whose rows are `stride` bytes apart.
///
/// size: 8, 4, 2 or 1. is_flat: all coefficients but the first are zero.
#[inline]
pub(crate) fn block(
    size: usize,
    coefficients: &[i16; 64],
    steps: &Steps,
    is_flat: bool,
    out: &mut [u8],
    stride: usize,
) {
    if is_flat || size == 1 {
        let sample = sample((i32::from(coefficients[0].wrapping_mul(steps[0])) + 4) >> 3);
        for row in out.chunks_mut(stride).take(size) {
            row[..size].fill(sample);
        }
        return;
    }
    match size {
        2 => {
            for (row, samples) in out.chunks_mut(stride).zip(two(coefficients, steps)) {
                row[..2].copy_from_slice(&samples);
            }
        }
        4 => {
            for (row, samples) in out.chunks_mut(stride).zip(&four(rows(coefficients, steps))[..4]) {
                row[..4].copy_from_slice(&samples[..4]);
            }
        }
        _ => {
            for (row, samples) in out.chunks_mut(stride).zip(eight(rows(coefficients, steps))) {
                row[..8].copy_from_slice(&samples);
            }
        }
    }
}

fn sample(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

#[inline]
fn rows(coefficients: &[i16; 64], steps: &Steps) -> [I16x8; 8] {
    let (values, _) = coefficients.as_chunks::<8>();
    let (steps, _) = steps.as_chunks::<8>();
    std::array::from_fn(|i| I16x8::load(&values[i]) * I16x8::load(&steps[i]))
}

/// What the second pass adds before its shift: half for rounding, and 128 to make samples unsigned.
const fn bias(shift: u32) -> i32 {
    (1 << (shift - 1)) + (128 << shift)
}

#[inline]
fn eight(rows: [I16x8; 8]) -> [[u8; 8]; 8] {
    const FIRST: u32 = CONSTANT_BITS - PASS_BITS;
    const SECOND: u32 = CONSTANT_BITS + PASS_BITS + 3;
    let columns = I16x8::transpose(eight_points::<FIRST>(rows, 1 << (FIRST - 1)));
    I16x8::rows_of_columns(eight_points::<SECOND>(columns, bias(SECOND)))
}

/// One pass: eight 8-point transforms side by side.
#[inline(always)]
fn eight_points<const SHIFT: u32>(x: [I16x8; 8], bias: i32) -> [I16x8; 8] {
    let round = I32x4::splat(bias);
    let sum = Wide::dot(x[0], x[4], [8192, 8192]).add_each(round);
    let difference = Wide::dot(x[0], x[4], [8192, -8192]).add_each(round);
    let turned = Wide::dot(x[2], x[6], [10703, 4433]);
    let turned_back = Wide::dot(x[2], x[6], [4433, -10704]);
    let even = [sum + turned, difference + turned_back, difference - turned_back, sum - turned];

    let (outer, inner) = (x[7] + x[3], x[5] + x[1]);
    let a = Wide::dot(outer, inner, [-6436, 9633]);
    let b = Wide::dot(outer, inner, [9633, 6437]);
    let odd = [
        Wide::dot(x[7], x[1], [-7373, 4926]) + b,
        Wide::dot(x[5], x[3], [-20995, 4177]) + a,
        Wide::dot(x[5], x[3], [-4176, -20995]) + b,
        Wide::dot(x[7], x[1], [-4927, -7373]) + a,
    ];
    std::array::from_fn(|i| {
        if i < 4 { (even[i] + odd[i]).narrow::<SHIFT>() } else { (even[7 - i] - odd[7 - i]).narrow::<SHIFT>() }
    })
}

#[inline]
fn four(rows: [I16x8; 8]) -> [[u8; 8]; 8] {
    const FIRST: u32 = CONSTANT_BITS - PASS_BITS + 1;
    const SECOND: u32 = CONSTANT_BITS + PASS_BITS + 3 + 1;
    let zero = I16x8::splat(0);
    let [a, b, c, d] = four_points::<FIRST>(rows, 1 << (FIRST - 1));
    let columns = I16x8::transpose([a, b, c, d, zero, zero, zero, zero]);
    let [a, b, c, d] = four_points::<SECOND>(columns, bias(SECOND));
    I16x8::rows_of_columns([a, b, c, d, zero, zero, zero, zero])
}

/// One pass: 4-point transforms side by side; the fifth coefficient has no part in them.
#[inline(always)]
fn four_points<const SHIFT: u32>(x: [I16x8; 8], bias: i32) -> [I16x8; 4] {
    let mean = Wide::dot(x[0], x[0], [16384, 0]).add_each(I32x4::splat(bias));
    let turned = Wide::dot(x[2], x[6], [15137, -6270]);
    let even = [mean + turned, mean - turned];
    let odd = [
        Wide::dot(x[7], x[5], [-4176, -4926]) + Wide::dot(x[3], x[1], [7373, 20995]),
        Wide::dot(x[7], x[5], [-1730, 11893]) + Wide::dot(x[3], x[1], [-17799, 8697]),
    ];
    [
        (even[0] + odd[0]).narrow::<SHIFT>(),
        (even[1] + odd[1]).narrow::<SHIFT>(),
        (even[1] - odd[1]).narrow::<SHIFT>(),
        (even[0] - odd[0]).narrow::<SHIFT>(),
    ]
}

fn two(coefficients: &[i16; 64], steps: &Steps) -> [[u8; 2]; 2] {
    const FIRST: u32 = CONSTANT_BITS - PASS_BITS + 2;
    const SECOND: u32 = CONSTANT_BITS + PASS_BITS + 3 + 2;
    let mut upper = [0; 8];
    let mut lower = [0; 8];
    for column in [0, 1, 3, 5, 7] {
        let value = |row: usize| i32::from(coefficients[8 * row + column].wrapping_mul(steps[8 * row + column]));
        let (mean, slope) = two_points(value);
        upper[column] = (mean + slope + (1 << (FIRST - 1))) >> FIRST;
        lower[column] = (mean - slope + (1 << (FIRST - 1))) >> FIRST;
    }
    [upper, lower].map(|row| {
        let (mean, slope) = two_points(|column| row[column]);
        [mean + slope, mean - slope].map(|sum| sample((sum + (1 << (SECOND - 1))) >> SECOND))
    })
}

fn two_points(x: impl Fn(usize) -> i32) -> (i32, i32) {
    (x(0) << (CONSTANT_BITS + 2), x(1) * 29692 - x(3) * 10426 + x(5) * 6967 - x(7) * 5906)
}

/// Eight 32-bit sums, lane by lane.
#[derive(Clone, Copy)]
struct Wide(I32x4, I32x4);

impl Add for Wide {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }
}

impl Sub for Wide {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1)
    }
}

impl Wide {
    /// `a · by[0] + b · by[1]`
    #[inline(always)]
    fn dot(a: I16x8, b: I16x8, by: [i16; 2]) -> Self {
        let factors = I16x8::splat_pair(by);
        Self(a.zip_low(b).dot(factors), a.zip_high(b).dot(factors))
    }

    #[inline(always)]
    fn add_each(self, value: I32x4) -> Self {
        Self(self.0 + value, self.1 + value)
    }

    #[inline(always)]
    fn narrow<const SHIFT: u32>(self) -> I16x8 {
        I16x8::narrow(self.0.shr::<SHIFT>(), self.1.shr::<SHIFT>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    const NO_STEPS: Steps = [1; 64];

    /// The definition (T.81, A.3.3), sampled at `size` points a side.
    fn exact(size: usize, coefficients: &[i16; 64]) -> Vec<f64> {
        let scale = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
        let basis = |k: usize, x: usize| ((2 * x + 1) as f64 * k as f64 * PI / (2 * size) as f64).cos() * scale(k);
        let mut out = Vec::new();
        for y in 0..size {
            for x in 0..size {
                let sum: f64 = (0..size * size)
                    .map(|i| (i / size, i % size))
                    .map(|(v, u)| f64::from(coefficients[8 * v + u]) * basis(v, y) * basis(u, x))
                    .sum();
                out.push((sum / 4.0 + 128.0).clamp(0.0, 255.0));
            }
        }
        out
    }

    fn noise(seed: u32) -> [i16; 64] {
        let mut state = seed;
        std::array::from_fn(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let range = 300 / (1 + i as i32 % 8 + i as i32 / 8);
            ((state >> 16) as i32 % (2 * range + 1) - range) as i16
        })
    }

    #[test]
    fn eight_points_are_within_one_of_the_definition() {
        for seed in 0..200 {
            let coefficients = noise(seed);
            let mut out = [0; 64];
            block(8, &coefficients, &NO_STEPS, false, &mut out, 8);
            for (got, want) in out.iter().zip(exact(8, &coefficients)) {
                assert!((f64::from(*got) - want).abs() <= 1.0, "seed {seed}: {got}, expected {want}");
            }
        }
    }

    #[test]
    fn reduced_sizes_are_the_means_of_the_full_block_where_it_is_smooth() {
        let mut coefficients = [0; 64];
        (coefficients[0], coefficients[1], coefficients[8]) = (200, 60, -90);
        let mut full = [0; 64];
        block(8, &coefficients, &NO_STEPS, false, &mut full, 8);
        for size in [4, 2, 1] {
            let mut out = [0; 16];
            block(size, &coefficients, &NO_STEPS, false, &mut out, 4);
            let side = 8 / size;
            for y in 0..size {
                for x in 0..size {
                    let mean: f64 = (0..side * side)
                        .map(|i| f64::from(full[(y * side + i / side) * 8 + x * side + i % side]))
                        .sum::<f64>()
                        / (side * side) as f64;
                    assert!((f64::from(out[y * 4 + x]) - mean).abs() <= 1.5, "{size}: {} {mean}", out[y * 4 + x]);
                }
            }
        }
    }

    #[test]
    fn a_flat_block_needs_no_transform() {
        for value in [-2000, -77, 0, 5, 1999] {
            let mut coefficients = [0; 64];
            coefficients[0] = value;
            for size in [8, 4, 2] {
                let (mut long, mut short) = ([7; 64], [7; 64]);
                block(size, &coefficients, &NO_STEPS, false, &mut long, 8);
                block(size, &coefficients, &NO_STEPS, true, &mut short, 8);
                assert_eq!(long, short, "{value} at {size}");
            }
        }
    }
}
