//! A `tokenizer.json`, loaded and checked; one text or list of ids to one row.

use std::str::FromStr;

use littoral_sdk::Error;
use tokenizers::{
    Encoding, ModelWrapper, PostProcessor, Token, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::input::Piece;
use crate::settings::Settings;

/// Where neither the configuration nor the file says how long a text may be.
const TOKENS: usize = 512;
const TOKENS_MAX: usize = 8192;

/// One text as numbers.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) ids: Vec<u32>,
    pub(crate) types: Vec<u32>,
}

impl Row {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    tokens_max: usize,
    /// Of what fills up shorter texts of a batch.
    pub(crate) pad: u32,
}

impl Vocabulary {
    pub(crate) fn load(file: &[u8], settings: &Settings) -> Result<Self, Error> {
        let text = str::from_utf8(file)
            .map_err(|error| Error::config(format!("tokenizer: no UTF-8 text: byte {}", error.valid_up_to())))?;
        let mut tokenizer = Tokenizer::from_str(text).map_err(|error| Error::config(format!("tokenizer: {error}")))?;
        check_model(tokenizer.get_model())?;
        let pad = tokenizer.get_padding().map_or(0, |padding| padding.pad_id);
        let stored = tokenizer.get_truncation().cloned();
        let tokens_max = tokens_max(stored.as_ref(), settings)?;
        let direction = settings.side.or(stored.map(|stored| stored.direction)).unwrap_or(TruncationDirection::Right);
        let added = added_tokens(&tokenizer, settings);
        if tokens_max <= added {
            return Err(Error::config(format!(
                "`max_tokens` is `{tokens_max}`, and special tokens alone are {added}: must be more"
            )));
        }
        let truncation = settings.truncates.then_some(TruncationParams {
            direction,
            max_length: tokens_max,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        tokenizer.with_padding(None);
        tokenizer.with_truncation(truncation).map_err(|error| Error::config(format!("tokenizer: {error}")))?;
        Ok(Self { tokenizer, tokens_max, pad })
    }

    pub(crate) fn row(&self, piece: &Piece, settings: &Settings) -> Result<Row, Error> {
        let encoding = match piece {
            Piece::Text(text) => self.tokenizer.encode_fast(text.as_ref(), settings.with_special),
            Piece::Ids(ids) => self.tokenizer.post_process(self.encoding(ids)?, None, settings.with_special),
        };
        let encoding = encoding.map_err(|error| Error::input(format!("tokenizer: {error}")))?;
        let count = encoding.len();
        if count == 0 {
            return Err(Error::input("the text has no tokens, at least 1 is needed"));
        }
        if count > self.tokens_max {
            return Err(Error::too_large(format!("text of {count} tokens, at most {}", self.tokens_max)));
        }
        Ok(Row { ids: encoding.get_ids().to_vec(), types: encoding.get_type_ids().to_vec() })
    }

    fn encoding(&self, ids: &[u32]) -> Result<Encoding, Error> {
        let token = |&id| match self.tokenizer.id_to_token(id) {
            Some(token) => Ok(Token::new(id, token, (0, 0))),
            None => Err(Error::input(format!("token id {id} is not in the vocabulary"))),
        };
        Ok(Encoding::from_tokens(ids.iter().map(token).collect::<Result<_, _>>()?, 0))
    }
}

fn check_model(model: &ModelWrapper) -> Result<(), Error> {
    let found = match model {
        ModelWrapper::WordPiece(_) | ModelWrapper::BPE(_) => return Ok(()),
        ModelWrapper::WordLevel(_) => "WordLevel",
        ModelWrapper::Unigram(_) => "Unigram",
    };
    Err(Error::config(format!("tokenizer: model of type `{found}`, this agent has WordPiece and BPE")))
}

fn tokens_max(stored: Option<&TruncationParams>, settings: &Settings) -> Result<usize, Error> {
    if settings.tokens_max > 0 {
        return Ok(settings.tokens_max);
    }
    match stored.map_or(TOKENS, |stored| stored.max_length) {
        found if found <= TOKENS_MAX => Ok(found),
        found => Err(Error::config(format!(
            "tokenizer: `truncation` is at {found} tokens, at most {TOKENS_MAX} · hint: set `max_tokens`"
        ))),
    }
}

/// Special tokens that every text gets.
fn added_tokens(tokenizer: &Tokenizer, settings: &Settings) -> usize {
    match tokenizer.get_post_processor() {
        Some(processor) if settings.with_special => processor.added_tokens(false),
        _ => 0,
    }
}
