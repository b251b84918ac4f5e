//! What `init` gets: a JSON configuration, and the files that the site file names beside it.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::error::Error;
use crate::frame::Frame;
use crate::tensor::Dtype;

const CONFIG: &str = "config";
const FILE: &str = "file.";

/// A configuration with files: take what is known, then `finish`, which refuses the rest.
///
/// The bytes of `init` are a JSON object where there are no files, else one safetensors frame: `config` and a tensor
/// `file.NAME` for each file, all `uint8`. A frame begins with the length of its header, whose upper bytes are zero,
/// which no JSON has.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The configuration.
    pub config: Config,
    files: BTreeMap<String, &'a [u8]>,
}

impl<'a> Setup<'a> {
    /// Reads what `init` was given.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if !is_frame(bytes) {
            return Ok(Self { config: Config::parse(bytes)?, files: BTreeMap::new() });
        }
        let frame = Frame::parse(bytes).map_err(Error::config)?;
        let mut files = BTreeMap::new();
        let mut config: &[u8] = b"";
        for (name, view) in frame.iter() {
            if view.dtype != Dtype::U8 {
                return Err(Error::config(format!("`{name}` is of dtype {}, expected uint8", view.dtype.name())));
            }
            match name.strip_prefix(FILE) {
                Some(file) => drop(files.insert(file.to_owned(), view.data)),
                None if name == CONFIG => config = view.data,
                None => return Err(Error::config(format!("`{name}` is neither `{CONFIG}` nor `{FILE}NAME`"))),
            }
        }
        Ok(Self { config: Config::parse(config)?, files })
    }

    /// The bytes of the file that the site file calls `name`.
    pub fn file(&mut self, name: &'static str) -> Result<&'a [u8], Error> {
        self.files.remove(name).ok_or_else(|| {
            Error::config(format!("file `{name}` is missing · hint: `files = {{ {name} = \"PATH\" }}` beside `config`"))
        })
    }

    /// Refuses files and keys that nothing took.
    pub fn finish(self) -> Result<(), Error> {
        match self.files.keys().next() {
            Some(name) => Err(Error::config(format!("unknown file `{name}`"))),
            None => self.config.finish(),
        }
    }
}

fn is_frame(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[4..8] == [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut at = 0;
        let mut data = Vec::new();
        let mut header = Vec::new();
        for (name, bytes) in entries {
            let stop = at + bytes.len();
            header.push(format!(
                r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{at},{stop}]}}"#,
                bytes.len()
            ));
            data.extend_from_slice(bytes);
            at = stop;
        }
        let header = format!("{{{}}}", header.join(","));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
    }

    #[test]
    fn a_configuration_alone_is_json() {
        for bytes in [&b""[..], b"{}", b"{\"w\": 7}"] {
            let mut setup = Setup::parse(bytes).expect("valid");
            let _w = setup.config.whole("w", 1..=9, 1).expect("whole");
            assert!(setup.file("words").expect_err("none").to_string().contains("file `words` is missing"));
            assert_eq!(setup.finish(), Ok(()));
        }
    }

    #[test]
    fn files_come_beside_it() {
        let bytes = frame(&[("config", b"{\"w\": 7}"), ("file.words", b"a b"), ("file.more", b"")]);
        let mut setup = Setup::parse(&bytes).expect("valid");
        assert_eq!(setup.config.whole("w", 1..=9, 1), Ok(7));
        assert_eq!(setup.file("words"), Ok(&b"a b"[..]));
        assert_eq!(setup.finish().expect_err("not taken").to_string(), "config: unknown file `more`");
    }

    #[test]
    fn what_is_no_setup_is_refused() {
        let refusal = |bytes: &[u8]| Setup::parse(bytes).expect_err("refused").to_string();
        assert_eq!(
            refusal(&frame(&[("words", b"a")])),
            "config: `words` is neither `config` nor `file.NAME`"
        );
        assert!(refusal(&frame(&[("config", b"[1]")])).starts_with("config: no JSON object: "));
        assert!(refusal(&[0xFF, 0, 0, 0, 0, 0, 0, 0]).starts_with("config: safetensors frame: "));
        let floats = String::from_utf8(frame(&[("config", b"{}  ")])).expect("text").replace("U8\",\"shape\":[4]", "F32\",\"shape\":[1]");
        let length = (floats.len() - 8 - 4) as u64;
        let floats = [&length.to_le_bytes()[..], &floats.as_bytes()[8..]].concat();
        assert_eq!(refusal(&floats), "config: `config` is of dtype float32, expected uint8");
    }
}
