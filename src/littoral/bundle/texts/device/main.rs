//! Windows from stdin, answers to stdout, as bytes. `--time`: milliseconds of each run to stderr; `--count`: fuel.

mod pipeline;
mod stages;

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Instant;

use pipeline::Pipeline;
use stages::STAGES;

fn main() -> Result<(), Box<dyn Error>> {
    let option = std::env::args().nth(1).unwrap_or_default();
    if !["", "--time", "--count"].contains(&option.as_str()) {
        return Err("usage: littoral-device [--time | --count] < windows > answers".into());
    }
    let mut pipeline = Pipeline::open(option == "--count")?;
    let mut window = Vec::new();
    loop {
        window.clear();
        io::stdin().lock().take(STAGES[0].input_bytes as u64).read_to_end(&mut window)?;
        if window.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let (answer, fuel) = pipeline.run(&window)?;
        match option.as_str() {
            "--time" => eprintln!("{:.3}", start.elapsed().as_secs_f64() * 1e3),
            "--count" => eprintln!("{fuel}"),
            _ => {}
        }
        io::stdout().write_all(&answer)?;
    }
}
