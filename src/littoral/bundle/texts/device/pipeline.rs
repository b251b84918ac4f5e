//! A pipeline of compiled models in wasmi: every module has its own memory, nothing is imported.

use wasmi::{CompilationMode, Config, Engine, Error, Linker, Memory, Module, Store, TypedFunc};

use crate::stages::{Stage, STAGES};

struct Running {
    memory: Memory,
    entry: TypedFunc<(), ()>,
}

pub struct Pipeline {
    store: Store<()>,
    running: Vec<Running>,
}

impl Pipeline {
    /// counts: instructions, by fuel.
    pub fn open(counts: bool) -> Result<Self, Error> {
        let mut config = Config::default();
        config.consume_fuel(counts).compilation_mode(CompilationMode::Eager);
        let engine = Engine::new(&config);
        let mut store = Store::new(&engine, ());
        let running = STAGES.iter().map(|stage| start(&engine, &mut store, stage)).collect::<Result<_, _>>()?;
        Ok(Self { store, running })
    }

    /// The answer to one window of as many bytes as the first stage takes, and the fuel it took where that is counted.
    pub fn run(&mut self, window: &[u8]) -> Result<(Vec<u8>, u64), Error> {
        let full = u64::MAX / 2;
        let counts = self.store.set_fuel(full).is_ok();
        let mut value = window.to_vec();
        for (stage, running) in STAGES.iter().zip(&self.running) {
            if value.len() != stage.input_bytes {
                return Err(Error::new(format!("{}: {} bytes, expected {}", stage.name, value.len(), stage.input_bytes)));
            }
            running.memory.write(&mut self.store, stage.input_offset, &value)?;
            running.entry.call(&mut self.store, ())?;
            value.resize(stage.output_bytes, 0);
            running.memory.read(&self.store, stage.output_offset, &mut value)?;
        }
        Ok((value, if counts { full - self.store.get_fuel()? } else { 0 }))
    }
}

fn start(engine: &Engine, store: &mut Store<()>, stage: &Stage) -> Result<Running, Error> {
    let module = Module::new(engine, stage.wasm)?;
    let instance = Linker::<()>::new(engine).instantiate_and_start(&mut *store, &module)?;
    let memory = instance.get_memory(&*store, "memory").ok_or_else(|| Error::new("no memory"))?;
    if memory.data_size(&*store) != stage.memory_bytes {
        return Err(Error::new(format!("{}: the module has another memory than it should", stage.name)));
    }
    let entry = instance.get_typed_func::<(), ()>(&*store, stage.entry)?;
    Ok(Running { memory, entry })
}
