//! What the bytes are: a JPEG or PNG within the limits, found out without asking for memory of its size.

use littoral_jpeg::{Header, Region, Scale};
use littoral_sdk::Error;

use crate::exif;
use crate::geometry::Size;
use crate::orientation::Orientation;
use crate::png;
use crate::settings::Settings;

/// Longest side of any picture, JPEG's own limit.
const SIDE_MAX: usize = 65_535;

/// Formats that are refused by name.
const OTHERS: [(&str, usize, &[u8]); 9] = [
    ("GIF", 0, b"GIF8"),
    ("WebP", 8, b"WEBP"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("HEIF or AVIF", 4, b"ftyp"),
    ("JPEG XL", 0, b"\xFF\x0A"),
    ("JPEG 2000", 4, b"jP  "),
    ("PDF", 0, b"%PDF"),
];

pub(crate) enum Format {
    Jpeg(Box<Header>),
    Png,
}

impl Size {
    /// Decoded at `scale`.
    pub(crate) fn scaled(self, scale: Scale) -> Self {
        Self { width: scale.of(self.width), height: scale.of(self.height) }
    }
}

/// A picture to be decoded: size and orientation as stored.
pub(crate) struct Source {
    pub(crate) format: Format,
    pub(crate) size: Size,
    pub(crate) orientation: Orientation,
}

impl Source {
    pub(crate) fn read(bytes: &[u8], settings: &Settings) -> Result<Self, Error> {
        if bytes.len() > settings.bytes_max {
            return Err(Error::too_large(format!(
                "input of {} bytes, at most {} (`max_bytes`)",
                bytes.len(),
                settings.bytes_max
            )));
        }
        let source = match bytes {
            [0xFF, 0xD8, ..] => Self::jpeg(bytes)?,
            [0x89, b'P', b'N', b'G', ..] => Self::png(bytes)?,
            _ => return Err(unknown(bytes)),
        };
        source.size.check(settings.pixels_max)?;
        Ok(source)
    }

    fn jpeg(bytes: &[u8]) -> Result<Self, Error> {
        let header = Header::read(bytes).map_err(told)?;
        Ok(Self {
            size: Size { width: header.width() as usize, height: header.height() as usize },
            orientation: header.exif().map(|at| exif::orientation(&bytes[at])).unwrap_or_default(),
            format: Format::Jpeg(Box::new(header)),
        })
    }

    fn png(bytes: &[u8]) -> Result<Self, Error> {
        let header = png::Header::read(bytes)?;
        let orientation = header.exif.map(exif::orientation).unwrap_or_default();
        Ok(Self { size: header.size, orientation, format: Format::Png })
    }
}

impl Size {
    fn check(self, pixels_max: usize) -> Result<(), Error> {
        let Self { width, height } = self;
        if width > SIDE_MAX || height > SIDE_MAX {
            return Err(Error::too_large(format!("picture of {width}×{height} pixels, at most {SIDE_MAX} a side")));
        }
        if width as u64 * height as u64 > pixels_max as u64 {
            let pixels = width as u64 * height as u64;
            return Err(Error::too_large(format!(
                "picture of {width}×{height} = {pixels} pixels, at most {pixels_max} (`max_pixels`)"
            )));
        }
        Ok(())
    }
}

fn unknown(bytes: &[u8]) -> Error {
    if bytes.is_empty() {
        return Error::input("input is empty, a JPEG or PNG picture is expected");
    }
    let named = OTHERS.iter().find(|(_, at, magic)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((name, ..)) = named {
        return Error::unsupported(format!("input is {name}, JPEG and PNG are supported"));
    }
    let first: Vec<_> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Error::input(format!("input is no picture: begins with `{}`, a JPEG or PNG is expected", first.join(" ")))
}

fn told(error: littoral_jpeg::Error) -> Error {
    match error {
        littoral_jpeg::Error::Damaged(_) => Error::input(error.to_string()),
        littoral_jpeg::Error::Unsupported(_) => Error::unsupported(error.to_string()),
        littoral_jpeg::Error::Memory(bytes) => Error::memory(bytes),
    }
}

/// Decodes pictures of both formats.
#[derive(Default)]
pub(crate) struct Decoder {
    jpeg: littoral_jpeg::Decoder,
}

impl Decoder {
    /// Decodes at `scale` (PNG: always whole) into `rgb`, three bytes a pixel, at least within `region`. Returns the
    /// size that came out.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        source: &Source,
        scale: Scale,
        region: &Region,
        rgb: &mut Vec<u8>,
    ) -> Result<Size, Error> {
        match &source.format {
            Format::Jpeg(header) => {
                let (width, height) = self.jpeg.decode(bytes, header, scale, region, rgb).map_err(told)?;
                Ok(Size { width, height })
            }
            Format::Png => png::decode(bytes, source.size, rgb).map(|()| source.size),
        }
    }
}
