//! Bytes at addresses that are multiples of 16, so that tensors in them are read in place.

use crate::error::Error;

/// Hosts take no longer answers (docs/reference/agent-abi.md).
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A buffer that keeps its memory.
#[derive(Default)]
pub(crate) struct Buffer {
    blocks: Vec<u128>,
    len: usize,
}

impl Buffer {
    /// Makes it `len` bytes long; their content is unspecified.
    pub(crate) fn resize(&mut self, len: usize) -> Result<(), Error> {
        let blocks = len.div_ceil(size_of::<u128>());
        if self.blocks.capacity() < blocks {
            self.blocks = Vec::new(); // old and new never lie in memory together
            self.len = 0;
            self.blocks.try_reserve_exact(blocks).map_err(|_| Error::memory(len))?;
        }
        self.blocks.resize(blocks, 0);
        self.len = len;
        Ok(())
    }

    #[expect(unsafe_code, reason = "bytes of whole numbers")]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `blocks` holds at least `len` initialised bytes, and every byte is a valid u8.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.len) }
    }

    #[expect(unsafe_code, reason = "bytes of whole numbers")]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; any bytes are a valid u128.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.len) }
    }
}

/// Where an agent writes its answer; its memory is kept from call to call.
#[derive(Default)]
pub struct Output(Buffer);

impl Output {
    /// The answer, made `len` bytes long, 64 MiB at most: all of it is to be written. It begins at a multiple of 16.
    pub fn take(&mut self, len: usize) -> Result<&mut [u8], Error> {
        if len > ANSWER_BYTES_MAX {
            return Err(Error::too_large(format!("answer of {len} bytes, at most {ANSWER_BYTES_MAX}")));
        }
        self.0.resize(len)?;
        Ok(self.0.bytes_mut())
    }

    /// Makes the answer a copy of `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.take(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// The answer so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(crate) fn clear(&mut self) {
        self.0.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_as_long_as_asked() {
        let mut buffer = Buffer::default();
        for len in [0, 1, 15, 16, 17, 1000, 3] {
            buffer.resize(len).expect("memory");
            assert_eq!(buffer.bytes().len(), len);
            assert_eq!(buffer.bytes().as_ptr() as usize % 16, 0);
            buffer.bytes_mut().fill(7);
        }
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        let error = Buffer::default().resize(usize::MAX / 2).expect_err("no machine has this");
        assert!(error.to_string().starts_with("out of memory: "));
    }
}
