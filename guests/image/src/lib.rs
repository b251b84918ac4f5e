//! The agent `image`: a JPEG or PNG picture in, one tensor out.
//!
//! Reading order: `settings` → `source` (what the bytes are, within limits) → `geometry` (what becomes of the picture,
//! pure) → `png` or `littoral-jpeg` → `resample` → `orientation` → `pack`. Everything is refused before its memory is asked for.

mod exif;
mod geometry;
mod orientation;
mod pack;
mod png;
mod resample;
mod settings;
mod source;
mod taps;

use littoral_sdk::{Agent, Dtype, Error, Layout, Output, Ports};

use crate::geometry::Plan;
use crate::pack::Packer;
use crate::resample::Resampler;
use crate::settings::Settings;
use crate::source::{Decoder, Source};

struct Image {
    settings: Settings,
    layout: Layout,
    packer: Packer,
    decoder: Decoder,
    resampler: Resampler,
    /// The picture as stored, possibly scaled; the part that is used, at its final size; and that part upright.
    rgb: Vec<u8>,
    sized: Vec<u8>,
    upright: Vec<u8>,
}

impl Agent for Image {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let settings = Settings::read(config)?;
        Ok(Self {
            layout: Layout::new(&[settings.spec()])?,
            packer: Packer::new(&settings),
            resampler: Resampler::new(settings.filter),
            decoder: Decoder::default(),
            settings,
            rgb: Vec::new(),
            sized: Vec::new(),
            upright: Vec::new(),
        })
    }

    fn output(&self) -> Ports {
        Ports::Tensors(vec![self.settings.spec()])
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let source = Source::read(input, &self.settings)?;
        let plan = Plan::of(&source, &self.settings)?;
        let scale = plan.scale(&source, self.settings.dct_scaling);
        let size = self.decoder.decode(input, &source, scale, &mut self.rgb)?;
        self.resampler.run(&self.rgb, size, &plan.window(source.orientation, scale), &mut self.sized)?;
        let pixels = source.orientation.turn(&self.sized, plan.out(), &mut self.upright)?;

        let mut tensors = self.layout.begin(output)?;
        match self.settings.dtype {
            Dtype::U8 => self.packer.bytes(pixels, &plan, tensors.elements(0)),
            _ => self.packer.floats(pixels, &plan, tensors.elements(0)),
        }
        Ok(())
    }
}

littoral_sdk::agent! { Image, manifest: include_bytes!("../manifest.json") }
