//! Pipeline `$pipeline`, version $version. Made by `littoral bundle`.

pub struct Stage {
    pub name: &'static str,
    pub entry: &'static str,
    pub wasm: &'static [u8],
    pub memory_bytes: usize,
    pub input_offset: usize,
    pub input_bytes: usize,
    pub output_offset: usize,
    pub output_bytes: usize,
}

pub const STAGES: &[Stage] = &[
$stages];
