//! Tensors as one safetensors frame (u64 header length, JSON header, little-endian data), read with bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

use serde_json::Value;

use crate::buffer::{ANSWER_BYTES_MAX, Output};
use crate::error::Error;
use crate::tensor::{Dtype, Element, Spec, elements, elements_mut};

const HEADER_BYTES_MAX: usize = 1 << 16;
const TENSORS_MAX: usize = 256;
const RANK_MAX: usize = 32;

/// One tensor of a frame.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its elements, row-major, little-endian.
    pub data: &'a [u8],
}

impl<'a> View<'a> {
    /// The elements; borrowed where they are aligned. An error says which element type was found.
    pub fn elements<T: Element>(&self) -> Result<Cow<'a, [T]>, Error> {
        if self.dtype != T::DTYPE {
            return Err(Error::input(format!("dtype is {}, expected {}", self.dtype.name(), T::DTYPE.name())));
        }
        if let Some(elements) = elements(self.data) {
            return Ok(Cow::Borrowed(elements));
        }
        let mut aligned = Output::default();
        aligned.write(self.data)?;
        Ok(Cow::Owned(elements::<T>(aligned.bytes()).unwrap_or_default().to_vec()))
    }
}

/// A frame that was read: tensors by name.
#[derive(Debug)]
pub struct Frame<'a> {
    tensors: BTreeMap<String, View<'a>>,
}

impl<'a> Frame<'a> {
    /// Reads a frame of at most 64 KiB of header, 256 tensors and 32 dimensions.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return refuse(format!("{} bytes, at least 8 expected", bytes.len()));
        };
        let length = u64::from_le_bytes(*length);
        if length > HEADER_BYTES_MAX as u64 {
            return Err(Error::too_large(format!(
                "safetensors frame: header of {length} bytes, at most {HEADER_BYTES_MAX}"
            )));
        }
        let Some((header, data)) = rest.split_at_checked(length as usize) else {
            return refuse(format!("header of {length} bytes, only {} follow", rest.len()));
        };
        let mut entries: BTreeMap<String, Value> = match serde_json::from_slice(header) {
            Ok(entries) => entries,
            Err(error) => return refuse(format!("header is no JSON object: {error}")),
        };
        entries.remove("__metadata__");
        if entries.len() > TENSORS_MAX {
            return Err(Error::too_large(format!(
                "safetensors frame: {} tensors, at most {TENSORS_MAX}",
                entries.len()
            )));
        }
        let tensors = entries
            .into_iter()
            .map(|(name, entry)| match tensor(&entry, data) {
                Ok(view) => Ok((name, view)),
                Err(why) => refuse(format!("tensor `{name}`: {why}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { tensors })
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Result<&View<'a>, Error> {
        self.tensors.get(name).ok_or_else(|| {
            let names: Vec<_> = self.tensors.keys().map(|name| format!("`{name}`")).collect();
            Error::input(format!("tensor `{name}` is missing, got {}", names.join(", ")))
        })
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &View<'a>)> {
        self.tensors.iter().map(|(name, view)| (name.as_str(), view))
    }
}

fn refuse<T>(why: impl Display) -> Result<T, Error> {
    Err(Error::input(format!("safetensors frame: {why}")))
}

fn tensor<'a>(entry: &Value, data: &'a [u8]) -> Result<View<'a>, String> {
    let name = entry.get("dtype").and_then(Value::as_str).ok_or("no `dtype`")?;
    let dtype = Dtype::of_safetensors(name).ok_or_else(|| format!("unknown dtype `{name}`"))?;
    let shape = sizes(entry.get("shape")).ok_or("bad `shape`")?;
    if shape.len() > RANK_MAX {
        return Err(format!("{} dimensions, at most {RANK_MAX}", shape.len()));
    }
    let offsets = sizes(entry.get("data_offsets")).unwrap_or_default();
    let [start, stop] = *offsets else { return Err("bad `data_offsets`".into()) };
    let found = data.get(start..stop).ok_or_else(|| format!("bytes {start}..{stop} of {}", data.len()))?;
    let wanted = shape.iter().try_fold(dtype.bytes(), |bytes, &size| bytes.checked_mul(size));
    if wanted != Some(found.len()) {
        return Err(format!("{} bytes for {name}{shape:?}", found.len()));
    }
    Ok(View { dtype, shape, data: found })
}

fn sizes(value: Option<&Value>) -> Option<Vec<usize>> {
    value?.as_array()?.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect()
}

/// How a frame of tensors of fixed shapes is written: made once, used for every answer.
#[derive(Debug)]
pub struct Layout {
    header: Vec<u8>,
    spans: Vec<Range<usize>>,
    bytes: usize,
}

impl Layout {
    /// A frame of these tensors, in this order, 64 MiB at most. Every size must be known; wider elements come before
    /// narrower ones, so that all are aligned.
    pub fn new(specs: &[Spec]) -> Result<Self, Error> {
        let mut entries = Vec::new();
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut at = 0usize;
        for spec in specs {
            let bytes = spec.shape.iter().try_fold(spec.dtype.bytes(), |bytes, &size| {
                usize::try_from(size).ok().and_then(|size| bytes.checked_mul(size))
            });
            let Some(stop) = bytes.and_then(|bytes| at.checked_add(bytes)) else {
                return Err(Error::config(format!("output `{}` cannot have the shape {:?}", spec.name, spec.shape)));
            };
            if !at.is_multiple_of(spec.dtype.bytes()) {
                return Err(Error::config(format!("output `{}` comes after tensors of narrower elements", spec.name)));
            }
            entries.push(format!(
                r#"{}:{{"dtype":"{}","shape":{:?},"data_offsets":[{at},{stop}]}}"#,
                Value::from(spec.name.as_str()),
                spec.dtype.safetensors(),
                spec.shape
            ));
            spans.push(at..stop);
            at = stop;
        }
        let mut text = format!("{{{}}}", entries.join(",")).into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let header = [&(text.len() as u64).to_le_bytes()[..], &text].concat();
        let bytes = header.len().saturating_add(at);
        if bytes > ANSWER_BYTES_MAX {
            return Err(Error::config(format!("output of {bytes} bytes, at most {ANSWER_BYTES_MAX}")));
        }
        Ok(Self { header, spans, bytes })
    }

    /// Length of the whole frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes `output` a frame whose tensors are to be written, each wholly.
    pub fn begin<'a>(&'a self, output: &'a mut Output) -> Result<Tensors<'a>, Error> {
        let (header, data) = output.take(self.bytes)?.split_at_mut(self.header.len());
        header.copy_from_slice(&self.header);
        Ok(Tensors { spans: &self.spans, data })
    }
}

/// The tensors of a frame under way.
pub struct Tensors<'a> {
    spans: &'a [Range<usize>],
    data: &'a mut [u8],
}

impl Tensors<'_> {
    /// The elements of tensor `index`, in the order of [`Layout::new`], which are all to be written.
    ///
    /// # Panics
    /// If there is no such tensor or its elements are of another size.
    pub fn elements<T: Element>(&mut self, index: usize) -> &mut [T] {
        let bytes = &mut self.data[self.spans[index].clone()];
        elements_mut(bytes).expect("elements of the type that the layout declares")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Output {
        let layout = Layout::new(&[Spec::new("x", Dtype::F32, [2, 2]), Spec::new("y", Dtype::U8, [3])]).expect("valid");
        let mut output = Output::default();
        let mut tensors = layout.begin(&mut output).expect("memory");
        tensors.elements::<f32>(0).copy_from_slice(&[1.0, -2.0, 0.5, 4.0]);
        tensors.elements::<u8>(1).copy_from_slice(b"abc");
        output
    }

    #[test]
    fn what_is_written_is_read() {
        let output = frame();
        let frame = Frame::parse(output.bytes()).expect("valid");
        let x = frame.get("x").expect("there");
        assert_eq!(x.shape, [2, 2]);
        assert!(matches!(x.elements::<f32>(), Ok(Cow::Borrowed([1.0, -2.0, 0.5, 4.0]))));
        assert_eq!(frame.get("y").expect("there").data, b"abc");
        assert_eq!(x.elements::<u8>().expect_err("floats").to_string(), "dtype is float32, expected uint8");
        assert_eq!(frame.get("z").expect_err("absent").to_string(), "tensor `z` is missing, got `x`, `y`");
    }

    #[test]
    fn elements_at_an_odd_address_are_copied() {
        let bytes = [&[0], frame().bytes()].concat();
        let frame = Frame::parse(&bytes[1..]).expect("valid");
        assert_eq!(frame.get("x").expect("there").elements::<f32>().expect("floats")[..], [1.0, -2.0, 0.5, 4.0]);
    }

    #[test]
    fn every_truncation_is_refused() {
        let output = frame();
        let bytes = output.bytes();
        for length in 0..bytes.len() {
            assert!(Frame::parse(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn lies_are_named() {
        let text = |header: &str, data: &[u8]| {
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
            Frame::parse(&bytes).expect_err(header).to_string()
        };
        let entry = |shape: &str, offsets: &str| {
            format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        for (header, why) in [
            (entry("[1]", "[0,8]"), "tensor `x`: bytes 0..8 of 4"),
            (entry("[2]", "[0,4]"), "tensor `x`: 4 bytes for F32[2]"),
            (entry("[4611686018427387904,4]", "[0,4]"), "tensor `x`: 4 bytes for F32[4611686018427387904, 4]"),
            (entry("[-1]", "[0,4]"), "tensor `x`: bad `shape`"),
            (entry("[1]", "[4,0]"), "tensor `x`: bytes 4..0 of 4"),
            (entry("[1]", "[0,1,2]"), "tensor `x`: bad `data_offsets`"),
            (r#"{"x":{"dtype":"F4"}}"#.into(), "tensor `x`: unknown dtype `F4`"),
            (r#"{"x":3}"#.into(), "tensor `x`: no `dtype`"),
        ] {
            assert_eq!(text(&header, &[0; 4]), format!("safetensors frame: {why}"));
        }
        assert!(text("[1]", &[]).starts_with("safetensors frame: header is no JSON object: "));
        let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        assert!(Frame::parse(&huge).expect_err("huge").to_string().contains("at most 65536"));
    }

    #[test]
    fn a_layout_that_cannot_be_is_refused() {
        let layout = |specs: &[Spec]| Layout::new(specs).expect_err("refused").to_string();
        assert!(layout(&[Spec::new("x", Dtype::F32, [-1])]).contains("cannot have the shape [-1]"));
        assert!(layout(&[Spec::new("x", Dtype::F32, [5000, 5000])]).contains("bytes, at most 67108864"));
        assert!(
            layout(&[Spec::new("a", Dtype::U8, [3]), Spec::new("b", Dtype::F32, [1])]).contains("narrower elements")
        );
    }
}
