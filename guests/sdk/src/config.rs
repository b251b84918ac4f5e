//! A JSON configuration, read key by key: every refusal names the key, the value and what was expected.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::Error;

const BYTES_MAX: usize = 1 << 20;

/// A configuration under way: take what is known, then `finish`, which refuses the rest.
#[derive(Debug)]
pub struct Config {
    entries: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Config {
    /// Reads a JSON object; no bytes at all are an empty one.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > BYTES_MAX {
            return Err(Error::config(format!("{} bytes, at most {BYTES_MAX}", bytes.len())));
        }
        let entries = if bytes.is_empty() {
            Map::new()
        } else {
            serde_json::from_slice(bytes).map_err(|error| Error::config(format!("no JSON object: {error}")))?
        };
        Ok(Self { entries, known: Vec::new() })
    }

    /// A whole number within `range`.
    pub fn whole(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> Result<u64, Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        match value.as_u64() {
            Some(number) if range.contains(&number) => Ok(number),
            _ => refuse(key, &value, format!("a whole number {}..{}", range.start(), range.end())),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &'static str, default: f64) -> Result<f64, Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        match value.as_f64() {
            Some(number) => Ok(number),
            None => refuse(key, &value, "a number"),
        }
    }

    /// `N` numbers, or one for all of them.
    pub fn numbers<const N: usize>(&mut self, key: &'static str, default: [f64; N]) -> Result<[f64; N], Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        let found = match &value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
            _ => value.as_f64().map(|number| vec![number; N]),
        };
        match found.and_then(|numbers| numbers.try_into().ok()) {
            Some(numbers) => Ok(numbers),
            None => refuse(key, &value, format!("a number or {N} numbers")),
        }
    }

    /// `true` or `false`.
    pub fn switch(&mut self, key: &'static str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        match value.as_bool() {
            Some(is_on) => Ok(is_on),
            None => refuse(key, &value, "true or false"),
        }
    }

    /// A text of 1 to `bytes_max` bytes.
    pub fn text(&mut self, key: &'static str, bytes_max: usize, default: &str) -> Result<String, Error> {
        let Some(value) = self.take(key) else { return Ok(default.into()) };
        match value.as_str() {
            Some(text) if (1..=bytes_max).contains(&text.len()) => Ok(text.into()),
            _ => refuse(key, &value, format!("a text of 1..{bytes_max} bytes")),
        }
    }

    /// One of the named choices.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)], default: T) -> Result<T, Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        let found = value.as_str().and_then(|text| choices.iter().find(|choice| choice.0 == text));
        if let Some(&(_, choice)) = found {
            return Ok(choice);
        }
        let names: Vec<_> = choices.iter().map(|choice| format!("`{}`", choice.0)).collect();
        refuse(key, &value, names.join(" or "))
    }

    /// Whether the key is given; for keys that exclude each other.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Refuses keys that nothing took.
    pub fn finish(self) -> Result<(), Error> {
        let Some(key) = self.entries.keys().next() else { return Ok(()) };
        let near = self.known.iter().min_by_key(|known| distance(key, known)).filter(|known| distance(key, known) < 3);
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", self.known.join(", ")),
        };
        Err(Error::config(format!("unknown key `{key}` · hint: {hint}")))
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.entries.remove(key)
    }
}

fn refuse<T>(key: &str, value: &Value, wanted: impl Display) -> Result<T, Error> {
    let mut value = value.to_string();
    if value.len() > 60 {
        value.truncate(value.floor_char_boundary(60));
        value.push('…');
    }
    Err(Error::config(format!("`{key}` is `{value}`, must be {wanted}")))
}

/// Insertions, deletions and replacements between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).expect("a JSON object")
    }

    #[test]
    fn values_are_taken_and_defaults_stand_in() {
        let mut c = config(r#"{"w": 7, "mean": 2, "std": [1, 2.5, 3], "on": true, "name": "x", "kind": "b"}"#);
        assert_eq!(c.whole("w", 1..=9, 1), Ok(7));
        assert_eq!(c.whole("h", 1..=9, 1), Ok(1));
        assert_eq!(c.numbers("mean", [0.0; 3]), Ok([2.0; 3]));
        assert_eq!(c.numbers("std", [0.0; 3]), Ok([1.0, 2.5, 3.0]));
        assert_eq!(c.switch("on", false), Ok(true));
        assert_eq!(c.text("name", 5, ""), Ok("x".into()));
        assert_eq!(c.choice("kind", &[("a", 1), ("b", 2)], 1), Ok(2));
        assert_eq!(c.finish(), Ok(()));
        assert_eq!(Config::parse(b"").expect("empty").finish(), Ok(()));
    }

    #[test]
    fn refusals_name_the_key_the_value_and_what_is_expected() {
        let mut c = config(r#"{"w": "7", "h": 10, "mean": [1, 2], "kind": "c", "name": ""}"#);
        let text = |error: Error| error.to_string();
        assert_eq!(
            c.whole("w", 1..=9, 1).map_err(text),
            Err("config: `w` is `\"7\"`, must be a whole number 1..9".into())
        );
        assert_eq!(
            c.whole("h", 1..=9, 1).map_err(text),
            Err("config: `h` is `10`, must be a whole number 1..9".into())
        );
        assert_eq!(
            c.numbers("mean", [0.0; 3]).map_err(text),
            Err("config: `mean` is `[1,2]`, must be a number or 3 numbers".into())
        );
        assert_eq!(
            c.choice("kind", &[("a", 1), ("b", 2)], 1).map_err(text),
            Err("config: `kind` is `\"c\"`, must be `a` or `b`".into())
        );
        assert!(c.text("name", 5, "").is_err());
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_known_one() {
        let refusal = |text: &str| {
            let mut c = config(text);
            let _known = c.whole("width", 1..=9, 1);
            c.finish().expect_err("unknown").to_string()
        };
        assert_eq!(refusal(r#"{"widht": 3}"#), "config: unknown key `widht` · hint: did you mean `width`?");
        assert_eq!(refusal(r#"{"colour": 3}"#), "config: unknown key `colour` · hint: known are width");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[1]", "3", "{", "{\"a\": 1} x", "\u{feff}{}"] {
            assert!(
                Config::parse(text.as_bytes()).expect_err(text).to_string().starts_with("config: no JSON object: ")
            );
        }
    }
}
