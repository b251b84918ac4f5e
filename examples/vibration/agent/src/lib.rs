//! The agent `spectrum`: samples of a sensor, float32 little-endian, to a log power spectrum of 256 bins (Welch's method).

use std::f64::consts::PI;

use littoral_sdk::{Agent, Config, Dtype, Error, Layout, Output, Ports, Spec};

const PART: usize = 2048;
const HOP: usize = 1024;
const BINS: usize = 256;
const LINES: usize = PART / 2 / BINS;
const FLOOR: f64 = 1e-3;

struct Spectrum {
    count: usize,
    taper: Vec<f64>,
    turns: Vec<(f64, f64)>,
    layout: Layout,
}

impl Agent for Spectrum {
    fn init(config: &[u8]) -> Result<Self, Error> {
        let mut config = Config::parse(config)?;
        let count = config.whole("samples", PART as u64..=1 << 20, 8192)? as usize;
        config.finish()?;
        let angle = |i: usize| 2.0 * PI * i as f64 / PART as f64;
        Ok(Self {
            count,
            taper: (0..PART).map(|i| 0.5 - 0.5 * angle(i).cos()).collect(),
            turns: (0..PART / 2).map(|i| (angle(i).cos(), -angle(i).sin())).collect(),
            layout: Layout::new(&[bins()])?,
        })
    }

    fn output(&self) -> Ports {
        Ports::Tensors(vec![bins()])
    }

    fn infer(&mut self, input: &[u8], output: &mut Output) -> Result<(), Error> {
        if input.len() != 4 * self.count {
            return Err(Error::input(format!("{} bytes, expected {} samples of 4", input.len(), self.count)));
        }
        let samples: Vec<_> = input.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::input(format!("sample {at} is {}", samples[at])));
        }
        let power = self.power(&samples);
        let mean = (power.iter().sum::<f64>() / BINS as f64).max(1e-30);
        let mut tensors = self.layout.begin(output)?;
        for (bin, power) in tensors.elements::<f32>(0).iter_mut().zip(power) {
            *bin = (power / mean + FLOOR).ln() as f32;
        }
        Ok(())
    }
}

fn bins() -> Spec {
    Spec::new("spectrum", Dtype::F32, [1, BINS as i64])
}

impl Spectrum {
    /// Mean power of each bin.
    fn power(&self, samples: &[f32]) -> [f64; BINS] {
        let mut found = [0.0; BINS];
        let mut count = 0;
        for part in samples.windows(PART).step_by(HOP) {
            let tapered = part.iter().zip(&self.taper).map(|(&x, taper)| (f64::from(x) * taper, 0.0));
            let mut lines: Vec<_> = tapered.collect();
            self.transform(&mut lines);
            for (line, &(re, im)) in lines[1..=BINS * LINES].iter().enumerate() {
                found[line / LINES] += re * re + im * im;
            }
            count += LINES;
        }
        found.map(|sum| sum / count as f64)
    }

    /// Fourier transform in place (Cooley and Tukey, radix 2).
    fn transform(&self, x: &mut [(f64, f64)]) {
        let bits = x.len().trailing_zeros();
        for i in 0..x.len() {
            let j = i.reverse_bits() >> (usize::BITS - bits);
            if i < j {
                x.swap(i, j);
            }
        }
        let mut half = 1;
        while half < x.len() {
            let stride = x.len() / (2 * half);
            for block in x.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((a, b), &(cos, sin)) in low.iter_mut().zip(high).zip(self.turns.iter().step_by(stride)) {
                    let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                    (*a, *b) = ((a.0 + turned.0, a.1 + turned.1), (a.0 - turned.0, a.1 - turned.1));
                }
            }
            half *= 2;
        }
    }
}

littoral_sdk::agent! { Spectrum, manifest: include_bytes!("../manifest.json") }

#[cfg(test)]
mod tests {
    use super::*;
    use littoral_sdk::Frame;

    fn answer(samples: &[f32]) -> Result<Vec<f32>, Error> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut output = Output::default();
        Spectrum::init(b"")?.infer(&bytes, &mut output)?;
        Ok(Frame::parse(output.bytes())?.get("spectrum")?.elements::<f32>()?.into_owned())
    }

    #[test]
    fn a_tone_is_in_its_bin() {
        let line = 402.0;
        let tone: Vec<_> = (0..8192).map(|i| (2.0 * PI * line * f64::from(i) / PART as f64).sin() as f32).collect();
        let found = answer(&tone).expect("a spectrum");
        let loudest = found.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(bin, _)| bin);
        assert_eq!(loudest, Some(100));
        assert!(found[10] < -6.0);
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        assert_eq!(answer(&[0.0; 100]).expect_err("short").to_string(), "400 bytes, expected 8192 samples of 4");
        let mut samples = [0.0; 8192];
        samples[7] = f32::NAN;
        assert_eq!(answer(&samples).expect_err("a gap").to_string(), "sample 7 is NaN");
    }
}
