//! What the bytes of an input are: a text as it is, or a record of a JSON text sequence (RFC 7464): the byte 0x1E, then
//! one text or several, one list of token ids or several.

use std::borrow::Cow;

use littoral_sdk::Error;
use serde_json::Value;

use crate::settings::Settings;

/// What begins a record of a JSON text sequence, and no text that people write.
const RECORD_SEPARATOR: u8 = 0x1E;

/// One row of the answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    Text(Cow<'a, str>),
    /// Of tokens, without the special ones.
    Ids(Vec<u32>),
}

/// At least one, at most as many as the settings allow.
pub(crate) fn pieces<'a>(input: &'a [u8], settings: &Settings) -> Result<Vec<Piece<'a>>, Error> {
    if input.len() > settings.bytes_max {
        return Err(Error::too_large(format!("input of {} bytes, at most {}", input.len(), settings.bytes_max)));
    }
    let text = str::from_utf8(input)
        .map_err(|error| Error::input(format!("input is no UTF-8 text: byte {}", error.valid_up_to())))?;
    if input.first() != Some(&RECORD_SEPARATOR) {
        return Ok(vec![Piece::Text(Cow::Borrowed(text))]);
    }
    let value = serde_json::from_str(&text[1..]).map_err(|error| Error::input(format!("input is no JSON: {error}")))?;
    let found = match value {
        Value::String(text) => vec![Piece::Text(Cow::Owned(text))],
        Value::Array(values) if values.iter().all(Value::is_number) => vec![ids(&values)?],
        Value::Array(values) => several(values, settings)?,
        _ => return Err(refused()),
    };
    Ok(found)
}

fn several<'a>(values: Vec<Value>, settings: &Settings) -> Result<Vec<Piece<'a>>, Error> {
    if values.len() > settings.texts_max {
        return Err(Error::too_large(format!("{} texts, at most {}", values.len(), settings.texts_max)));
    }
    let piece = |value| match value {
        Value::String(text) => Ok(Piece::Text(Cow::Owned(text))),
        Value::Array(values) => ids(&values),
        _ => Err(refused()),
    };
    values.into_iter().map(piece).collect()
}

fn ids<'a>(values: &[Value]) -> Result<Piece<'a>, Error> {
    if values.is_empty() {
        return Err(Error::input("an empty list, at least one text or token is needed"));
    }
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match values.iter().map(id).collect::<Option<Vec<_>>>() {
        Some(ids) => Ok(Piece::Ids(ids)),
        None => Err(Error::input("a token id is no whole number from 0 to 4294967295")),
    }
}

fn refused() -> Error {
    Error::input("JSON is no text, list of texts, list of token ids or list of such lists")
}

#[cfg(test)]
mod tests {
    use littoral_sdk::Config;

    use super::*;

    fn read(input: &[u8]) -> Result<Vec<Piece<'_>>, String> {
        let mut config = Config::parse(br#"{"max_texts": 3, "max_bytes": 60}"#).expect("JSON");
        let settings = Settings::read(&mut config).expect("valid");
        pieces(input, &settings).map_err(|error| error.to_string())
    }

    fn texts<'a>(all: &[&'a str]) -> Vec<Piece<'a>> {
        all.iter().map(|&text| Piece::Text(Cow::Borrowed(text))).collect()
    }

    #[test]
    fn a_text_is_taken_as_it_is() {
        for text in ["", "a b", "[\"a\"]", "  \u{1f600}\n"] {
            assert_eq!(read(text.as_bytes()), Ok(texts(&[text])));
        }
    }

    #[test]
    fn a_record_is_json() {
        assert_eq!(read(b"\x1e\"a\"\n"), Ok(texts(&["a"])));
        assert_eq!(read(b"\x1e[\"a\", \"\"]"), Ok(texts(&["a", ""])));
        assert_eq!(read(b"\x1e[1, 2]"), Ok(vec![Piece::Ids(vec![1, 2])]));
        assert_eq!(
            read(b"\x1e[[1], \"a\", [4294967295]]"),
            Ok(vec![Piece::Ids(vec![1]), Piece::Text("a".into()), Piece::Ids(vec![u32::MAX])])
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for (input, why) in [
            (&b"a\xff"[..], "input is no UTF-8 text: byte 1"),
            (b"\x1e{", "input is no JSON: "),
            (b"\x1e{}", "JSON is no text, list of"),
            (b"\x1e[true]", "JSON is no text, list of"),
            (b"\x1e[]", "an empty list"),
            (b"\x1e[[]]", "an empty list"),
            (b"\x1e[-1]", "a token id is no whole number"),
            (b"\x1e[[1, 4294967296]]", "a token id is no whole number"),
            (b"\x1e[[1, \"a\"]]", "a token id is no whole number"),
            (b"\x1e[1, \"a\"]", "JSON is no text, list of"),
            (b"\x1e[\"a\",\"a\",\"a\",\"a\"]", "4 texts, at most 3"),
            (&[b'a'; 61], "input of 61 bytes, at most 60"),
        ] {
            let error = read(input).expect_err(why);
            assert!(error.starts_with(why), "{error}");
        }
    }
}
