//! The agent `probe`: a word says what to do, the rest of the input what with. Tests of the SDK and of hosts use it.

use littoral_sdk::{Agent, Config, Dtype, Error, Frame, Layout, Output, Spec, log};

struct Probe {
    prefix: String,
}

impl Agent for Probe {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let mut config = Config::parse(config)?;
        let prefix = config.text("prefix", 20, "> ")?;
        config.finish()?;
        Ok(Self { prefix })
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let at = input.iter().position(|&byte| byte == b' ').unwrap_or(input.len());
        let (word, rest) = (&input[..at], input.get(at + 1..).unwrap_or_default());
        match word {
            b"echo" => output.write(&[self.prefix.as_bytes(), rest].concat()),
            b"log" => {
                let text = String::from_utf8_lossy(rest);
                log::error(&text);
                log::warn(&text);
                log::info(&text);
                log::debug(&text);
                Ok(())
            }
            b"double" => double(rest, output),
            b"panic" => panic!("asked to, with {} bytes", rest.len()),
            b"index" => output.write(&[input[number(rest)?]]),
            b"eat" => output.write(&vec![1; number(rest)?]),
            b"take" => output.take(number(rest)?).map(|bytes| bytes.fill(2)),
            b"recurse" => output.write(&[recurse(number(rest)?)]),
            b"spin" => loop {
                std::hint::spin_loop();
            },
            b"own" => Err(Error::own(number(rest)? as u16, "an error of its own")),
            _ => Err(Error::unsupported(format!("unknown word `{}`", String::from_utf8_lossy(word)))),
        }
    }
}

fn number(text: &[u8]) -> Result<usize, Error> {
    let text = String::from_utf8_lossy(text);
    text.parse().map_err(|_| Error::input(format!("`{text}` is no number")))
}

/// A frame of one float32 tensor `x` in, twice its values as `y` out.
fn double(frame: &[u8], output: &mut Output) -> Result<(), Error> {
    let frame = Frame::parse(frame)?;
    let x = frame.get("x")?;
    let values = x.elements::<f32>()?;
    let shape: Vec<i64> = x.shape.iter().map(|&size| size as i64).collect();
    let layout = Layout::new(&[Spec::new("y", Dtype::F32, shape)])?;
    for (y, x) in layout.begin(output)?.elements::<f32>(0).iter_mut().zip(values.iter()) {
        *y = 2.0 * x;
    }
    Ok(())
}

fn recurse(depth: usize) -> u8 {
    let here = std::hint::black_box([depth as u8; 1024]);
    if depth == 0 { here[0] } else { recurse(depth - 1).wrapping_add(here[depth % 1024]) }
}

littoral_sdk::agent! { Probe, manifest: include_bytes!("../manifest.json") }
