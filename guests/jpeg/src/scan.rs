//! One scan: its header, and the state that entropy coding carries from block to block.

use crate::bits::Bits;
use crate::blocks::Band;
use crate::error::{Error, Result, damaged};
use crate::frame::Frame;

/// One component of a scan: which of the frame, and its Huffman tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) component: usize,
    pub(crate) dc: usize,
    pub(crate) ac: usize,
}

/// The scan header (T.81, B.2.3), checked against the frame.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) parts: Vec<Part>,
    pub(crate) band: Band,
    /// The bit down to which these coefficients were sent before; 0 = they were not.
    pub(crate) shift_before: u32,
}

impl Scan {
    pub(crate) fn parse(data: &[u8], frame: &Frame) -> Result<Self> {
        let Some((&count, rest)) = data.split_first() else { return damaged("an empty scan header") };
        let count = usize::from(count);
        if !(1..=frame.components.len()).contains(&count) || rest.len() != 2 * count + 3 {
            return damaged(format!("scan header of {} bytes for {count} components", data.len()));
        }
        let (specs, band) = rest.split_at(2 * count);
        let scan = Self {
            parts: specs.chunks_exact(2).map(|spec| part(spec, frame)).collect::<Result<_>>()?,
            band: Band { first: band[0].into(), last: band[1].into(), shift: u32::from(band[2] & 15) },
            shift_before: u32::from(band[2] >> 4),
        };
        for (i, part) in scan.parts.iter().enumerate() {
            if scan.parts[..i].iter().any(|other| other.component == part.component) {
                return damaged(format!("a scan names component {} twice", part.component));
            }
        }
        if frame.is_progressive { scan.check_progressive() } else { Ok(scan.whole()) }
    }

    /// In sequential mode the band is always whole; encoders that write other values there are taken at their data.
    fn whole(self) -> Self {
        Self { band: Band { first: 0, last: 63, shift: 0 }, shift_before: 0, ..self }
    }

    fn check_progressive(self) -> Result<Self> {
        let (Band { first, last, shift }, count) = (self.band, self.parts.len());
        let is_dc = first == 0 && last == 0;
        let is_ac = 0 < first && first <= last && last <= 63 && count == 1;
        if !is_dc && !is_ac {
            return damaged(format!("a scan of {count} components holds coefficients {first}..{last}"));
        }
        if shift > 13 || self.is_refinement() && self.shift_before != shift + 1 {
            return damaged(format!("a scan goes from bit {} to bit {shift}", self.shift_before));
        }
        Ok(self)
    }

    pub(crate) fn is_interleaved(&self) -> bool {
        self.parts.len() > 1
    }

    pub(crate) fn is_refinement(&self) -> bool {
        self.shift_before > 0
    }
}

fn part(spec: &[u8], frame: &Frame) -> Result<Part> {
    let Some(component) = frame.components.iter().position(|c| c.id == spec[0]) else {
        return damaged(format!("a scan names component {}, which the frame does not have", spec[0]));
    };
    Ok(Part { component, dc: usize::from(spec[1] >> 4), ac: usize::from(spec[1] & 15) })
}

/// What entropy coding remembers between blocks.
pub(crate) struct Entropy<'a> {
    pub(crate) bits: Bits<'a>,
    /// By component of the frame: the last DC value.
    pub(crate) predictors: [i32; 3],
    /// Blocks yet to come in which this scan's band is all zero.
    pub(crate) end_of_band_run: u32,
    restart_interval: usize,
    until_restart: usize,
    restart_number: u8,
}

impl<'a> Entropy<'a> {
    /// restart_interval: MCUs between restart markers, 0 = none.
    pub(crate) fn new(data: &'a [u8], restart_interval: usize) -> Self {
        Self {
            bits: Bits::new(data),
            predictors: [0; 3],
            end_of_band_run: 0,
            restart_interval,
            until_restart: restart_interval,
            restart_number: 0,
        }
    }

    /// To be called before every MCU.
    #[inline]
    pub(crate) fn begin_mcu(&mut self) -> Result<()> {
        if self.restart_interval == 0 {
            return Ok(());
        }
        if self.until_restart == 0 {
            self.check_not_overrun()?;
            self.bits.restart(self.restart_number)?;
            self.restart_number = (self.restart_number + 1) % 8;
            self.until_restart = self.restart_interval;
            self.predictors = [0; 3];
            self.end_of_band_run = 0;
        }
        self.until_restart -= 1;
        Ok(())
    }

    /// Refuses data that ended before the blocks read so far did.
    pub(crate) fn check_not_overrun(&self) -> Result<()> {
        if self.bits.is_overrun() { Err(cut_off()) } else { Ok(()) }
    }

    /// The reason behind `text`, which may be that the data had ended before.
    #[cold]
    pub(crate) fn damage(&self, text: &str) -> Error {
        if self.bits.is_overrun() { cut_off() } else { Error::Damaged(text.into()) }
    }
}

fn cut_off() -> Error {
    Error::Damaged("cut off: entropy-coded data end before the picture does".into())
}
