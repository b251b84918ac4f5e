//! Lines for the node's log, by the import `littoral.log`. The host bounds their length and rate.
//!
//! Only an agent that calls these has the import; its manifest then names it: `"imports": ["littoral.log"]`.

/// Something failed.
pub fn error(text: &str) {
    write(1, text);
}

/// Something is not as it should be.
pub fn warn(text: &str) {
    write(2, text);
}

/// Something an operator wants to know.
pub fn info(text: &str) {
    write(3, text);
}

/// Something a developer wants to know.
pub fn debug(text: &str) {
    write(4, text);
}

#[cfg(target_arch = "wasm32")]
fn write(level: i32, text: &str) {
    #[expect(unsafe_code, reason = "imports are foreign functions")]
    #[link(wasm_import_module = "littoral")]
    unsafe extern "C" {
        safe fn log(level: i32, pointer: *const u8, len: usize);
    }
    log(level, text.as_ptr(), text.len());
}

/// Outside a node there is no log to write to.
#[cfg(not(target_arch = "wasm32"))]
fn write(_level: i32, _text: &str) {}
