//! How much smaller than stored a picture is decoded.

/// A scale of the inverse cosine transform: 8, 4, 2 or 1 samples from each 8 of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// As stored.
    Full,
    /// Half the columns and rows, rounded up.
    Half,
    /// A quarter of the columns and rows, rounded up.
    Quarter,
    /// An eighth of the columns and rows, rounded up.
    Eighth,
}

impl Scale {
    /// All scales, the smallest picture first.
    pub const SMALLEST_FIRST: [Self; 4] = [Self::Eighth, Self::Quarter, Self::Half, Self::Full];

    /// Length of `pixels` at this scale.
    #[must_use]
    pub fn of(self, pixels: usize) -> usize {
        (pixels * self.block()).div_ceil(8)
    }

    /// Decoded pixels for one stored pixel, along a side.
    #[must_use]
    pub fn factor(self) -> f64 {
        self.block() as f64 / 8.0
    }

    /// Samples across a block of 8.
    pub(crate) fn block(self) -> usize {
        match self {
            Self::Full => 8,
            Self::Half => 4,
            Self::Quarter => 2,
            Self::Eighth => 1,
        }
    }
}
