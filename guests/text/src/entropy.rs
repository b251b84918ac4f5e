//! A sandbox has no source of randomness, and this agent needs none: hash tables are seeded alike in every instance,
//! so that the same input takes the same steps.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a symbol that the crate `getrandom` asks for")]
mod source {
    use getrandom::Error;

    #[unsafe(no_mangle)]
    unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), Error> {
        // SAFETY: the caller lends `len` bytes at `dest`.
        unsafe { std::ptr::write_bytes(dest, 0x5A, len) };
        Ok(())
    }
}
