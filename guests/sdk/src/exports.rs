//! The agent ABI (docs/reference/agent-abi.md): numbers in, numbers out.

use std::panic::PanicHookInfo;

use crate::error::Error;
use crate::session::Session;
use crate::{Agent, words};

/// What `agent!` exports, one method an export.
pub struct Exports<A>(Session<A>);

/// A session that tells its panics.
#[must_use]
pub fn start<A: Agent>() -> Exports<A> {
    if cfg!(target_arch = "wasm32") {
        std::panic::set_hook(Box::new(tell));
    }
    Exports(Session::default())
}

fn tell(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    match panic.location() {
        Some(at) => words::set(format_args!("panic at {}:{}: {text}", at.file(), at.line())),
        None => words::set(format_args!("panic: {text}")),
    }
}

/// Pointer in the high 32 bits, length in the low.
fn packed(bytes: &[u8]) -> i64 {
    (bytes.as_ptr() as i64) << 32 | bytes.len() as i64
}

/// Notes the error for `last_error`; what the export answers.
fn refused(error: &Error) -> i32 {
    words::set(format_args!("{error}"));
    -i32::from(error.number())
}

impl<A: Agent> Exports<A> {
    /// `alloc`
    pub fn alloc(&mut self, len: usize) -> *mut u8 {
        self.0.alloc(len)
    }

    /// `reset`
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// `init`
    pub fn init(&mut self, pointer: *const u8, len: usize) -> i32 {
        match self.0.init(pointer, len) {
            Ok(()) => 0,
            Err(error) => refused(&error),
        }
    }

    /// `infer`
    pub fn infer(&mut self, pointer: *const u8, len: usize) -> i64 {
        match self.0.infer(pointer, len) {
            Ok(answer) => packed(answer),
            Err(error) => refused(&error).into(),
        }
    }

    /// `describe`
    pub fn describe(&mut self) -> i64 {
        match self.0.describe() {
            Ok(text) => packed(text),
            Err(error) => refused(&error).into(),
        }
    }

    /// `last_error`: needs no session, so that it can be called after a trap.
    #[must_use]
    pub fn last_error() -> i64 {
        words::with(|text| if text.is_empty() { 0 } else { packed(text) })
    }
}

/// Exports an agent: its type, and its manifest as a reference to an array of bytes
/// (`include_bytes!("../manifest.json")`), which becomes the custom section `littoral.agent`.
///
/// Once in a crate. Does nothing outside WebAssembly, so that the agent's tests run natively.
#[macro_export]
macro_rules! agent {
    ($agent:ty, manifest: $manifest:expr) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: (fn() -> $crate::Exports<$agent>, &[u8]) = ($crate::start, $manifest);

        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "exports, a custom section and an allocator")]
        mod littoral_agent {
            use super::*;
            use ::std::cell::RefCell;

            #[global_allocator]
            static HEAP: $crate::Heap = $crate::Heap;

            #[used]
            #[unsafe(link_section = "littoral.agent")]
            static MANIFEST: [u8; ($manifest).len()] = *$manifest;

            thread_local! {
                static EXPORTS: RefCell<$crate::Exports<$agent>> = RefCell::new($crate::start());
            }

            #[unsafe(no_mangle)]
            extern "C" fn alloc(len: usize) -> *mut u8 {
                EXPORTS.with_borrow_mut(|exports| exports.alloc(len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn reset() {
                EXPORTS.with_borrow_mut(|exports| exports.reset());
            }

            #[unsafe(no_mangle)]
            extern "C" fn init(pointer: *const u8, len: usize) -> i32 {
                EXPORTS.with_borrow_mut(|exports| exports.init(pointer, len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn infer(pointer: *const u8, len: usize) -> i64 {
                EXPORTS.with_borrow_mut(|exports| exports.infer(pointer, len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn describe() -> i64 {
                EXPORTS.with_borrow_mut(|exports| exports.describe())
            }

            #[unsafe(no_mangle)]
            extern "C" fn last_error() -> i64 {
                $crate::Exports::<$agent>::last_error()
            }
        }
    };
}
