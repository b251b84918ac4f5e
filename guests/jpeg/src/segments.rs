//! The file as a list of marker segments (ITU T.81, annex B), walked from the first marker to the last before anything
//! is decoded: a file without its end, or of a refused kind, costs no memory.

use std::ops::Range;

use crate::error::{Result, damaged, unsupported};
use crate::frame::Frame;

const SCANS_MAX: usize = 100;
const SEGMENTS_MAX: usize = 1000;

pub(crate) mod marker {
    pub(crate) const SOI: u8 = 0xD8;
    pub(crate) const EOI: u8 = 0xD9;
    pub(crate) const SOS: u8 = 0xDA;
    pub(crate) const DQT: u8 = 0xDB;
    pub(crate) const DNL: u8 = 0xDC;
    pub(crate) const DRI: u8 = 0xDD;
    pub(crate) const DHT: u8 = 0xC4;
    pub(crate) const JPG: u8 = 0xC8;
    pub(crate) const DAC: u8 = 0xCC;
    pub(crate) const APP0: u8 = 0xE0;
    pub(crate) const APP1: u8 = 0xE1;
    pub(crate) const APP14: u8 = 0xEE;
    pub(crate) const APP15: u8 = 0xEF;
    pub(crate) const COM: u8 = 0xFE;
    pub(crate) const RST0: u8 = 0xD0;
    pub(crate) const RST7: u8 = 0xD7;
}

/// One segment that decoding needs again, in file order.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    QuantizationTables(Range<usize>),
    HuffmanTables(Range<usize>),
    RestartInterval(Range<usize>),
    Scan { header: Range<usize>, data: Range<usize> },
}

/// How three components become RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Grey,
    YCbCr,
    Rgb,
}

/// What a JPEG says of itself, checked.
#[derive(Debug, Clone)]
pub struct Header {
    pub(crate) frame: Frame,
    pub(crate) segments: Vec<Segment>,
    pub(crate) colors: Colors,
    exif: Option<Range<usize>>,
}

impl Header {
    /// Walks all marker segments of `bytes`, from the start of the image to its end marker.
    ///
    /// Nothing of the picture's size is allocated. Refuses what is cut off, arithmetic-coded, lossless, hierarchical,
    /// not of 8 bits a sample, or not of one or three components.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Walk::new(bytes).run()
    }

    /// Columns as stored, before Exif orientation.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.frame.width
    }

    /// Rows as stored, before Exif orientation.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.frame.height
    }

    /// Where in the file the TIFF structure of the first Exif segment lies.
    #[must_use]
    pub fn exif(&self) -> Option<Range<usize>> {
        self.exif.clone()
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    segments: Vec<Segment>,
    scan_count: usize,
    exif: Option<Range<usize>>,
    has_jfif: bool,
    adobe_transform: Option<u8>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            frame: None,
            segments: Vec::new(),
            scan_count: 0,
            exif: None,
            has_jfif: false,
            adobe_transform: None,
        }
    }

    fn run(mut self) -> Result<Header> {
        if !self.bytes.starts_with(&[0xFF, marker::SOI]) {
            return damaged("does not begin with the start-of-image marker");
        }
        self.at = 2;
        loop {
            match self.next_marker()? {
                marker::EOI => return self.finish(),
                code => {
                    let payload = self.payload(code)?;
                    self.segment(code, payload)?;
                }
            }
        }
    }

    fn next_marker(&mut self) -> Result<u8> {
        let start = self.at;
        while self.bytes.get(self.at) == Some(&0xFF) {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            None => self.cut_off(),
            Some(byte) if self.at == start => {
                damaged(format!("byte {start} is `{byte:02x}`, a marker `ff` is expected"))
            }
            Some(&code) => {
                self.at += 1;
                Ok(code)
            }
        }
    }

    fn payload(&mut self, code: u8) -> Result<Range<usize>> {
        let start = self.at;
        let Some(&[high, low]) = self.bytes.get(start..start + 2) else { return self.cut_off() };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return damaged(format!(
                "segment `{code:02x}` at byte {start} declares {length} bytes, at least 2 expected"
            ));
        }
        self.at = start + length;
        if self.at > self.bytes.len() {
            return self.cut_off();
        }
        Ok(start + 2..self.at)
    }

    fn segment(&mut self, code: u8, payload: Range<usize>) -> Result<()> {
        let data = &self.bytes[payload.clone()];
        match code {
            0xC0..=0xC2 => self.frame_header(code, data),
            marker::DHT => self.keep(Segment::HuffmanTables(payload)),
            marker::DQT => self.keep(Segment::QuantizationTables(payload)),
            marker::DRI => self.keep(Segment::RestartInterval(payload)),
            marker::SOS => self.scan(payload),
            marker::APP0 => {
                self.has_jfif |= data.starts_with(b"JFIF\0");
                Ok(())
            }
            marker::APP1 => {
                if self.exif.is_none() && data.starts_with(b"Exif\0") && data.len() > 6 {
                    self.exif = Some(payload.start + 6..payload.end);
                }
                Ok(())
            }
            marker::APP14 => {
                if data.starts_with(b"Adobe") {
                    self.adobe_transform = data.get(11).copied();
                }
                Ok(())
            }
            marker::APP0..=marker::APP15 | marker::COM => Ok(()),
            0xC3 => unsupported("lossless coding, baseline and progressive are supported"),
            0xC5..=0xC7 | 0xCD..=0xCF | 0xDE | 0xDF => {
                unsupported("hierarchical coding, baseline and progressive are supported")
            }
            marker::JPG..=0xCB | marker::DAC => unsupported("arithmetic coding, Huffman coding is supported"),
            marker::DNL => unsupported("number of lines given after the first scan (marker DNL)"),
            _ => damaged(format!("unexpected marker `ff{code:02x}` before byte {}", payload.start)),
        }
    }

    fn frame_header(&mut self, code: u8, data: &[u8]) -> Result<()> {
        if self.frame.is_some() {
            return damaged("two frame headers, one expected");
        }
        self.frame = Some(Frame::parse(data, code == 0xC2)?);
        Ok(())
    }

    fn keep(&mut self, segment: Segment) -> Result<()> {
        if self.segments.len() == SEGMENTS_MAX {
            return unsupported(format!("more than {SEGMENTS_MAX} tables and scans"));
        }
        self.segments.push(segment);
        Ok(())
    }

    fn scan(&mut self, header: Range<usize>) -> Result<()> {
        if self.frame.is_none() {
            return damaged("a scan comes before the frame header");
        }
        self.scan_count += 1;
        if self.scan_count > SCANS_MAX {
            return unsupported(format!("more than {SCANS_MAX} scans"));
        }
        let start = self.at;
        let Some(length) = entropy_coded_bytes(&self.bytes[start..]) else { return self.cut_off() };
        self.at = start + length;
        self.keep(Segment::Scan { header, data: start..self.at })
    }

    fn finish(self) -> Result<Header> {
        let Some(frame) = self.frame else { return damaged("no frame header before the end marker") };
        if self.scan_count == 0 {
            return damaged("no scan before the end marker");
        }
        let colors = colors(&frame, self.has_jfif, self.adobe_transform);
        Ok(Header { frame, segments: self.segments, colors, exif: self.exif })
    }

    fn cut_off<T>(&self) -> Result<T> {
        damaged(format!("cut off: {} bytes, no end-of-image marker", self.bytes.len()))
    }
}

/// Bytes up to the next marker that is no restart marker; None where there is none.
fn entropy_coded_bytes(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += data.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        match data.get(at + 1)? {
            0 | marker::RST0..=marker::RST7 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

/// As libjpeg decides: JFIF means YCbCr; else Adobe's marker says; else the component ids do.
fn colors(frame: &Frame, has_jfif: bool, adobe_transform: Option<u8>) -> Colors {
    match (frame.components.as_slice(), has_jfif, adobe_transform) {
        ([_], ..) => Colors::Grey,
        (_, false, Some(0)) => Colors::Rgb,
        ([r, g, b], false, None) if [r.id, g.id, b.id] == *b"RGB" => Colors::Rgb,
        _ => Colors::YCbCr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_coded_data_ends_at_a_marker_but_not_at_a_stuffed_byte_or_a_restart() {
        assert_eq!(entropy_coded_bytes(&[1, 0xFF, 0, 2, 0xFF, 0xD3, 3, 0xFF, 0xD9]), Some(7));
        assert_eq!(entropy_coded_bytes(&[1, 0xFF, 0xFF, 0xDA]), Some(2));
        assert_eq!(entropy_coded_bytes(&[1, 2, 3]), None);
        assert_eq!(entropy_coded_bytes(&[1, 0xFF]), None);
    }

    #[test]
    fn a_file_of_a_start_alone_is_cut_off() {
        let error = Header::read(&[0xFF, 0xD8]).expect_err("two bytes are no picture");
        assert_eq!(error.to_string(), "JPEG: cut off: 2 bytes, no end-of-image marker");
    }
}
