//! JPEG pictures as RGB: baseline and progressive, grey and colour, at full size or scaled by the cosine transform.
//!
//! Made for untrusted bytes in a small sandbox:
//! * [`Header::read`] walks the whole file first, so that what is cut off or of a refused kind costs no memory;
//! * [`Decoder::decode`] refuses data that end early, also where an end marker was put behind them;
//! * memory is asked for once, by size, and a refusal is an error; a [`Decoder`] keeps what it has for the next picture;
//! * samples equal libjpeg-turbo's, which makes Pillow an exact oracle.
//!
//! Reading order: `segments` → `frame` → `decoder` → `scan`, `blocks` → `canvas`, `region` → `idct`, `upsample`, `color`.

mod bits;
mod blocks;
mod canvas;
mod color;
mod decoder;
mod error;
mod frame;
mod huffman;
mod idct;
mod ledger;
mod region;
mod scale;
mod scan;
mod segments;
mod tables;
mod upsample;

pub use decoder::Decoder;
pub use error::Error;
pub use region::Region;
pub use scale::Scale;
pub use segments::Header;
