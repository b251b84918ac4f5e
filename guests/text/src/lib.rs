//! The agent `text`: texts in, token ids out, by a `tokenizer.json`.
//!
//! Reading order: `settings` → `vocabulary` (the tokenizer's file, checked) → `input` (what the bytes are, within
//! limits) → here. The tokenizer is the crate `tokenizers`, so ids are those of the package of the same name.

mod entropy;
mod input;
mod settings;
mod vocabulary;

use littoral_sdk::{Agent, Dtype, Error, Layout, Output, Ports, Setup, Spec};

use crate::input::Piece;
use crate::settings::Settings;
use crate::vocabulary::{Row, Vocabulary};

struct Text {
    settings: Settings,
    vocabulary: Vocabulary,
}

impl Text {
    fn rows(&self, pieces: &[Piece]) -> Result<Vec<Row>, Error> {
        let row = |(index, piece): (usize, &Piece)| {
            let row = self.vocabulary.row(piece, &self.settings);
            row.map_err(|error| if pieces.len() == 1 { error } else { error.within(format!("input {index}")) })
        };
        pieces.iter().enumerate().map(row).collect()
    }
}

impl Agent for Text {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let mut setup = Setup::parse(config)?;
        let file = setup.file("tokenizer")?;
        let settings = Settings::read(&mut setup.config)?;
        setup.finish()?;
        let vocabulary = Vocabulary::load(file, &settings)?;
        Ok(Self { settings, vocabulary })
    }

    fn output(&self) -> Ports {
        Ports::Tensors(self.settings.specs(-1, -1))
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let rows = self.rows(&input::pieces(input, &self.settings)?)?;
        let tokens = rows.iter().map(Row::len).max().unwrap_or_default();
        let layout = Layout::new(&self.settings.specs(rows.len() as i64, tokens as i64))?;
        let mut tensors = layout.begin(output)?;
        let pad = i64::from(self.vocabulary.pad);
        for (slot, row) in tensors.elements::<i64>(0).chunks_exact_mut(tokens).zip(&rows) {
            fill(slot, &row.ids, pad);
        }
        for (slot, row) in tensors.elements::<i64>(1).chunks_exact_mut(tokens).zip(&rows) {
            slot.fill(0);
            slot[..row.len()].fill(1);
        }
        if self.settings.with_types {
            for (slot, row) in tensors.elements::<i64>(2).chunks_exact_mut(tokens).zip(&rows) {
                fill(slot, &row.types, 0);
            }
        }
        Ok(())
    }
}

fn fill(slot: &mut [i64], values: &[u32], pad: i64) {
    let (given, rest) = slot.split_at_mut(values.len());
    for (out, &value) in given.iter_mut().zip(values) {
        *out = i64::from(value);
    }
    rest.fill(pad);
}

/// The tensors of `rows` × `tokens`.
impl Settings {
    fn specs(&self, rows: i64, tokens: i64) -> Vec<Spec> {
        let names: &[&str] = if self.with_types {
            &["input_ids", "attention_mask", "token_type_ids"]
        } else {
            &["input_ids", "attention_mask"]
        };
        names.iter().map(|&name| Spec::new(name, Dtype::I64, [rows, tokens])).collect()
    }
}

littoral_sdk::agent! { Text, manifest: include_bytes!("../manifest.json") }
