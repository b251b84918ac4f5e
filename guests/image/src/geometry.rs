//! What becomes of a picture of one size under a configuration: which part is used, and at what size. Pure.

use littoral_jpeg::Scale;
use littoral_sdk::Error;

use crate::orientation::Orientation;
use crate::settings::{Fit, Settings};
use crate::source::{Format, Source};

/// A picture is decoded smaller than stored only as long as it stays this many times larger than needed.
const SCALED_RESERVE: f64 = 2.0;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Resizing along one axis: `span` source pixels become `steps`, of which `count` from `first` on are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) span: f64,
    pub(crate) steps: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Axis {
    fn whole(length: usize, steps: usize) -> Self {
        Self::middle(length, steps, steps)
    }

    /// The middle `count` of `steps`; an odd pixel is cut off where Python's `round` puts it.
    fn middle(length: usize, steps: usize, count: usize) -> Self {
        Self { span: length as f64, steps, first: half_to_even(steps - count), count }
    }

    fn scaled(self, scale: Scale) -> Self {
        Self { span: self.span * scale.factor(), ..self }
    }

    fn mirrored(self, is_mirrored: bool) -> Self {
        if is_mirrored { Self { first: self.steps - self.first - self.count, ..self } } else { self }
    }
}

/// A plan in the picture as it is stored and decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) is_down_first: bool,
}

/// What becomes of a picture, upright.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    x: Axis,
    y: Axis,
    /// Where it lies in the tensor.
    pub(crate) left: usize,
    pub(crate) top: usize,
}

impl Plan {
    pub(crate) fn of(source: &Source, settings: &Settings) -> Result<Self, Error> {
        let size = source.orientation.size(source.size);
        let target = Size { width: settings.width, height: settings.height };
        match settings.fit {
            Fit::Stretch => Ok(Self::resized(size, target, target)),
            Fit::Cover => Ok(Self::resized(size, covering(size, target, settings.short_side), target)),
            Fit::Contain => Ok(Self::contain(size, target)),
            Fit::Crop => Self::crop(size, target),
        }
    }

    /// Resized to `steps`, of which the middle `out` is used.
    fn resized(size: Size, steps: Size, out: Size) -> Self {
        Self {
            x: Axis::middle(size.width, steps.width, out.width),
            y: Axis::middle(size.height, steps.height, out.height),
            left: 0,
            top: 0,
        }
    }

    fn contain(size: Size, target: Size) -> Self {
        let rounded = |length: usize, to: usize, of: usize| ((2 * length * to + of) / (2 * of)).max(1);
        let out = if size.width * target.height >= size.height * target.width {
            Size { width: target.width, height: rounded(size.height, target.width, size.width) }
        } else {
            Size { width: rounded(size.width, target.height, size.height), height: target.height }
        };
        Self {
            x: Axis::whole(size.width, out.width),
            y: Axis::whole(size.height, out.height),
            left: (target.width - out.width) / 2,
            top: (target.height - out.height) / 2,
        }
    }

    fn crop(size: Size, target: Size) -> Result<Self, Error> {
        let Size { width, height } = size;
        if width < target.width || height < target.height {
            return Err(Error::input(format!(
                "picture of {width}×{height} pixels, at least {}×{} expected (`fit` = `crop`)",
                target.width, target.height
            )));
        }
        Ok(Self::resized(size, size, target))
    }

    /// Columns and rows that come out.
    pub(crate) fn out(&self) -> Size {
        Size { width: self.x.count, height: self.y.count }
    }

    /// The scale to decode at: the smallest picture that is still `SCALED_RESERVE` times larger than needed.
    pub(crate) fn scale(&self, source: &Source, is_wanted: bool) -> Scale {
        if !is_wanted || !matches!(source.format, Format::Jpeg(_)) {
            return Scale::Full;
        }
        let spare = (self.x.span / self.x.steps as f64).min(self.y.span / self.y.steps as f64);
        let is_enough = |scale: &Scale| spare * scale.factor() >= SCALED_RESERVE;
        Scale::SMALLEST_FIRST.into_iter().find(is_enough).unwrap_or(Scale::Full)
    }

    /// The plan in the picture as stored, decoded at `scale`.
    pub(crate) fn window(&self, orientation: Orientation, scale: Scale) -> Window {
        let x = self.x.mirrored(orientation.mirrors_x).scaled(scale);
        let y = self.y.mirrored(orientation.mirrors_y).scaled(scale);
        let is_down_first = is_down_first(&x, &y);
        if orientation.swaps {
            Window { x: y, y: x, is_down_first: !is_down_first }
        } else {
            Window { x, y, is_down_first }
        }
    }
}

/// Pillow's rule, for the upright picture: down first where that takes away more than twice as many rows as columns.
fn is_down_first(x: &Axis, y: &Axis) -> bool {
    let removed = |axis: &Axis| axis.span.ceil() - axis.steps as f64;
    removed(y) > 0.0 && removed(y) > 2.0 * removed(x)
}

/// The size that covers `target` with its shorter side at `short_side`, or as small as can be; cut as torchvision's
/// `Resize` does it.
fn covering(size: Size, target: Size, short_side: Option<usize>) -> Size {
    let Size { width, height } = size;
    let with_width = |steps: usize| Size { width: steps, height: steps * height / width };
    let with_height = |steps: usize| Size { width: steps * width / height, height: steps };
    match short_side {
        Some(side) if width <= height => with_width(side),
        Some(side) => with_height(side),
        None if width * target.height >= height * target.width => with_height(target.height),
        None => with_width(target.width),
    }
}

/// Half of `length`; a half left over goes to the even neighbour, as Python rounds.
fn half_to_even(length: usize) -> usize {
    length / 2 + usize::from(length % 4 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    fn axis(span: f64, steps: usize, first: usize, count: usize) -> Axis {
        Axis { span, steps, first, count }
    }

    #[test]
    fn cover_takes_the_middle_of_the_longer_side() {
        let covered = |s, t, side| Plan::resized(s, covering(s, t, side), t);
        let plan = covered(size(400, 200), size(100, 100), None);
        assert_eq!((plan.x, plan.y), (axis(400.0, 200, 50, 100), axis(200.0, 100, 0, 100)));
        let plan = covered(size(512, 1024), size(224, 224), Some(256));
        assert_eq!((plan.x, plan.y), (axis(512.0, 256, 16, 224), axis(1024.0, 512, 144, 224)));
    }

    #[test]
    fn cover_always_covers() {
        for width in 1..40 {
            for height in 1..40 {
                for side in [None, Some(7), Some(13)] {
                    let steps = covering(size(width, height), size(7, 5), side);
                    assert!(steps.width >= 7 && steps.height >= 5, "{width}×{height} {side:?}: {steps:?}");
                }
            }
        }
    }

    #[test]
    fn contain_keeps_the_proportions_and_centres() {
        let plan = Plan::contain(size(400, 200), size(100, 100));
        assert_eq!((plan.out(), plan.left, plan.top), (size(100, 50), 0, 25));
        let plan = Plan::contain(size(10_000, 1), size(100, 100));
        assert_eq!((plan.out(), plan.left, plan.top), (size(100, 1), 0, 49));
    }

    #[test]
    fn halves_are_rounded_as_python_does() {
        let rounded: Vec<_> = (0..9).map(half_to_even).collect();
        assert_eq!(rounded, [0, 0, 1, 2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn a_window_in_a_turned_picture_is_where_its_pixels_are_stored() {
        let plan = Plan { x: axis(40.0, 20, 1, 10), y: axis(30.0, 15, 2, 5), left: 0, top: 0 };
        let (x, y) = (axis(20.0, 20, 1, 10), axis(15.0, 15, 2, 5));
        let (back_x, back_y) = (axis(20.0, 20, 9, 10), axis(15.0, 15, 8, 5));
        let expected =
            [(x, y), (back_x, y), (back_x, back_y), (x, back_y), (y, x), (y, back_x), (back_y, back_x), (back_y, x)];
        for (number, (x, y)) in (1..).zip(expected) {
            let orientation = Orientation::of_exif(number).expect("1..=8");
            let window = plan.window(orientation, Scale::Half);
            assert_eq!(window, Window { x, y, is_down_first: number > 4 }, "orientation {number}");
        }
    }

    #[test]
    fn the_axis_that_loses_more_is_resized_first() {
        let first =
            |width: usize, height: usize, to: usize| is_down_first(&Axis::whole(width, to), &Axis::whole(height, to));
        assert!(!first(640, 480, 224));
        assert!(!first(480, 640, 224));
        assert!(first(300, 640, 224));
        assert!(first(100, 225, 224));
        assert!(!first(100, 200, 224));
    }
}
