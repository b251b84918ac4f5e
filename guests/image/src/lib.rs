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

use littoral_jpeg::Scale;
use littoral_sdk::{Agent, Dtype, Error, Layout, Output, Ports, number};

use crate::geometry::Plan;
use crate::pack::Packer;
use crate::resample::Resampler;
use crate::settings::Settings;
use crate::source::{Decoder, Source};

struct Image {
    settings: Settings,
    layout: Layout,
    packer: Packer,
    workspace: Workspace,
}

/// Memory that is kept from picture to picture.
struct Workspace {
    decoder: Decoder,
    resampler: Resampler,
    /// The picture as stored, possibly scaled.
    rgb: Vec<u8>,
    /// The part that is used, at its final size, as stored and upright.
    sized: Vec<u8>,
    upright: Vec<u8>,
}

impl Workspace {
    fn empty(settings: &Settings) -> Self {
        Self {
            decoder: Decoder::default(),
            resampler: Resampler::new(settings.filter),
            rgb: Vec::new(),
            sized: Vec::new(),
            upright: Vec::new(),
        }
    }

    /// The pixels that `plan` makes of a picture, upright.
    fn pixels(&mut self, input: &[u8], source: &Source, plan: &Plan, scale: Scale) -> Result<&[u8], Error> {
        let window = plan.window(source.orientation, scale);
        let region = self.resampler.prepare(source.size.scaled(scale), &window)?;
        let size = self.decoder.decode(input, source, scale, &region, &mut self.rgb)?;
        self.resampler.run(&self.rgb, size, &window, &mut self.sized)?;
        source.orientation.turn(&self.sized, plan.out(), &mut self.upright)
    }
}

impl Agent for Image {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let settings = Settings::read(config)?;
        Ok(Self {
            layout: Layout::new(&[settings.spec()])?,
            packer: Packer::new(&settings),
            workspace: Workspace::empty(&settings),
            settings,
        })
    }

    fn output(&self) -> Ports {
        Ports::Tensors(vec![self.settings.spec()])
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let answer = self.answer(input, output);
        if !answer.as_ref().is_err_and(|error| error.number() == number::MEMORY) {
            return answer;
        }
        // What earlier pictures left behind may lie in the way of this one.
        self.workspace = Workspace::empty(&self.settings);
        self.answer(input, output)
    }
}

impl Image {
    fn answer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        let source = Source::read(input, &self.settings)?;
        let plan = Plan::of(&source, &self.settings)?;
        let scale = plan.scale(&source, self.settings.dct_scaling);
        let mut tensors = self.layout.begin(output)?; // it stays: before what does not, so that no hole is cut in two
        let pixels = self.workspace.pixels(input, &source, &plan, scale)?;
        match self.settings.dtype {
            Dtype::U8 => self.packer.bytes(pixels, &plan, tensors.elements(0)),
            _ => self.packer.floats(pixels, &plan, tensors.elements(0)),
        }
        Ok(())
    }
}

littoral_sdk::agent! { Image, manifest: include_bytes!("../manifest.json") }
