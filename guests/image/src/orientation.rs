//! Exif's eight orientations: how a stored picture is turned and mirrored to stand upright.

use littoral_sdk::Error;

use crate::geometry::Size;
use crate::resample::SIZED_BYTES;

/// The pixel at (x, y) of the upright picture is found by mirroring x, mirroring y, then swapping the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orientation {
    pub(crate) mirrors_x: bool,
    pub(crate) mirrors_y: bool,
    pub(crate) swaps: bool,
}

impl Orientation {
    /// Exif's number, 1..=8.
    pub(crate) fn of_exif(number: u16) -> Option<Self> {
        let (mirrors_x, mirrors_y, swaps) = match number {
            1 => (false, false, false),
            2 => (true, false, false),
            3 => (true, true, false),
            4 => (false, true, false),
            5 => (false, false, true),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (false, true, true),
            _ => return None,
        };
        Some(Self { mirrors_x, mirrors_y, swaps })
    }

    /// Columns and rows of the stored picture, or back: swapped where the picture lies on its side.
    pub(crate) fn size(self, size: Size) -> Size {
        if self.swaps { Size { width: size.height, height: size.width } } else { size }
    }

    /// `stored`, `SIZED_BYTES` a pixel, turned upright to `size`; in `upright` where it has to move.
    pub(crate) fn turn<'a>(self, stored: &'a [u8], size: Size, upright: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        if self == Self::default() {
            return Ok(stored);
        }
        upright.clear();
        upright.try_reserve_exact(stored.len()).map_err(|_| Error::memory(stored.len()))?;
        let (pixels, _) = stored.as_chunks::<SIZED_BYTES>();
        let stored_width = self.size(size).width;
        for y in 0..size.height {
            let y = if self.mirrors_y { size.height - 1 - y } else { y };
            let at = |x: usize| if self.swaps { x * stored_width + y } else { y * stored_width + x };
            if self.mirrors_x {
                upright.extend((0..size.width).rev().flat_map(|x| pixels[at(x)]));
            } else {
                upright.extend((0..size.width).flat_map(|x| pixels[at(x)]));
            }
        }
        Ok(upright)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter F in a 2×3 picture, as a reader would store it under each orientation (Exif 2.32, figure 12).
    #[test]
    fn every_orientation_turns_upright() {
        let upright = [[1, 2], [3, 4], [5, 6]];
        let flat = |rows: &[&[u8]]| rows.concat().iter().flat_map(|&v| [v; SIZED_BYTES]).collect::<Vec<_>>();
        let expected = flat(&[&upright[0], &upright[1], &upright[2]]);
        let stored: [&[&[u8]]; 8] = [
            &[&[1, 2], &[3, 4], &[5, 6]],
            &[&[2, 1], &[4, 3], &[6, 5]],
            &[&[6, 5], &[4, 3], &[2, 1]],
            &[&[5, 6], &[3, 4], &[1, 2]],
            &[&[1, 3, 5], &[2, 4, 6]],
            &[&[2, 4, 6], &[1, 3, 5]],
            &[&[6, 4, 2], &[5, 3, 1]],
            &[&[5, 3, 1], &[6, 4, 2]],
        ];
        for (number, rows) in (1..).zip(stored) {
            let orientation = Orientation::of_exif(number).expect("1..=8");
            let stored = flat(rows);
            let mut buffer = Vec::new();
            let turned = orientation.turn(&stored, Size { width: 2, height: 3 }, &mut buffer).expect("memory");
            assert_eq!(turned, expected, "orientation {number}");
        }
        assert_eq!(Orientation::of_exif(0), None);
        assert_eq!(Orientation::of_exif(9), None);
    }
}
