//! The configuration, checked.

use littoral_sdk::{Config, Dtype, Error, Spec};

use crate::taps::Filter;

const SIDE_MAX: u64 = 4096;
const BYTES_MAX: u64 = 256 << 20;
const PIXELS_MAX: u64 = 1 << 28;

/// How a picture of any shape becomes one of the given shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Resized to it, whatever becomes of its proportions.
    Stretch,
    /// Resized until it covers it; what is beyond is cut off on both sides.
    Cover,
    /// Resized until it lies within it; what is left is padded on both sides.
    Contain,
    /// Not resized: its middle.
    Crop,
}

/// The order of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Nchw,
    Nhwc,
}

/// From a byte to an element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalization {
    rescale: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

impl Normalization {
    fn read(c: &mut Config) -> Result<Self, Error> {
        let normalization = Self {
            rescale: c.number("rescale", 1.0 / 255.0)?,
            mean: c.numbers("mean", [0.0; 3])?,
            std: c.numbers("std", [1.0; 3])?,
        };
        let is_finite = |channel| [0, 255].iter().all(|&byte| normalization.value(channel, byte).is_finite());
        if (0..3).all(is_finite) {
            return Ok(normalization);
        }
        let Self { rescale, mean, std } = normalization;
        Err(Error::config(format!(
            "`rescale` `{rescale}`, `mean` `{mean:?}`, `std` `{std:?}` give elements beyond float32"
        )))
    }

    /// Computed in double precision and rounded once.
    pub(crate) fn value(&self, channel: usize, byte: u8) -> f32 {
        ((f64::from(byte) * self.rescale - self.mean[channel]) / self.std[channel]) as f32
    }
}

pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) order: Order,
    pub(crate) dtype: Dtype,
    pub(crate) fit: Fit,
    /// For `Fit::Cover`: the length of the shorter side before the cut, where it is not the least possible.
    pub(crate) short_side: Option<usize>,
    pub(crate) filter: Filter,
    pub(crate) pad: [u8; 3],
    pub(crate) normalization: Normalization,
    pub(crate) dct_scaling: bool,
    pub(crate) bytes_max: usize,
    pub(crate) pixels_max: usize,
}

impl Settings {
    pub(crate) fn read(config: &[u8]) -> Result<Self, Error> {
        let mut c = Config::parse(config)?;
        let (width, height) = (c.whole("width", 1..=SIDE_MAX, 224)?, c.whole("height", 1..=SIDE_MAX, 224)?);
        let dtype = c.choice("dtype", &[("float32", Dtype::F32), ("uint8", Dtype::U8)], Dtype::F32)?;
        let fit = c.choice(
            "fit",
            &[("stretch", Fit::Stretch), ("cover", Fit::Cover), ("contain", Fit::Contain), ("crop", Fit::Crop)],
            Fit::Stretch,
        )?;
        only_with(&c, "short_side", fit == Fit::Cover, "`fit` = `cover`")?;
        only_with(&c, "pad", fit == Fit::Contain, "`fit` = `contain`")?;
        only_with(&c, "filter", fit != Fit::Crop, "a `fit` that resizes")?;
        for key in ["rescale", "mean", "std"] {
            only_with(&c, key, dtype == Dtype::F32, "`dtype` = `float32`")?;
        }
        let settings = Self {
            name: c.text("name", 256, "image")?,
            width: width as usize,
            height: height as usize,
            order: c.choice("layout", &[("nchw", Order::Nchw), ("nhwc", Order::Nhwc)], Order::Nchw)?,
            dtype,
            fit,
            short_side: short_side(&mut c, width.max(height))?,
            filter: c.choice(
                "filter",
                &[("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic)],
                Filter::Bilinear,
            )?,
            pad: padding(&mut c)?,
            normalization: Normalization::read(&mut c)?,
            dct_scaling: c.switch("dct_scaling", true)?,
            bytes_max: c.whole("max_bytes", 1..=BYTES_MAX, 16 << 20)? as usize,
            pixels_max: c.whole("max_pixels", 1..=PIXELS_MAX, 16_000_000)? as usize,
        };
        c.finish()?;
        Ok(settings)
    }

    /// The tensor that comes out.
    pub(crate) fn spec(&self) -> Spec {
        let (width, height) = (self.width as i64, self.height as i64);
        let shape = match self.order {
            Order::Nchw => [1, 3, height, width],
            Order::Nhwc => [1, height, width, 3],
        };
        Spec::new(self.name.as_str(), self.dtype, shape)
    }
}

fn only_with(c: &Config, key: &str, is_allowed: bool, with: &str) -> Result<(), Error> {
    if c.has(key) && !is_allowed {
        return Err(Error::config(format!("`{key}` has a meaning only with {with}")));
    }
    Ok(())
}

fn short_side(c: &mut Config, side_min: u64) -> Result<Option<usize>, Error> {
    let side = c.whole("short_side", 0..=2 * SIDE_MAX, 0)?;
    if 0 < side && side < side_min {
        return Err(Error::config(format!(
            "`short_side` is `{side}`, must be at least the `width` and `height` {side_min}"
        )));
    }
    Ok((side > 0).then_some(side as usize))
}

fn padding(c: &mut Config) -> Result<[u8; 3], Error> {
    let pad = c.numbers("pad", [0.0; 3])?;
    if pad.iter().any(|value| value.fract() != 0.0 || !(0.0..=255.0).contains(value)) {
        return Err(Error::config(format!("`pad` is `{pad:?}`, must be whole numbers 0..255")));
    }
    Ok(pad.map(|value| value as u8))
}
