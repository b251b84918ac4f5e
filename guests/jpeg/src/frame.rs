//! The frame header (SOF), and where every component's blocks and samples lie at a chosen scale.

use crate::error::{Result, damaged, unsupported};
use crate::scale::Scale;

/// One component as the frame header declares it.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) id: u8,
    /// Blocks of this component in one interleaved MCU, across and down.
    pub(crate) h: usize,
    pub(crate) v: usize,
    pub(crate) quantization_table: usize,
    /// Blocks that carry samples of the picture, across and down: what a scan of this component alone holds.
    pub(crate) blocks_wide: usize,
    pub(crate) blocks_high: usize,
}

/// The frame header, checked.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) is_progressive: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) h_max: usize,
    pub(crate) v_max: usize,
    /// Interleaved MCUs, across and down.
    pub(crate) mcus_wide: usize,
    pub(crate) mcus_high: usize,
    pub(crate) components: Vec<Component>,
}

impl Frame {
    pub(crate) fn parse(data: &[u8], is_progressive: bool) -> Result<Self> {
        let &[precision, h1, h0, w1, w0, count, ref specs @ ..] = data else {
            return damaged(format!("frame header of {} bytes, at least 6 expected", data.len()));
        };
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        if precision != 8 {
            return unsupported(format!("{precision} bits a sample, 8 are supported"));
        }
        match count {
            1 | 3 => {}
            4 => {
                return unsupported(
                    "4 components (CMYK or YCCK), 1 (grey) or 3 (colour) are supported · hint: convert it to RGB first",
                );
            }
            _ => return unsupported(format!("{count} components, 1 (grey) or 3 (colour) are supported")),
        }
        if width == 0 || height == 0 {
            return unsupported(format!("declares {width}×{height} pixels, at least 1×1 expected"));
        }
        if specs.len() != usize::from(count) * 3 {
            return damaged(format!("frame header of {} bytes for {count} components", data.len()));
        }
        let mut frame = Self {
            is_progressive,
            width: width.into(),
            height: height.into(),
            h_max: 1,
            v_max: 1,
            mcus_wide: 0,
            mcus_high: 0,
            components: specs.chunks_exact(3).map(component).collect::<Result<_>>()?,
        };
        frame.place()?;
        Ok(frame)
    }

    fn place(&mut self) -> Result<()> {
        if let [only] = self.components.as_mut_slice() {
            (only.h, only.v) = (1, 1); // a scan of one component is never interleaved (T.81, A.2.2)
        }
        self.h_max = self.components.iter().map(|c| c.h).max().unwrap_or(1);
        self.v_max = self.components.iter().map(|c| c.v).max().unwrap_or(1);
        self.mcus_wide = (self.width as usize).div_ceil(8 * self.h_max);
        self.mcus_high = (self.height as usize).div_ceil(8 * self.v_max);
        for (i, c) in self.components.iter_mut().enumerate() {
            if !self.h_max.is_multiple_of(c.h) || !self.v_max.is_multiple_of(c.v) {
                return unsupported(format!(
                    "component {i} is sampled {}×{} of {}×{}, a whole ratio is supported",
                    c.h, c.v, self.h_max, self.v_max
                ));
            }
            c.blocks_wide = (self.width as usize * c.h).div_ceil(8 * self.h_max);
            c.blocks_high = (self.height as usize * c.v).div_ceil(8 * self.v_max);
        }
        Ok(())
    }

    /// Columns and rows of the picture decoded at `scale`.
    pub(crate) fn scaled(&self, scale: Scale) -> (usize, usize) {
        (scale.of(self.width as usize), scale.of(self.height as usize))
    }

    /// How component `index` is decoded at `scale`.
    pub(crate) fn sampling(&self, index: usize, scale: Scale) -> Sampling {
        let c = &self.components[index];
        let smallest = scale.block();
        let mut block = smallest;
        // A subsampled component is decoded at more of its own resolution before it is upsampled at all.
        while block < 8
            && (self.h_max * smallest).is_multiple_of(c.h * block * 2)
            && (self.v_max * smallest).is_multiple_of(c.v * block * 2)
        {
            block *= 2;
        }
        Sampling {
            block,
            width: (self.width as usize * c.h * block).div_ceil(self.h_max * 8),
            height: (self.height as usize * c.v * block).div_ceil(self.v_max * 8),
            row_blocks: self.mcus_wide * c.h,
            strip_rows: c.v * block,
            h_expand: self.h_max * smallest / (c.h * block),
            v_expand: self.v_max * smallest / (c.v * block),
        }
    }
}

fn component(spec: &[u8]) -> Result<Component> {
    let (h, v) = (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
    if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
        return damaged(format!("sampling factors {h}×{v}, must be 1..4 each"));
    }
    if spec[2] > 3 {
        return damaged(format!("quantization table {}, must be 0..3", spec[2]));
    }
    Ok(Component { id: spec[0], h, v, quantization_table: spec[2].into(), blocks_wide: 0, blocks_high: 0 })
}

/// How one component is decoded: a block of 8×8 coefficients becomes `block`×`block` samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    pub(crate) block: usize,
    /// Samples that belong to the picture.
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Blocks in a row of MCUs, with the padding of the last one.
    pub(crate) row_blocks: usize,
    /// Rows of samples in a row of MCUs.
    pub(crate) strip_rows: usize,
    /// Pixels of the output for one sample.
    pub(crate) h_expand: usize,
    pub(crate) v_expand: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u16, height: u16, sampling: &[u8]) -> Result<Frame> {
        let mut data = vec![8];
        data.extend(height.to_be_bytes());
        data.extend(width.to_be_bytes());
        data.push(sampling.len() as u8);
        for (i, &s) in sampling.iter().enumerate() {
            data.extend([i as u8 + 1, s, 0]);
        }
        Frame::parse(&data, false)
    }

    #[test]
    fn chroma_of_420_is_upsampled_at_full_size_and_decoded_larger_when_scaled() {
        let frame = frame(33, 17, &[0x22, 0x11, 0x11]).expect("valid");
        assert_eq!((frame.mcus_wide, frame.mcus_high), (3, 2));
        let full = frame.sampling(1, Scale::Full);
        assert_eq!((full.block, full.width, full.height, full.h_expand, full.v_expand), (8, 17, 9, 2, 2));
        let half = frame.sampling(1, Scale::Half);
        assert_eq!((half.block, half.width, half.height, half.h_expand, half.v_expand), (8, 17, 9, 1, 1));
        assert_eq!(frame.scaled(Scale::Half), (17, 9));
        let eighth = frame.sampling(1, Scale::Eighth);
        assert_eq!((eighth.block, eighth.width, eighth.h_expand), (2, 5, 1));
    }

    #[test]
    fn chroma_of_422_keeps_its_ratio_when_scaled() {
        let half = frame(64, 64, &[0x21, 0x11, 0x11]).expect("valid").sampling(2, Scale::Half);
        assert_eq!((half.block, half.h_expand, half.v_expand), (4, 2, 1));
    }

    #[test]
    fn refusals_say_both_values() {
        let text = |sampling: &[u8]| frame(8, 8, sampling).expect_err("refused").to_string();
        assert_eq!(text(&[0x31, 0x21, 0x11]), "JPEG: component 1 is sampled 2×1 of 3×1, a whole ratio is supported");
        assert_eq!(text(&[0x11, 0x11]), "JPEG: 2 components, 1 (grey) or 3 (colour) are supported");
        assert_eq!(text(&[0x51, 0x11, 0x11]), "JPEG: sampling factors 5×1, must be 1..4 each");
        assert!(text(&[0x11, 0x11, 0x11, 0x11]).contains("CMYK"));
    }
}
