//! From blocks of samples to rows of RGB: two rows of MCUs are kept, and pixels leave as soon as the chroma rows above
//! and below them are known.

use crate::blocks::Block;
use crate::color;
use crate::error::{Result, damaged, stretch};
use crate::frame::{Frame, Sampling};
use crate::idct;
use crate::region::{Needed, Region};
use crate::scale::Scale;
use crate::segments::Colors;
use crate::tables::Steps;
use crate::upsample::{Rows, Upsampler, Upsampling};

/// Samples beyond the last of a row that vector code may read.
const SLACK: usize = 16;

/// One component's samples of the last two rows of MCUs.
struct Plane {
    sampling: Sampling,
    upsampling: Upsampling,
    needed: Needed,
    steps: Option<Steps>,
    stride: usize,
    samples: Vec<u8>,
    /// One row at the picture's width, where samples are fewer than pixels.
    upsampled: Vec<u8>,
}

impl Plane {
    fn empty() -> Self {
        let sampling =
            Sampling { block: 8, width: 0, height: 0, row_blocks: 0, strip_rows: 1, h_expand: 1, v_expand: 1 };
        Self {
            sampling,
            upsampling: Upsampling::None,
            needed: Needed::default(),
            steps: None,
            stride: 0,
            samples: vec![],
            upsampled: vec![],
        }
    }

    fn begin(&mut self, sampling: Sampling, scale: Scale, region: &Region) -> Result<()> {
        self.upsampling = Upsampling::of(&sampling, scale);
        self.needed = Needed::of(region, &sampling);
        self.steps = None;
        self.stride = (sampling.row_blocks * sampling.block).next_multiple_of(SLACK) + SLACK;
        stretch(&mut self.samples, 2 * sampling.strip_rows * self.stride, 0)?;
        let upsampled =
            if self.upsampling == Upsampling::None { 0 } else { sampling.width * sampling.h_expand + 2 * SLACK };
        stretch(&mut self.upsampled, upsampled, 0)?;
        self.sampling = sampling;
        Ok(())
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y % (2 * self.sampling.strip_rows) * self.stride..][..self.stride]
    }

    fn upsample(&mut self, y: usize, upsampler: &mut Upsampler) -> Result<()> {
        let here = y / self.sampling.v_expand;
        let is_upper = y.is_multiple_of(2);
        let near = if is_upper { here.saturating_sub(1) } else { (here + 1).min(self.sampling.height - 1) };
        let mut out = std::mem::take(&mut self.upsampled);
        let columns = self.needed.columns.clone();
        let rows = Rows { here: &self.row(here)[columns.clone()], near: &self.row(near)[columns.clone()], is_upper };
        let repeat = self.sampling.h_expand;
        let done = upsampler.row(self.upsampling, &rows, repeat, &mut out[columns.start * repeat..]);
        self.upsampled = out;
        done
    }

    /// From a column on; none of a plane that the picture does not have.
    fn pixels(&self, y: usize, column: usize) -> &[u8] {
        let row = if self.upsampling == Upsampling::None { self.row(y) } else { &self.upsampled };
        row.get(column..).unwrap_or_default()
    }
}

/// The picture under way.
pub(crate) struct Canvas {
    planes: [Plane; 3],
    upsampler: Upsampler,
    colors: Colors,
    width: usize,
    height: usize,
    region: Region,
    /// Rows of pixels in a row of MCUs.
    strip_rows: usize,
    /// The first row of pixels that has not left yet.
    next: usize,
}

impl Canvas {
    pub(crate) fn empty() -> Self {
        Self {
            planes: std::array::from_fn(|_| Plane::empty()),
            upsampler: Upsampler::default(),
            colors: Colors::Grey,
            width: 0,
            height: 0,
            region: Region { columns: 0..0, rows: 0..0 },
            strip_rows: 1,
            next: 0,
        }
    }

    /// Starts a picture of the frame's size at `scale`, and makes `rgb` hold its three bytes a pixel.
    pub(crate) fn begin(
        &mut self,
        frame: &Frame,
        colors: Colors,
        scale: Scale,
        region: &Region,
        rgb: &mut Vec<u8>,
    ) -> Result<()> {
        (self.width, self.height) = frame.scaled(scale);
        self.region = region.within(self.width, self.height);
        self.colors = colors;
        self.strip_rows = frame.v_max * scale.block();
        self.next = 0;
        for (i, plane) in self.planes[..frame.components.len()].iter_mut().enumerate() {
            plane.begin(frame.sampling(i, scale), scale, &self.region)?;
        }
        stretch(rgb, self.width * self.height * 3, 0)
    }

    /// The quantization of a component is that of its first scan.
    pub(crate) fn set_steps(&mut self, component: usize, steps: Steps) {
        self.planes[component].steps.get_or_insert(steps);
    }

    /// Transforms the block at column `x` and row `v` of blocks within row `strip` of MCUs.
    #[inline]
    pub(crate) fn put(
        &mut self,
        component: usize,
        x: usize,
        strip: usize,
        v: usize,
        block: &Block,
        is_flat: bool,
    ) -> Result<()> {
        let plane = &mut self.planes[component];
        let Some(steps) = &plane.steps else { return damaged(format!("component {component} is in no scan")) };
        let size = plane.sampling.block;
        if !plane.needed.meets(x * size, strip * plane.sampling.strip_rows + v * size, size) {
            return Ok(());
        }
        let row = strip % 2 * plane.sampling.strip_rows + v * size;
        let out = &mut plane.samples[row * plane.stride + x * size..];
        idct::block(size, block, steps, is_flat, out, plane.stride);
        Ok(())
    }

    /// Row `strip` of MCUs is complete: writes the rows of pixels that depend on nothing further.
    pub(crate) fn finish_strip(&mut self, strip: usize, is_last: bool, rgb: &mut [u8]) -> Result<()> {
        let stop = if is_last { self.height } else { ((strip + 1) * self.strip_rows - 1).min(self.height) };
        for y in self.next.max(self.region.rows.start)..stop.min(self.region.rows.end) {
            self.write_row(y, &mut rgb[y * self.width * 3..][..self.width * 3])?;
        }
        self.next = stop;
        Ok(())
    }

    fn write_row(&mut self, y: usize, out: &mut [u8]) -> Result<()> {
        let used = if self.colors == Colors::Grey { 1 } else { 3 };
        for plane in &mut self.planes[..used] {
            if plane.upsampling != Upsampling::None {
                plane.upsample(y, &mut self.upsampler)?;
            }
        }
        let Region { columns, .. } = &self.region;
        let out = &mut out[columns.start * 3..columns.end * 3];
        let [first, second, third] = self.planes.each_ref().map(|plane| plane.pixels(y, columns.start));
        match self.colors {
            Colors::Grey => color::grey(first, out),
            Colors::Rgb => color::rgb(first, second, third, out),
            Colors::YCbCr => color::ycbcr(first, second, third, out),
        }
        Ok(())
    }
}
