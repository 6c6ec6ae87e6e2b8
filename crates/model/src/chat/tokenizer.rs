//! Text <-> token ids: byte-level BPE in Hugging Face's `tokenizer.json` form.
//!
//! A vocabulary that is built here is the 256 bytes, then whole words; there are no merges. With `ignore_merges` a pre-token
//! that is a known word is one token, and everything else (ciphers, other languages) is spelled byte by byte, so that any
//! UTF-8 text has an encoding and comes back unchanged. Control tokens are the file's added tokens. Text is encoded by a
//! second view of the same file that has no added tokens at all: unless a control token stands in the vocabulary of the text
//! too, nothing that a text spells reaches it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::json::parse;

/// Why a `tokenizer.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Not the format.
    #[error("tokenizer.json cannot be read: {0}")]
    Unreadable(String),
    /// Text would not come back as it went in.
    #[error(
        "tokenizer.json makes {found:?} of the text {text:?}: remove what changes text, such as a normalizer, or take the file of a checkpoint written by this program"
    )]
    Lossy {
        /// What was encoded.
        text: &'static str,
        /// What that decodes to.
        found: String,
    },
    /// A part that may change some text that no probe thinks of.
    #[error(
        "tokenizer.json has a {part} of type `{kind}`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
    )]
    Changes {
        /// `normalizer`, `pre_tokenizer` or `decoder`.
        part: &'static str,
        /// Its type.
        kind: String,
    },
    /// What such an id decodes to would be a matter of chance.
    #[error("tokenizer.json gives the id {0} to more than one token: copy or write the checkpoint again")]
    SharedId(u32),
    /// A byte is missing.
    #[error("tokenizer.json has no token for byte {0:#04x}: not every text could be encoded")]
    NoByte(u8),
}

/// A `tokenizer.json`, loaded; clones share it.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    json: String,
    /// Knows control tokens; for decoding.
    full: tokenizers::Tokenizer,
    /// The same without added tokens; the only one that reads text.
    text: tokenizers::Tokenizer,
    /// Ids and spellings of the control tokens.
    controls: Vec<(u32, String)>,
    vocab_size: usize,
    notices: Vec<String>,
}

/// Texts that normalizers change, and that pre-tokenizers add to.
const PROBES: [&str; 3] = [
    "a",
    " A  a\u{301}\u{e1}\u{fb01}\u{130}\u{ff21}\t\u{1f980}\r\n ",
    "Zz 0123456789 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
];

/// What can stand in each part without changing text: none for a normalizer, which is there to change it.
const KEEPS_TEXT: [(&str, &[&str]); 3] = [
    ("normalizer", &[]),
    ("pre_tokenizer", &["ByteLevel", "Digits", "Split", "UnicodeScripts"]),
    ("decoder", &["ByteLevel"]),
];

fn refuse_changes(file: &Value) -> Result<(), TokenizerError> {
    for (part, kinds) in KEEPS_TEXT {
        let mut left = vec![&file[part]];
        while let Some(it) = left.pop() {
            let inner = ["normalizers", "pretokenizers", "decoders"].iter().filter_map(|key| it.get(key)?.as_array());
            let kind = it.get("type").and_then(Value::as_str).unwrap_or_default();
            left.extend(inner.flatten());
            let keeps = kinds.contains(&kind) && it.get("behavior").is_none_or(|it| it != "Removed");
            if !it.is_null() && kind != "Sequence" && !keeps {
                return Err(TokenizerError::Changes { part, kind: kind.to_owned() });
            }
        }
    }
    Ok(())
}

impl Tokenizer {
    /// A tokenizer in which each of `words`, with and without a space before it, is one token. A word that GPT-2's
    /// pre-tokenizer cuts (`low-tide`, `C3`) gives a token for each piece. Letters and digits always have both forms.
    /// `controls` have the highest ids, in their order.
    pub fn build(words: &[String], controls: &[&str]) -> Tokenizer {
        let alphabet = byte_alphabet();
        let bytes: BTreeSet<String> = alphabet.iter().map(|it| it.to_string()).collect();
        let singles = ('a'..='z').chain('A'..='Z').chain('0'..='9').map(|it| it.to_string());
        let words: BTreeSet<String> = singles
            .chain(words.iter().cloned())
            .flat_map(|word| [pieces(&word), pieces(&format!(" {}", word.trim_start()))])
            .flatten()
            .filter(|piece| !bytes.contains(piece))
            .collect();
        let vocabulary: Map<String, Value> = alphabet
            .iter()
            .map(|it| it.to_string())
            .chain(words)
            .enumerate()
            .map(|(id, token)| (token, json!(id)))
            .collect();
        let added: Vec<Value> = controls
            .iter()
            .enumerate()
            .map(|(index, control)| {
                json!({
                    "id": vocabulary.len() + index, "content": control, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
            .collect();
        let byte_level =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
                "vocab": vocabulary, "merges": [],
            },
        });
        Tokenizer::from_bytes(file.to_string().as_bytes()).expect("a vocabulary of all bytes is complete")
    }

    /// Reads a `tokenizer.json` that has every byte. What would have other programs cut, fill up or vary content when they are
    /// told to is ignored, and is no part of the tokenizer; [`Tokenizer::notices`] says so.
    pub fn from_bytes(json: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let unreadable = |error: &dyn std::fmt::Display| TokenizerError::Unreadable(error.to_string());
        let mut file = parse(json).map_err(|error| unreadable(&error))?;
        refuse_changes(&file)?;
        let notices = without_wishes(&mut file);
        let json = if notices.is_empty() { String::from_utf8_lossy(json).into_owned() } else { file.to_string() };
        let full: tokenizers::Tokenizer = json.parse().map_err(|error| unreadable(&error))?;
        let added = file["added_tokens"].as_array().into_iter().flatten().filter_map(|it| it["content"].as_str());
        let controls = added.filter_map(|it| Some((full.token_to_id(it)?, it.to_owned()))).collect();
        file["added_tokens"] = json!([]);
        file["post_processor"] = Value::Null;
        let text: tokenizers::Tokenizer = file.to_string().parse().map_err(|error| unreadable(&error))?;
        for (byte, symbol) in (0..=u8::MAX).zip(byte_alphabet()) {
            text.token_to_id(&symbol.to_string()).ok_or(TokenizerError::NoByte(byte))?;
        }
        let mut ids: Vec<u32> = full.get_vocab(true).into_values().collect();
        ids.sort_unstable();
        if let Some([shared, _]) = ids.array_windows().find(|[id, next]| id == next) {
            return Err(TokenizerError::SharedId(*shared));
        }
        for probe in PROBES {
            let decoded = text.encode_fast(probe, false).and_then(|it| full.decode(it.get_ids(), true));
            let found = decoded.map_err(|error| unreadable(&error))?;
            if found != probe {
                return Err(TokenizerError::Lossy { text: probe, found });
            }
        }
        let vocab_size = ids.last().map_or(0, |it| *it as usize + 1);
        Ok(Tokenizer(Arc::new(Inner { json, full, text, controls, vocab_size, notices })))
    }

    /// What of the file is ignored.
    pub fn notices(&self) -> &[String] {
        &self.0.notices
    }

    /// The file, byte for byte as it was read or built; without what is ignored.
    pub fn to_json(&self) -> &str {
        &self.0.json
    }

    /// One more than the highest id, control tokens included: the rows of the embedding.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    /// The id of the control token that is spelled `text`.
    pub fn control(&self, text: &str) -> Option<u32> {
        self.0.controls.iter().find(|it| it.1 == text).map(|it| it.0)
    }

    /// Whether `id` is a control token.
    pub fn is_control(&self, id: u32) -> bool {
        self.0.controls.iter().any(|it| it.0 == id)
    }

    /// Whether `token` stands in the vocabulary of text, where content can reach it.
    pub fn is_word(&self, token: &str) -> bool {
        self.0.text.token_to_id(token).is_some()
    }

    /// The ids of `text`, whatever it spells.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.0.text.encode_fast(text, false).expect("every byte has a token").get_ids().to_vec()
    }

    /// The text of `ids` without control tokens; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary are left
    /// out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.0.decode(ids, true)
    }

    /// [`Tokenizer::decode`] with control tokens spelled out, for people to read.
    pub fn spell(&self, ids: &[u32]) -> String {
        self.0.decode(ids, false)
    }
}

impl Inner {
    fn decode(&self, ids: &[u32], skip_controls: bool) -> String {
        self.full.decode(ids, skip_controls).expect("the byte-level decoder takes any tokens")
    }
}

/// Takes out of a `tokenizer.json` what is only to happen when a caller wishes it, and says what that was.
fn without_wishes(file: &mut Value) -> Vec<String> {
    let wishes =
        [("/truncation", "cuts content"), ("/padding", "fills content up"), ("/model/dropout", "varies tokens")];
    let mut take = |(path, does): (&str, &str)| {
        let wish = file.pointer_mut(path).filter(|it| !it.is_null())?;
        *wish = Value::Null;
        Some(format!("tokenizer.json: `{}` is ignored: it {does}", path[1..].replace('/', ".")))
    };
    wishes.into_iter().filter_map(&mut take).collect()
}

/// The byte-level symbols of each pre-token of `text`.
fn pieces(text: &str) -> Vec<String> {
    let mut text = PreTokenizedString::from(text);
    ByteLevel::new(false, true, true).pre_tokenize(&mut text).expect("GPT-2's pattern splits any text");
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.into_iter().map(|(piece, ..)| piece.to_owned()).collect()
}

/// GPT-2's printable stand-in for each byte: itself where it prints, else the next free code point from U+0100 on.
fn byte_alphabet() -> [char; 256] {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut free = (0x100u32..).map(|it| char::from_u32(it).expect("U+0100 and the following 67 are characters"));
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if prints(byte) { char::from(byte) } else { free.next().expect("the range has no end") }
    })
}
