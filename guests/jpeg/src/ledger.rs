//! Which bits of which coefficients the scans of one picture have sent.

use crate::error::{Result, damaged, unsupported};
use crate::frame::Frame;
use crate::scan::Scan;

/// How often all scans together may visit a block, on average. Encoders stay below 10; a file with a few bytes a scan
/// can ask for far more work than that.
const VISITS_MAX: usize = 32;

const NOT_SENT: u8 = u8::MAX;

/// By component and coefficient: the bit down to which it is known.
pub(crate) struct Ledger {
    sent: Vec<[u8; 64]>,
    /// By component: how many blocks it has.
    blocks: Vec<usize>,
    visits: usize,
}

impl Ledger {
    pub(crate) fn new(frame: &Frame) -> Self {
        let mcu_count = frame.mcus_wide * frame.mcus_high;
        let blocks: Vec<_> = frame.components.iter().map(|c| mcu_count * c.h * c.v).collect();
        Self { sent: vec![[NOT_SENT; 64]; blocks.len()], blocks, visits: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.visits == 0
    }

    /// Takes note of `scan`, or refuses it where it does not go on from what was sent.
    pub(crate) fn enter(&mut self, scan: &Scan) -> Result<()> {
        self.visits += scan.parts.iter().map(|part| self.blocks[part.component]).sum::<usize>();
        if self.visits > VISITS_MAX * self.blocks.iter().sum::<usize>() {
            return unsupported(format!("its scans visit blocks more than {VISITS_MAX} times each"));
        }
        let expected = if scan.is_refinement() { scan.shift_before as u8 } else { NOT_SENT };
        for part in &scan.parts {
            for (k, sent) in
                self.sent[part.component].iter_mut().enumerate().take(scan.band.last + 1).skip(scan.band.first)
            {
                if *sent != expected {
                    return damaged(format!(
                        "coefficient {k} of component {} is sent twice or out of order",
                        part.component
                    ));
                }
                *sent = scan.band.shift as u8;
            }
        }
        Ok(())
    }

    /// Refuses a picture whose scans leave out a coefficient or some of its bits: the standard allows it, encoders
    /// do not do it, and it is what a file looks like that was cut off between two scans and closed.
    pub(crate) fn check_complete(&self) -> Result<()> {
        for (component, sent) in self.sent.iter().enumerate() {
            if let Some(k) = sent.iter().position(|&bit| bit != 0) {
                return damaged(format!(
                    "cut off: its scans do not send all of coefficient {k} of component {component}"
                ));
            }
        }
        Ok(())
    }
}
