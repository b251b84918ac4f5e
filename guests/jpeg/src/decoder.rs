//! The decoder: scans in file order, each row of MCUs straight to pixels where one scan holds everything, by way of
//! stored coefficients where it does not.

use crate::blocks::{self, Block, Coder};
use crate::canvas::Canvas;
use crate::error::{Result, damaged, fill};
use crate::frame::{Component, Frame};
use crate::ledger::Ledger;
use crate::region::Region;
use crate::scale::Scale;
use crate::scan::{Entropy, Part, Scan};
use crate::segments::{Header, Segment};
use crate::tables::Tables;

/// Decodes pictures one after the other, in memory it keeps; only coefficients, twice as large as the picture, are not
/// kept, so that the next one, of another kind, does not come on top of them.
pub struct Decoder {
    canvas: Canvas,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { canvas: Canvas::empty() }
    }
}

impl Decoder {
    /// Decodes `bytes`, whose header is `header`, at `scale` into `rgb`: three bytes a pixel, row by row from the top.
    ///
    /// Returns columns and rows: those of the header at that scale, rounded up. Samples are those of libjpeg-turbo at
    /// the same scale, bit for bit, within `region`; pixels elsewhere have no meaning. Besides `rgb` it needs two rows of MCUs, and for progressive files (or one scan
    /// a component) two bytes a coefficient. Damaged, when the data end early or break a rule of their coding.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        header: &Header,
        scale: Scale,
        region: &Region,
        rgb: &mut Vec<u8>,
    ) -> Result<(usize, usize)> {
        let frame = &header.frame;
        self.canvas.begin(frame, header.colors, scale, region, rgb)?;
        let mut ledger = Ledger::new(frame);
        let mut grids: [Grid; 3] = Default::default();
        let mut run = Run { frame, tables: Tables::new()?, restart_interval: 0 };
        for segment in &header.segments {
            match segment {
                Segment::QuantizationTables(at) => run.tables.define_quantization(&bytes[at.clone()])?,
                Segment::HuffmanTables(at) => run.tables.define_huffman(&bytes[at.clone()])?,
                Segment::RestartInterval(at) => run.restart_interval = restart_interval(&bytes[at.clone()])?,
                Segment::Scan { header, data } => {
                    let (scan, data) = (Scan::parse(&bytes[header.clone()], frame)?, &bytes[data.clone()]);
                    for part in &scan.parts {
                        let slot = frame.components[part.component].quantization_table;
                        self.canvas.set_steps(part.component, run.tables.steps(slot)?);
                    }
                    if !frame.is_progressive && scan.parts.len() == frame.components.len() {
                        run.stream(&scan, data, &mut self.canvas, rgb)?;
                        return Ok(frame.scaled(scale));
                    }
                    if ledger.is_empty() {
                        for (grid, component) in grids.iter_mut().zip(&frame.components) {
                            grid.begin(frame, component)?;
                        }
                    }
                    ledger.enter(&scan)?;
                    run.store(&scan, data, &mut grids)?;
                }
            }
        }
        ledger.check_complete()?;
        draw(frame, &grids, &mut self.canvas, rgb)?;
        Ok(frame.scaled(scale))
    }
}

fn restart_interval(data: &[u8]) -> Result<usize> {
    match *data {
        [high, low] => Ok(u16::from_be_bytes([high, low]).into()),
        _ => damaged(format!("restart interval of {} bytes, 2 expected", data.len())),
    }
}

/// Tables and settings in force while scans are read.
struct Run<'a> {
    frame: &'a Frame,
    tables: Tables,
    restart_interval: usize,
}

impl Run<'_> {
    /// Reads the one scan that holds every component, and draws as it goes.
    fn stream(&self, scan: &Scan, data: &[u8], canvas: &mut Canvas, rgb: &mut [u8]) -> Result<()> {
        let mut entropy = Entropy::new(data, self.restart_interval);
        let coders = scan
            .parts
            .iter()
            .map(|part| Ok((part.component, self.tables.dc(part.dc)?, self.tables.ac(part.ac)?)))
            .collect::<Result<Vec<_>>>()?;
        for strip in 0..self.frame.mcus_high {
            for mcu in 0..self.frame.mcus_wide {
                entropy.begin_mcu()?;
                for &(component, dc, ac) in &coders {
                    let Component { h, v, .. } = self.frame.components[component];
                    for i in 0..h * v {
                        let mut block = [0; 64];
                        let is_flat = blocks::sequential(&mut entropy, component, dc, ac, &mut block)
                            .map_err(|text| entropy.damage(text))?;
                        canvas.put(component, mcu * h + i % h, strip, i / h, &block, is_flat)?;
                    }
                }
            }
            entropy.check_not_overrun()?;
            canvas.finish_strip(strip, strip + 1 == self.frame.mcus_high, rgb)?;
        }
        Ok(())
    }

    /// Reads a scan that holds a part of the picture into `grids`.
    fn store(&self, scan: &Scan, data: &[u8], grids: &mut [Grid]) -> Result<()> {
        let mut entropy = Entropy::new(data, self.restart_interval);
        let coders = scan.parts.iter().map(|part| self.coder(scan, part)).collect::<Result<Vec<_>>>()?;
        let (rows, columns) = match scan.parts.as_slice() {
            [part] => {
                let component = &self.frame.components[part.component];
                (component.blocks_high, component.blocks_wide)
            }
            _ => (self.frame.mcus_high, self.frame.mcus_wide),
        };
        for y in 0..rows {
            for x in 0..columns {
                entropy.begin_mcu()?;
                for (coder, part) in coders.iter().zip(&scan.parts) {
                    let Component { h, v, .. } = self.frame.components[part.component];
                    let (h, v) = if scan.is_interleaved() { (h, v) } else { (1, 1) };
                    for i in 0..h * v {
                        let block = grids[part.component].block_mut(x * h + i % h, y * v + i / h);
                        coder.block(&mut entropy, part.component, block).map_err(|text| entropy.damage(text))?;
                    }
                }
            }
            entropy.check_not_overrun()?;
        }
        Ok(())
    }

    fn coder(&self, scan: &Scan, part: &Part) -> Result<Coder<'_>> {
        let Scan { band, .. } = *scan;
        Ok(match (self.frame.is_progressive, band.first, scan.is_refinement()) {
            (false, ..) => Coder::Sequential { dc: self.tables.dc(part.dc)?, ac: self.tables.ac(part.ac)? },
            (true, 0, false) => Coder::DcFirst { table: self.tables.dc(part.dc)?, shift: band.shift },
            (true, 0, true) => Coder::DcRefine { shift: band.shift },
            (true, _, false) => Coder::AcFirst { table: self.tables.ac(part.ac)?, band },
            (true, _, true) => Coder::AcRefine { table: self.tables.ac(part.ac)?, band },
        })
    }
}

/// The stored coefficients of one component, its blocks padded to whole MCUs. One allocation a component: three
/// smaller ones find room where a large one does not.
#[derive(Default)]
struct Grid {
    blocks_wide: usize,
    blocks: Vec<Block>,
}

impl Grid {
    fn begin(&mut self, frame: &Frame, component: &Component) -> Result<()> {
        self.blocks_wide = frame.mcus_wide * component.h;
        fill(&mut self.blocks, self.blocks_wide * frame.mcus_high * component.v, [0; 64])
    }

    fn block(&self, x: usize, y: usize) -> &Block {
        &self.blocks[y * self.blocks_wide + x]
    }

    fn block_mut(&mut self, x: usize, y: usize) -> &mut Block {
        &mut self.blocks[y * self.blocks_wide + x]
    }
}

/// Transforms and draws stored coefficients.
fn draw(frame: &Frame, grids: &[Grid], canvas: &mut Canvas, rgb: &mut [u8]) -> Result<()> {
    for strip in 0..frame.mcus_high {
        for (i, (component, grid)) in frame.components.iter().zip(grids).enumerate() {
            for v in 0..component.v {
                for x in 0..grid.blocks_wide {
                    let block = grid.block(x, strip * component.v + v);
                    let is_flat = block[1..].iter().fold(0, |any, &c| any | c) == 0;
                    canvas.put(i, x, strip, v, block, is_flat)?;
                }
            }
        }
        canvas.finish_strip(strip, strip + 1 == frame.mcus_high, rgb)?;
    }
    Ok(())
}
