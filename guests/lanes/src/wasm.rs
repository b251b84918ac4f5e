//! WebAssembly's 128-bit vectors.

use core::arch::wasm32 as w;
use core::ops::{Add, Mul, Sub};

/// Eight signed 16-bit lanes.
#[derive(Clone, Copy)]
pub struct I16x8(w::v128);

/// Four signed 32-bit lanes.
#[derive(Clone, Copy)]
pub struct I32x4(w::v128);

#[expect(unsafe_code, reason = "vector loads take pointers")]
#[inline(always)]
fn vector(from: &[u8; 16]) -> w::v128 {
    // SAFETY: 16 readable bytes; WebAssembly loads need no alignment.
    unsafe { w::v128_load(from.as_ptr().cast()) }
}

#[expect(unsafe_code, reason = "vector stores take pointers")]
#[inline(always)]
fn bytes(from: w::v128) -> [u8; 16] {
    let mut out = [0; 16];
    // SAFETY: 16 writable bytes; WebAssembly stores need no alignment.
    unsafe { w::v128_store(out.as_mut_ptr().cast(), from) }
    out
}

impl I16x8 {
    /// The lanes of an array.
    #[expect(unsafe_code, reason = "vector loads take pointers")]
    #[inline(always)]
    #[must_use]
    pub fn load(from: &[i16; 8]) -> Self {
        // SAFETY: 16 readable bytes; WebAssembly loads need no alignment.
        Self(unsafe { w::v128_load(from.as_ptr().cast()) })
    }

    /// Eight bytes, widened.
    #[expect(unsafe_code, reason = "vector loads take pointers")]
    #[inline(always)]
    #[must_use]
    pub fn load_u8(from: &[u8; 8]) -> Self {
        // SAFETY: 8 readable bytes; WebAssembly loads need no alignment.
        Self(w::u16x8_extend_low_u8x16(unsafe { w::v128_load64_zero(from.as_ptr().cast()) }))
    }

    /// Of four pixels of three bytes, two and two: R₀ R₁ G₀ G₁ B₀ B₁ 0 0.
    #[inline(always)]
    #[must_use]
    pub fn pixel_pairs(from: &[u8; 16]) -> [Self; 2] {
        const FIRST: w::v128 = w::i8x16(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
        const SECOND: w::v128 = w::i8x16(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
        let pixels = vector(from);
        [FIRST, SECOND].map(|order| Self(w::i8x16_swizzle(pixels, order)))
    }

    /// The bytes of two rows in turn, widened: four columns a vector.
    #[inline(always)]
    #[must_use]
    pub fn zip_rows(upper: &[u8; 16], lower: &[u8; 16]) -> [Self; 4] {
        let (upper, lower) = (vector(upper), vector(lower));
        let low = w::i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(upper, lower);
        let high = w::i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(upper, lower);
        [
            Self(w::u16x8_extend_low_u8x16(low)),
            Self(w::u16x8_extend_high_u8x16(low)),
            Self(w::u16x8_extend_low_u8x16(high)),
            Self(w::u16x8_extend_high_u8x16(high)),
        ]
    }

    /// Eight rows of eight samples from their columns, each lane clamped to 0..=255.
    #[inline(always)]
    #[must_use]
    pub fn rows_of_columns(columns: [Self; 8]) -> [[u8; 8]; 8] {
        let pair = |i: usize| w::u8x16_narrow_i16x8(columns[i].0, columns[i + 1].0);
        let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
        // Bytes of four columns in row order: rows 0..4 and rows 4..8 of the left and of the right half.
        let upper = |x, y| w::i8x16_shuffle::<0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27>(x, y);
        let lower = |x, y| w::i8x16_shuffle::<4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31>(x, y);
        let mut rows = [[0; 8]; 8];
        for (half, (left, right)) in [(upper(a, b), upper(c, d)), (lower(a, b), lower(c, d))].into_iter().enumerate() {
            let low = w::i32x4_shuffle::<0, 4, 1, 5>(left, right);
            let high = w::i32x4_shuffle::<2, 6, 3, 7>(left, right);
            rows[4 * half] = w::u64x2_extract_lane::<0>(low).to_le_bytes();
            rows[4 * half + 1] = w::u64x2_extract_lane::<1>(low).to_le_bytes();
            rows[4 * half + 2] = w::u64x2_extract_lane::<0>(high).to_le_bytes();
            rows[4 * half + 3] = w::u64x2_extract_lane::<1>(high).to_le_bytes();
        }
        rows
    }

    /// The same value in every lane.
    #[inline(always)]
    #[must_use]
    pub fn splat(value: i16) -> Self {
        Self(w::i16x8_splat(value))
    }

    /// Two values in turn.
    #[inline(always)]
    #[must_use]
    pub fn splat_pair(pair: [i16; 2]) -> Self {
        Self(w::u32x4_splat(u32::from(pair[0] as u16) | u32::from(pair[1] as u16) << 16))
    }

    /// Each lane shifted right, its sign kept.
    #[inline(always)]
    #[must_use]
    pub fn shr<const N: u32>(self) -> Self {
        Self(w::i16x8_shr(self.0, N))
    }

    /// Lanes 0..4 of both, in turn.
    #[inline(always)]
    #[must_use]
    pub fn zip_low(self, other: Self) -> Self {
        Self(w::i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(self.0, other.0))
    }

    /// Lanes 4..8 of both, in turn.
    #[inline(always)]
    #[must_use]
    pub fn zip_high(self, other: Self) -> Self {
        Self(w::i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(self.0, other.0))
    }

    /// Products of lanes, added in pairs.
    #[inline(always)]
    #[must_use]
    pub fn dot(self, other: Self) -> I32x4 {
        I32x4(w::i32x4_dot_i16x8(self.0, other.0))
    }

    /// Lanes of `low` then `high`, clamped to 16 bits.
    #[inline(always)]
    #[must_use]
    pub fn narrow(low: I32x4, high: I32x4) -> Self {
        Self(w::i16x8_narrow_i32x4(low.0, high.0))
    }

    /// Lanes of `low` then `high`, clamped to 0..=255.
    #[inline(always)]
    #[must_use]
    pub fn narrow_u8(low: Self, high: Self) -> [u8; 16] {
        bytes(w::u8x16_narrow_i16x8(low.0, high.0))
    }

    /// Rows as columns.
    #[inline(always)]
    #[must_use]
    pub fn transpose(rows: [Self; 8]) -> [Self; 8] {
        let zip2 =
            |x: w::v128, y: w::v128| (w::i32x4_shuffle::<0, 4, 1, 5>(x, y), w::i32x4_shuffle::<2, 6, 3, 7>(x, y));
        let zip4 = |x: w::v128, y: w::v128| (w::i64x2_shuffle::<0, 2>(x, y), w::i64x2_shuffle::<1, 3>(x, y));
        let pairs = |i: usize| (rows[i].zip_low(rows[i + 1]).0, rows[i].zip_high(rows[i + 1]).0);
        let (a, b) = pairs(0);
        let (c, d) = pairs(2);
        let (e, f) = pairs(4);
        let (g, h) = pairs(6);
        let ((ac0, ac1), (bd0, bd1)) = (zip2(a, c), zip2(b, d));
        let ((eg0, eg1), (fh0, fh1)) = (zip2(e, g), zip2(f, h));
        let ((r0, r1), (r2, r3)) = (zip4(ac0, eg0), zip4(ac1, eg1));
        let ((r4, r5), (r6, r7)) = (zip4(bd0, fh0), zip4(bd1, fh1));
        [Self(r0), Self(r1), Self(r2), Self(r3), Self(r4), Self(r5), Self(r6), Self(r7)]
    }

    /// Both clamped to 0..=255, their lanes in turn.
    #[inline(always)]
    #[must_use]
    pub fn zip_u8(even: Self, odd: Self) -> [u8; 16] {
        let both = w::u8x16_narrow_i16x8(even.0, odd.0);
        bytes(w::i8x16_shuffle::<0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15>(both, both))
    }

    /// Eight pixels of three bytes, each lane clamped to 0..=255.
    #[inline(always)]
    #[must_use]
    pub fn zip_rgb(red: Self, green: Self, blue: Self) -> [u8; 24] {
        let rg = w::u8x16_narrow_i16x8(red.0, green.0);
        let b = w::u8x16_narrow_i16x8(blue.0, blue.0);
        let first = w::i8x16_shuffle::<0, 8, 16, 1, 9, 17, 2, 10, 18, 3, 11, 19, 4, 12, 20, 5>(rg, b);
        let rest = w::i8x16_shuffle::<13, 21, 6, 14, 22, 7, 15, 23, 0, 0, 0, 0, 0, 0, 0, 0>(rg, b);
        let mut out = [0; 24];
        out[..16].copy_from_slice(&bytes(first));
        out[16..].copy_from_slice(&w::u64x2_extract_lane::<0>(rest).to_le_bytes());
        out
    }
}

impl I32x4 {
    /// The same value in every lane.
    #[inline(always)]
    #[must_use]
    pub fn splat(value: i32) -> Self {
        Self(w::i32x4_splat(value))
    }

    /// The lanes as an array.
    #[inline(always)]
    #[must_use]
    pub fn to_array(self) -> [i32; 4] {
        let lane = |at: usize| i32::from_le_bytes(*bytes(self.0)[at..].first_chunk().unwrap_or(&[0; 4]));
        [lane(0), lane(4), lane(8), lane(12)]
    }

    /// Each lane shifted left.
    #[inline(always)]
    #[must_use]
    pub fn shl<const N: u32>(self) -> Self {
        Self(w::i32x4_shl(self.0, N))
    }

    /// Each lane shifted right, its sign kept.
    #[inline(always)]
    #[must_use]
    pub fn shr<const N: u32>(self) -> Self {
        Self(w::i32x4_shr(self.0, N))
    }
}

impl Add for I16x8 {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(w::i16x8_add(self.0, other.0))
    }
}

impl Sub for I16x8 {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(w::i16x8_sub(self.0, other.0))
    }
}

impl Mul for I16x8 {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(w::i16x8_mul(self.0, other.0))
    }
}

impl Add for I32x4 {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(w::i32x4_add(self.0, other.0))
    }
}

impl Sub for I32x4 {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(w::i32x4_sub(self.0, other.0))
    }
}
