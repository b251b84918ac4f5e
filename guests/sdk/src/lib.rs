//! Write a Littoral agent: a struct, a trait and one macro.
//!
//! ```
//! use littoral_sdk::{Agent, Config, Error, Output};
//!
//! /// Repeats its input.
//! struct Repeat {
//!     times: usize,
//! }
//!
//! impl Agent for Repeat {
//!     fn init(config: &[u8]) -> Result<Self, Error> {
//!         let mut config = Config::parse(config)?;
//!         let times = config.whole("times", 1..=100, 2)? as usize;
//!         config.finish()?;
//!         Ok(Self { times })
//!     }
//!
//!     fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
//!         let copies = output.take(input.len() * self.times)?;
//!         for copy in copies.chunks_exact_mut(input.len().max(1)) {
//!             copy.copy_from_slice(input);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! littoral_sdk::agent! { Repeat, manifest: br#"{"format": 1, "name": "repeat", "version": "1.0.0"}"# }
//! ```
//!
//! The crate is a `cdylib`, built for `wasm32-unknown-unknown`; `docs/reference/agent-abi.md` describes what the macro
//! exports. Tensors come and go as frames: [`Frame`] reads one, [`Layout`] writes one. [`log`](mod@log) writes to the
//! node's log.
//!
//! A panic ends the instance, not the node: its text stays readable for the host, as does the size of an allocation
//! that failed. Memory that depends on the input is better asked for with `try_reserve`, so that the instance lives on.

mod buffer;
mod config;
mod error;
mod exports;
mod frame;
mod heap;
pub mod log;
mod session;
mod setup;
mod tensor;
mod words;

pub use buffer::Output;
pub use config::Config;
pub use error::{Error, number};
pub use frame::{Frame, Layout, Tensors, View};
pub use setup::Setup;
pub use tensor::{Dtype, Element, Ports, Spec};

#[doc(hidden)]
pub use exports::{Exports, start};
#[doc(hidden)]
pub use heap::Heap;

/// What an agent does. `agent!` exports it.
pub trait Agent: Sized {
    /// Starts from the configuration in the site file, as JSON (`b"{}"` or empty where there is none); with files
    /// beside it, [`Setup`] reads both; or from the bytes of a model, for an agent that loads one.
    fn init(config: &[u8]) -> Result<Self, Error>;

    /// What [`Agent::infer`] takes with this configuration. Default: bytes.
    fn input(&self) -> Ports {
        Ports::Bytes
    }

    /// What [`Agent::infer`] gives with this configuration. Default: bytes.
    fn output(&self) -> Ports {
        Ports::Bytes
    }

    /// Answers one input. `output` starts empty; after an error it is not looked at.
    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error>;
}
