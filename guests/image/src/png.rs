//! PNG as RGB: every colour type and depth to eight bits, alpha left out, row by row.

use std::io::Cursor;

use ::png::{BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Transformations};
use littoral_sdk::Error;

use crate::geometry::Size;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// What the decoder may hold besides the file's own chunks: rows, palette, window.
const WORKING_BYTES: usize = 4 << 20;

/// What a PNG says of itself.
pub(crate) struct Header<'a> {
    pub(crate) size: Size,
    pub(crate) exif: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Walks all chunks, from the header to the end chunk.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        if !bytes.starts_with(&SIGNATURE) {
            return Err(damaged("does not begin with the signature"));
        }
        let mut rest = &bytes[SIGNATURE.len()..];
        let mut size = None;
        let mut exif = None;
        while let Some((kind, data, after)) = chunk(rest) {
            match (kind, size) {
                (b"IHDR", None) => size = Some(declared_size(data)?),
                (_, None) => return Err(damaged("its first chunk is not the header")),
                (b"eXIf", _) => exif = exif.or(Some(data)),
                (b"IEND", Some(size)) => return Ok(Self { size, exif }),
                _ => {}
            }
            rest = after;
        }
        Err(damaged(&format!("cut off: {} bytes, no end chunk", bytes.len())))
    }
}

/// Type and data of the chunk that `bytes` begin with, and what follows it.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (data, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (_checksum, rest) = rest.split_first_chunk::<4>()?;
    Some((kind, data, rest))
}

fn declared_size(header: &[u8]) -> Result<Size, Error> {
    let &[w3, w2, w1, w0, h3, h2, h1, h0, ..] = header else {
        return Err(damaged(&format!("header of {} bytes, 13 expected", header.len())));
    };
    let (width, height) = (u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]));
    if width == 0 || height == 0 {
        return Err(damaged(&format!("declares {width}×{height} pixels, at least 1×1 expected")));
    }
    Ok(Size { width: width as usize, height: height as usize })
}

/// Decodes into `rgb`, three bytes a pixel. The first picture of an animation is the one that is shown without it.
pub(crate) fn decode(bytes: &[u8], size: Size, rgb: &mut Vec<u8>) -> Result<(), Error> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: bytes.len() + WORKING_BYTES });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(told)?;
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(damaged("its samples do not become eight bits"));
    }
    let stride = size.width * 3;
    rgb.clear();
    if rgb.capacity() < stride * size.height {
        *rgb = Vec::new(); // old and new never lie in memory together
        rgb.try_reserve_exact(stride * size.height).map_err(|_| Error::memory(stride * size.height))?;
    }
    rgb.resize(stride * size.height, 0);
    let mut next = 0;
    let mut pass_row = Vec::new();
    while let Some(row) = reader.next_interlaced_row().map_err(told)? {
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                flatten(color, row.data(), &mut rgb[next..next + stride]);
                next += stride;
            }
            InterlaceInfo::Adam7(pass) => {
                pass_row.resize(row.data().len() / color.samples() * 3, 0);
                flatten(color, row.data(), &mut pass_row);
                ::png::expand_interlaced_row(rgb, stride, &pass_row, pass, 24);
            }
        }
    }
    Ok(())
}

/// One row as RGB; alpha is left out, not blended, as in Pillow's `convert("RGB")`.
fn flatten(color: ColorType, row: &[u8], rgb: &mut [u8]) {
    let (out, _) = rgb.as_chunks_mut::<3>();
    match color {
        ColorType::Grayscale => out.iter_mut().zip(row).for_each(|(out, &grey)| *out = [grey; 3]),
        ColorType::GrayscaleAlpha => {
            out.iter_mut().zip(row.as_chunks::<2>().0).for_each(|(out, &[grey, _])| *out = [grey; 3]);
        }
        ColorType::Rgba => {
            out.iter_mut().zip(row.as_chunks::<4>().0).for_each(|(out, &[r, g, b, _])| *out = [r, g, b]);
        }
        ColorType::Rgb | ColorType::Indexed => out.as_flattened_mut().copy_from_slice(row),
    }
}

fn damaged(why: &str) -> Error {
    Error::input(format!("PNG: {why}"))
}

fn told(error: DecodingError) -> Error {
    match error {
        DecodingError::LimitsExceeded => Error::too_large("PNG: its chunks need more memory than the file has bytes"),
        _ => damaged(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(color: ColorType, depth: BitDepth, width: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut bytes, width, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(&[10, 20, 30, 40, 50, 60][..]);
            encoder.set_trns(&[0, 255][..]);
        }
        encoder.write_header().expect("valid").write_image_data(data).expect("valid");
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let header = Header::read(bytes)?;
        let mut rgb = Vec::new();
        decode(bytes, header.size, &mut rgb).map(|()| rgb)
    }

    #[test]
    fn every_color_type_becomes_rgb() {
        use BitDepth::{Eight, Four, One, Sixteen};
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        for (color, depth, width, data, expected) in [
            (Grayscale, One, 2, &[0b0100_0000][..], &[0, 0, 0, 255, 255, 255][..]),
            (Grayscale, Four, 2, &[0x3F], &[51, 51, 51, 255, 255, 255]),
            (Grayscale, Sixteen, 1, &[0x12, 0xFF], &[0x12, 0x12, 0x12]),
            (GrayscaleAlpha, Eight, 1, &[9, 0], &[9, 9, 9]),
            (Rgb, Sixteen, 1, &[1, 2, 3, 4, 5, 6], &[1, 3, 5]),
            (Rgba, Eight, 1, &[1, 2, 3, 0], &[1, 2, 3]),
            (Indexed, One, 2, &[0b0100_0000], &[10, 20, 30, 40, 50, 60]),
        ] {
            assert_eq!(decoded(&picture(color, depth, width, data)), Ok(expected.to_vec()), "{color:?} {depth:?}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = picture(ColorType::Rgb, BitDepth::Eight, 2, &[1, 2, 3, 4, 5, 6]);
        for length in 0..whole.len() {
            assert!(decoded(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn pixels_that_are_missing_are_missed_although_the_end_chunk_is_there() {
        let whole = picture(ColorType::Rgb, BitDepth::Eight, 200, &[7; 600]);
        let end = whole.len() - 12;
        let mut taller = whole.clone();
        taller[23] = 9; // the header declares nine rows, its checksum is left out of account below
        assert!(decoded(&taller).is_err());
        let start = whole.windows(4).position(|kind| kind == b"IDAT").expect("there") - 4;
        let without = [&whole[..start], &whole[end..]].concat();
        assert!(decoded(&without).is_err());
    }
}
