//! Plain arrays, lane by lane.

use std::array::from_fn;
use std::ops::{Add, Mul, Sub};

/// Eight signed 16-bit lanes.
#[derive(Clone, Copy)]
pub struct I16x8([i16; 8]);

/// Four signed 32-bit lanes.
#[derive(Clone, Copy)]
pub struct I32x4([i32; 4]);

fn clamp(lane: i16) -> u8 {
    lane.clamp(0, 255) as u8
}

impl I16x8 {
    /// The lanes of an array.
    #[must_use]
    pub fn load(from: &[i16; 8]) -> Self {
        Self(*from)
    }

    /// Eight bytes, widened.
    #[must_use]
    pub fn load_u8(from: &[u8; 8]) -> Self {
        Self(from.map(i16::from))
    }

    /// Of four pixels of three bytes, two and two: R₀ R₁ G₀ G₁ B₀ B₁ 0 0.
    #[must_use]
    pub fn pixel_pairs(from: &[u8; 16]) -> [Self; 2] {
        let pair = |at: usize| Self(from_fn(|i| if i < 6 { from[at + i / 2 + i % 2 * 3].into() } else { 0 }));
        [pair(0), pair(6)]
    }

    /// The bytes of two rows in turn, widened: four columns a vector.
    #[must_use]
    pub fn zip_rows(upper: &[u8; 16], lower: &[u8; 16]) -> [Self; 4] {
        from_fn(|k| Self(from_fn(|i| if i % 2 == 0 { upper[4 * k + i / 2] } else { lower[4 * k + i / 2] }.into())))
    }

    /// Eight rows of eight samples from their columns, each lane clamped to 0..=255.
    #[must_use]
    pub fn rows_of_columns(columns: [Self; 8]) -> [[u8; 8]; 8] {
        from_fn(|row| from_fn(|column| clamp(columns[column].0[row])))
    }

    /// The same value in every lane.
    #[must_use]
    pub fn splat(value: i16) -> Self {
        Self([value; 8])
    }

    /// Two values in turn.
    #[must_use]
    pub fn splat_pair(pair: [i16; 2]) -> Self {
        Self(from_fn(|i| pair[i % 2]))
    }

    /// Each lane shifted right, its sign kept.
    #[must_use]
    pub fn shr<const N: u32>(self) -> Self {
        Self(self.0.map(|lane| lane >> N))
    }

    /// Lanes 0..4 of both, in turn.
    #[must_use]
    pub fn zip_low(self, other: Self) -> Self {
        Self(from_fn(|i| if i % 2 == 0 { self.0[i / 2] } else { other.0[i / 2] }))
    }

    /// Lanes 4..8 of both, in turn.
    #[must_use]
    pub fn zip_high(self, other: Self) -> Self {
        Self(from_fn(|i| if i % 2 == 0 { self.0[4 + i / 2] } else { other.0[4 + i / 2] }))
    }

    /// Products of lanes, added in pairs.
    #[must_use]
    pub fn dot(self, other: Self) -> I32x4 {
        let product = |i: usize| i32::from(self.0[i]) * i32::from(other.0[i]);
        I32x4(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
    }

    /// Lanes of `low` then `high`, clamped to 16 bits.
    #[must_use]
    pub fn narrow(low: I32x4, high: I32x4) -> Self {
        let clamp = |lane: i32| lane.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        Self(from_fn(|i| clamp(if i < 4 { low.0[i] } else { high.0[i - 4] })))
    }

    /// Lanes of `low` then `high`, clamped to 0..=255.
    #[must_use]
    pub fn narrow_u8(low: Self, high: Self) -> [u8; 16] {
        from_fn(|i| clamp(if i < 8 { low.0[i] } else { high.0[i - 8] }))
    }

    /// Rows as columns.
    #[must_use]
    pub fn transpose(rows: [Self; 8]) -> [Self; 8] {
        from_fn(|column| Self(from_fn(|row| rows[row].0[column])))
    }

    /// Both clamped to 0..=255, their lanes in turn.
    #[must_use]
    pub fn zip_u8(even: Self, odd: Self) -> [u8; 16] {
        from_fn(|i| clamp(if i % 2 == 0 { even.0[i / 2] } else { odd.0[i / 2] }))
    }

    /// Eight pixels of three bytes, each lane clamped to 0..=255.
    #[must_use]
    pub fn zip_rgb(red: Self, green: Self, blue: Self) -> [u8; 24] {
        from_fn(|i| clamp([red, green, blue][i % 3].0[i / 3]))
    }
}

impl I32x4 {
    /// The same value in every lane.
    #[must_use]
    pub fn splat(value: i32) -> Self {
        Self([value; 4])
    }

    /// The lanes as an array.
    #[must_use]
    pub fn to_array(self) -> [i32; 4] {
        self.0
    }

    /// Each lane shifted left.
    #[must_use]
    pub fn shl<const N: u32>(self) -> Self {
        Self(self.0.map(|lane| lane << N))
    }

    /// Each lane shifted right, its sign kept.
    #[must_use]
    pub fn shr<const N: u32>(self) -> Self {
        Self(self.0.map(|lane| lane >> N))
    }
}

impl Add for I16x8 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl Sub for I16x8 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_sub(other.0[i])))
    }
}

impl Mul for I16x8 {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_mul(other.0[i])))
    }
}

impl Add for I32x4 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl Sub for I32x4 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_sub(other.0[i])))
    }
}
