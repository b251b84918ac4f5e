//! The agent `neural`: runs a model of the site by the crate wasi-nn as it is published, for wasm32-wasip1.
//!
//! Input: the model's name, a line's end, the element type as a number of wasi-nn 0.6, the dimensions, a line's end,
//! then the tensor's bytes. Without a name the bytes are offered as a model. Answer: the bytes of output 0. What it
//! prints goes to the node's log.

use littoral_sdk::{Agent, Error, Output};
use wasi_nn::{ExecutionTarget, GraphBuilder, GraphEncoding, TensorType};

const OUTPUT_BYTES_MAX: usize = 1 << 20;

struct Neural {
    buffer: Vec<u8>,
}

impl Agent for Neural {
    fn init(_config: &[u8]) -> Result<Self, Error> {
        println!("started");
        Ok(Self { buffer: vec![0; OUTPUT_BYTES_MAX] })
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let began = std::time::Instant::now();
        let mut parts = input.splitn(3, |&byte| byte == b'\n');
        let (Some(name), Some(kind), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::input("three parts expected"));
        };
        let name = text(name)?;
        let mut numbers = text(kind)?.split(' ').map(|word| word.parse::<usize>().map_err(refused));
        let kind = tensor_type(numbers.next().unwrap_or(Ok(usize::MAX))?)?;
        let dimensions = numbers.collect::<Result<Vec<_>, _>>()?;
        let builder = GraphBuilder::new(GraphEncoding::Autodetec, ExecutionTarget::AUTO);
        let graph = match name {
            "" => builder.build_from_bytes([data]).map_err(refused)?,
            _ => builder.build_from_cache(name).map_err(refused)?,
        };
        let mut context = graph.init_execution_context().map_err(refused)?;
        context.set_input(0, kind, &dimensions, data).map_err(refused)?;
        context.compute().map_err(refused)?;
        let bytes = context.get_output(0, &mut self.buffer).map_err(refused)?;
        eprintln!("{name}: {bytes} bytes, {}", if began.elapsed().as_secs() < 60 { "in time" } else { "late" });
        output.write(&self.buffer[..bytes])
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::own(100, error.to_string())
}

fn tensor_type(number: usize) -> Result<TensorType, Error> {
    Ok(match number {
        0 => TensorType::F16,
        1 => TensorType::F32,
        2 => TensorType::F64,
        3 => TensorType::U8,
        4 => TensorType::I32,
        5 => TensorType::I64,
        _ => return Err(Error::input(format!("{number} is no type"))),
    })
}

littoral_sdk::agent! { Neural, manifest: include_bytes!("../manifest.json") }
