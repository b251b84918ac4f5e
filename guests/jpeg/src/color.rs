//! One row of samples as RGB, with the integer arithmetic of libjpeg (ITU-T T.871, full range).

use littoral_lanes::{I16x8, I32x4};

/// Grey samples as RGB.
pub(crate) fn grey(luma: &[u8], out: &mut [u8]) {
    for (out, &y) in out.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
        *out = [y; 3];
    }
}

/// Components that are RGB already.
pub(crate) fn rgb(red: &[u8], green: &[u8], blue: &[u8], out: &mut [u8]) {
    for (out, ((&r, &g), &b)) in out.as_chunks_mut::<3>().0.iter_mut().zip(red.iter().zip(green).zip(blue)) {
        *out = [r, g, b];
    }
}

/// Luma and chroma as RGB. The three rows are at least as long as `out` has pixels, rounded up to eight.
pub(crate) fn ycbcr(luma: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    let (whole, rest) = out.as_chunks_mut::<24>();
    let (luma, cb, cr) = (luma.as_chunks::<8>().0, cb.as_chunks::<8>().0, cr.as_chunks::<8>().0);
    let done = whole.len();
    for (out, ((y, cb), cr)) in whole.iter_mut().zip(luma.iter().zip(cb).zip(cr)) {
        *out = eight_pixels(y, cb, cr);
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&eight_pixels(&luma[done], &cb[done], &cr[done])[..rest.len()]);
    }
}

/// R = Y + 1.402 Cr, G = Y − 0.344136 Cb − 0.714136 Cr, B = Y + 1.772 Cb, each product rounded at 16 fractional bits.
///
/// Factors are split into a whole part and a remainder that fits 16 bits: 1.402 = 1 + 26345/2¹⁶,
/// −0.714136 = −1 + 18734/2¹⁶, 1.772 = 2 − 14942/2¹⁶.
#[inline(always)]
fn eight_pixels(luma: &[u8; 8], cb: &[u8; 8], cr: &[u8; 8]) -> [u8; 24] {
    let middle = I16x8::splat(128);
    let y = I16x8::load_u8(luma);
    let cb = I16x8::load_u8(cb) - middle;
    let cr = I16x8::load_u8(cr) - middle;
    let red = y + cr + weigh(cr, cb, [26345, 0]);
    let green = y - cr + weigh(cr, cb, [18734, -22554]);
    let blue = y + cb + cb + weigh(cr, cb, [0, -14942]);
    I16x8::zip_rgb(red, green, blue)
}

/// `a · by[0] + b · by[1]` over 2¹⁶, rounded
#[inline(always)]
fn weigh(a: I16x8, b: I16x8, by: [i16; 2]) -> I16x8 {
    let factors = I16x8::splat_pair(by);
    let half = I32x4::splat(1 << 15);
    let sum = |pairs: I16x8| (pairs.dot(factors) + half).shr::<16>();
    I16x8::narrow(sum(a.zip_low(b)), sum(a.zip_high(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chroma_pair_agrees_with_the_definition() {
        for cb in 0..=255u8 {
            for cr in (0..=255u8).step_by(3) {
                let (b, r) = (f64::from(cb) - 128.0, f64::from(cr) - 128.0);
                let exact = [120.0 + 1.402 * r, 120.0 - 0.344_136 * b - 0.714_136 * r, 120.0 + 1.772 * b];
                let mut out = [0; 3];
                ycbcr(&[120; 8], &[cb; 8], &[cr; 8], &mut out);
                for (got, want) in out.iter().zip(exact) {
                    assert!((f64::from(*got) - want.clamp(0.0, 255.0)).abs() <= 0.52, "{cb} {cr}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn a_row_of_any_length_is_converted_to_its_end() {
        for width in [1, 7, 8, 9, 23] {
            let mut out = vec![0; width * 3];
            ycbcr(&[50; 24], &[128; 24], &[128; 24], &mut out);
            assert!(out.iter().all(|&byte| byte == 50));
        }
    }
}
