//! wasmi: host CASES OUT. OUT/plan.txt has a case a line: module input output entry, count of writes and each
//! [address, bytes], the same of reads.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::str::SplitWhitespace;

use wasmi::{Engine, Linker, Module, Store};

fn number(words: &mut SplitWhitespace) -> Result<usize, Box<dyn Error>> {
    Ok(words.next().ok_or("the line ends early")?.parse()?)
}

fn places(words: &mut SplitWhitespace) -> Result<Vec<(usize, usize)>, Box<dyn Error>> {
    (0..number(words)?).map(|_| Ok((number(words)?, number(words)?))).collect()
}

fn run(cases: &Path, out: &Path, line: &str) -> Result<(), Box<dyn Error>> {
    let mut words = line.split_whitespace();
    let mut next = || words.next().ok_or("the line ends early");
    let (module, input, output, entry) = (next()?, next()?, next()?, next()?);
    let (writes, reads) = (places(&mut words)?, places(&mut words)?);
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, fs::read(cases.join(module))?)?;
    let instance = Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module)?;
    let memory = instance.get_memory(&store, "memory").ok_or("no memory")?;
    let data = fs::read(cases.join(input))?;
    let mut rest = &data[..];
    for (at, bytes) in writes {
        let (first, more) = rest.split_at(bytes);
        memory.write(&mut store, at, first)?;
        rest = more;
    }
    instance.get_typed_func::<(), ()>(&store, entry)?.call(&mut store, ())?;
    let mut made = Vec::new();
    for (at, bytes) in reads {
        made.extend_from_slice(memory.data(&store).get(at..at + bytes).ok_or("output outside memory")?);
    }
    Ok(fs::write(out.join(output), made)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<_> = std::env::args().skip(1).collect();
    let [cases, out] = folders.as_slice() else { return Err("usage: host CASES OUT".into()) };
    let (cases, out) = (Path::new(cases), Path::new(out));
    for line in fs::read_to_string(out.join("plan.txt"))?.lines() {
        run(cases, out, line).map_err(|error| format!("{line}: {error}"))?;
    }
    Ok(())
}
