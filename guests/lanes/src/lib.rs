//! Eight 16-bit lanes and four 32-bit lanes: WebAssembly's vectors, or plain arrays on any other machine.
//!
//! Both forms give the same bits, so what runs in the sandbox is what the native tests test. Lanes wrap around where
//! nothing else is said.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "wasm.rs"]
mod form;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "arrays.rs"]
mod form;

pub use form::{I16x8, I32x4};

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];

    fn lanes(vector: I16x8) -> [i32; 8] {
        // A dot product with (1, 0) and (0, 1) takes the lanes apart.
        let [even, odd] = [[1, 0], [0, 1]].map(|one| vector.dot(I16x8::splat_pair(one)).to_array());
        std::array::from_fn(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] })
    }

    #[test]
    fn pixels_are_taken_apart_in_pairs() {
        let [first, second] = I16x8::pixel_pairs(&ROW);
        assert_eq!(lanes(first), [0, 3, 1, 4, 2, 5, 0, 0]);
        assert_eq!(lanes(second), [6, 9, 7, 10, 8, 11, 0, 0]);
    }

    #[test]
    fn rows_are_zipped_and_widened() {
        let [a, .., d] = I16x8::zip_rows(&ROW, &[9; 16]);
        assert_eq!(lanes(a), [0, 9, 1, 9, 2, 9, 3, 9]);
        assert_eq!(lanes(d), [12, 9, 13, 9, 14, 9, 255, 9]);
    }

    #[test]
    fn narrowing_clamps() {
        let wide = |values: [i32; 4]| values.map(|v| I32x4::splat(v).to_array()[0]);
        assert_eq!(wide([1, -1, 70_000, -70_000]), [1, -1, 70_000, -70_000]);
        let low = I32x4::splat(70_000);
        let high = I32x4::splat(-5);
        assert_eq!(lanes(I16x8::narrow(low, high)), [32767, 32767, 32767, 32767, -5, -5, -5, -5]);
        assert_eq!(I16x8::narrow_u8(I16x8::splat(300), I16x8::splat(-1))[7..9], [255, 0]);
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let rows: [I16x8; 8] = std::array::from_fn(|i| I16x8::load(&std::array::from_fn(|j| (8 * i + j) as i16)));
        let columns = I16x8::transpose(rows);
        assert_eq!(lanes(columns[3]), [3, 11, 19, 27, 35, 43, 51, 59]);
        assert_eq!(I16x8::transpose(columns).map(lanes), rows.map(lanes));
        assert_eq!(I16x8::rows_of_columns(columns)[2], [16, 17, 18, 19, 20, 21, 22, 23]);
    }
}
