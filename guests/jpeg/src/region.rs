//! The part of a picture that is wanted: what lies elsewhere is read, as coding demands, but not drawn.

use std::ops::Range;

use crate::frame::Sampling;

/// Columns and rows of the decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Columns of pixels.
    pub columns: Range<usize>,
    /// Rows of pixels.
    pub rows: Range<usize>,
}

impl Region {
    /// Within a picture of this size.
    pub(crate) fn within(&self, width: usize, height: usize) -> Self {
        let cut = |range: &Range<usize>, length: usize| range.start.min(length)..range.end.min(length);
        Self { columns: cut(&self.columns, width), rows: cut(&self.rows, height) }
    }
}

/// The samples of one component that a region's pixels are made of: one more on each side, which filters look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) columns: Range<usize>,
    pub(crate) rows: Range<usize>,
}

impl Needed {
    pub(crate) fn of(region: &Region, sampling: &Sampling) -> Self {
        let around = |pixels: &Range<usize>, expand: usize, length: usize| {
            if pixels.is_empty() {
                return 0..0;
            }
            (pixels.start / expand).saturating_sub(1)..(pixels.end.div_ceil(expand) + 1).min(length)
        };
        Self {
            columns: around(&region.columns, sampling.h_expand, sampling.width),
            rows: around(&region.rows, sampling.v_expand, sampling.height),
        }
    }

    /// Whether the square of samples from this column and row on has one of them.
    #[inline]
    pub(crate) fn meets(&self, column: usize, row: usize, size: usize) -> bool {
        column < self.columns.end
            && column + size > self.columns.start
            && row < self.rows.end
            && row + size > self.rows.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(expand: usize) -> Sampling {
        let (width, height) = (100 / expand, 60 / expand);
        Sampling { block: 8, width, height, row_blocks: 13, strip_rows: 8, h_expand: expand, v_expand: expand }
    }

    #[test]
    fn samples_reach_one_further_than_pixels_and_not_beyond_the_picture() {
        let region = Region { columns: 10..31, rows: 0..60 };
        assert_eq!(Needed::of(&region, &sampling(1)), Needed { columns: 9..32, rows: 0..60 });
        assert_eq!(Needed::of(&region, &sampling(2)), Needed { columns: 4..17, rows: 0..30 });
    }

    #[test]
    fn a_block_is_needed_where_it_has_a_needed_sample() {
        let needed = Needed { columns: 8..17, rows: 3..8 };
        assert!(needed.meets(8, 0, 8) && needed.meets(16, 0, 8));
        assert!(!needed.meets(0, 0, 8) && !needed.meets(24, 0, 8) && !needed.meets(8, 8, 8));
    }

    #[test]
    fn nothing_is_needed_of_an_empty_region() {
        let needed = Needed::of(&Region { columns: 0..100, rows: 7..7 }, &sampling(1));
        assert!(!needed.meets(0, 0, 8) && !needed.meets(0, 7, 8));
    }
}
