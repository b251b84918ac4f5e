//! The agent `tract`: runs an ONNX model, the file `model` beside its configuration, by tract.
//!
//! What it takes and gives is what the model's first input and output are, float32 alone.

use littoral_sdk::{Agent, Dtype, Error, Frame, Layout, Output, Ports, Setup, Spec};
use tract_onnx::prelude::*;

struct Tract {
    plan: Arc<TypedSimplePlan>,
    input: Spec,
    output: Spec,
}

impl Agent for Tract {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let mut setup = Setup::parse(config)?;
        let model = setup.file("model")?;
        setup.finish()?;
        let typed = tract_onnx::onnx()
            .model_for_read(&mut &*model)
            .and_then(|model| model.into_optimized())
            .map_err(|error| Error::config(format!("{error:#}")))?;
        let input = spec("x", typed.input_fact(0))?;
        let output = spec("y", typed.output_fact(0))?;
        let plan = typed.into_runnable().map_err(|error| Error::config(format!("{error:#}")))?;
        Ok(Self { plan, input, output })
    }

    fn input(&self) -> Ports {
        Ports::Tensors(vec![self.input.clone()])
    }

    fn output(&self) -> Ports {
        Ports::Tensors(vec![self.output.clone()])
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let frame = Frame::parse(input)?;
        let x = frame.get("x")?;
        let tensor = Tensor::from_shape(&x.shape, &x.elements::<f32>()?).map_err(failed)?;
        let answers = self.plan.run(tvec!(tensor.into())).map_err(failed)?;
        let y = answers[0].to_plain_array_view::<f32>().map_err(failed)?;
        let layout = Layout::new(&[self.output.clone()])?;
        let mut tensors = layout.begin(output)?;
        for (to, from) in tensors.elements::<f32>(0).iter_mut().zip(y.iter()) {
            *to = *from;
        }
        Ok(())
    }
}

/// The shape that a model has for its input or output. Every size must be known.
fn spec(name: &str, fact: TractResult<&TypedFact>) -> Result<Spec, Error> {
    let fact = fact.map_err(|error| Error::config(format!("{error:#}")))?;
    if fact.datum_type != f32::datum_type() {
        return Err(Error::config(format!("`{name}` is {:?}, this agent takes float32", fact.datum_type)));
    }
    let sizes = fact.shape.as_concrete().ok_or_else(|| Error::config(format!("`{name}` has a size that is open")))?;
    Ok(Spec::new(name, Dtype::F32, sizes.iter().map(|&size| size as i64).collect::<Vec<_>>()))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::own(100, format!("{error:#}"))
}

/// A sandbox has no source of randomness: tables are seeded alike in every instance.
#[cfg(target_arch = "wasm32")]
mod source {
    #[unsafe(no_mangle)]
    unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
        // SAFETY: the caller lends `len` bytes at `dest`.
        unsafe { std::ptr::write_bytes(dest, 0x5A, len) };
        Ok(())
    }
}

littoral_sdk::agent! { Tract, manifest: include_bytes!("../manifest.json") }
