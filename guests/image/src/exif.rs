//! The orientation out of Exif metadata (a TIFF structure: CIPA DC-008, 4.6), read with bounds.

use crate::orientation::Orientation;

const ORIENTATION_TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY_BYTES: usize = 12;

struct Tiff<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

impl Tiff<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

/// The orientation that `tiff` declares. Metadata that cannot be read declare none: the picture is taken as upright,
/// as other readers do.
pub(crate) fn orientation(tiff: &[u8]) -> Orientation {
    find(tiff).and_then(Orientation::of_exif).unwrap_or_default()
}

fn find(bytes: &[u8]) -> Option<u16> {
    let is_little_endian = match bytes.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let tiff = Tiff { bytes, is_little_endian };
    let directory = tiff.u32(4)? as usize;
    let count = usize::from(tiff.u16(directory)?);
    let entries = (0..count).map(|i| directory.saturating_add(2 + i * ENTRY_BYTES));
    let entry = entries.into_iter().find(|&entry| tiff.u16(entry) == Some(ORIENTATION_TAG))?;
    if tiff.u16(entry + 2)? != SHORT {
        return None;
    }
    tiff.u16(entry + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiff(value: u8, is_little_endian: bool) -> Vec<u8> {
        if is_little_endian {
            [&b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\0\0\0\0\0\0\0\0\x12\x01\x03\0\x01\0\0\0"[..], &[value, 0, 0, 0]]
                .concat()
        } else {
            [&b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\0\0\0\0\0\x01\x12\0\x03\0\0\0\x01"[..], &[0, value, 0, 0]]
                .concat()
        }
    }

    #[test]
    fn both_byte_orders_are_read() {
        for value in 1..=8 {
            for is_little_endian in [true, false] {
                assert_eq!(Some(orientation(&tiff(value, is_little_endian))), Orientation::of_exif(value.into()));
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_upright() {
        let whole = tiff(6, true);
        for length in 0..whole.len() - 3 {
            assert_eq!(orientation(&whole[..length]), Orientation::default(), "{length} bytes");
        }
        assert_eq!(orientation(&tiff(9, true)), Orientation::default());
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), Orientation::default());
    }
}
