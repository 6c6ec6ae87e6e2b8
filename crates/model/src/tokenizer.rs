//! Text <-> token ids: byte-level BPE in Hugging Face's `tokenizer.json` form.
//!
//! Harbor's vocabulary is the 256 bytes, then whole words; there are no merges. With `ignore_merges` a pre-token that is a
//! known word is one token, and everything else (ciphers, other languages) is spelled byte by byte, so that any UTF-8 text
//! has an encoding and comes back unchanged. Control tokens are added tokens outside the BPE vocabulary. Content is encoded
//! by a second view of the same file that has no added tokens at all: no text, whatever it spells, reaches a control token.

use std::collections::BTreeSet;
use std::sync::Arc;

use collimate_schema::Role;
use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// A token that only the template writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Control {
    /// Begins every sequence, once.
    Bos,
    /// Ends a message; the stop token.
    End,
    /// Opens a system message.
    System,
    /// Opens a developer message.
    Developer,
    /// Opens a user message.
    User,
    /// Opens an assistant message.
    Assistant,
    /// Opens a tool message.
    Tool,
    /// Opens the thought.
    Think,
    /// Closes the thought and opens the answer.
    Answer,
    /// Fills the short rows of a batch.
    Pad,
}

impl Control {
    /// All of them, in the order of their ids.
    pub const ALL: [Control; 10] = [
        Control::Bos,
        Control::End,
        Control::System,
        Control::Developer,
        Control::User,
        Control::Assistant,
        Control::Tool,
        Control::Think,
        Control::Answer,
        Control::Pad,
    ];

    /// How `tokenizer.json` and the chat template spell it.
    pub fn text(self) -> &'static str {
        match self {
            Control::Bos => "<|bos|>",
            Control::End => "<|end|>",
            Control::System => "<|system|>",
            Control::Developer => "<|developer|>",
            Control::User => "<|user|>",
            Control::Assistant => "<|assistant|>",
            Control::Tool => "<|tool|>",
            Control::Think => "<|think|>",
            Control::Answer => "<|answer|>",
            Control::Pad => "<|pad|>",
        }
    }

    /// What opens a message of `role`.
    pub fn opens(role: Role) -> Control {
        match role {
            Role::System => Control::System,
            Role::Developer => Control::Developer,
            Role::User => Control::User,
            Role::Assistant => Control::Assistant,
            Role::Tool => Control::Tool,
        }
    }
}

/// What decoding does with control tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    /// Leaves them out.
    Skip,
    /// Spells them, for people to read.
    Show,
}

/// Why a `tokenizer.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Not the format.
    #[error("tokenizer.json cannot be read: {0}")]
    Unreadable(String),
    /// A control token is missing.
    #[error("tokenizer.json has no special added token `{0}`: the chat template needs it")]
    NoControl(&'static str),
    /// A control token is also a token of the text.
    #[error(
        "tokenizer.json holds `{0}` in its BPE vocabulary, where text could reach it: keep it in `added_tokens` only"
    )]
    ControlInVocabulary(&'static str),
    /// A byte is missing.
    #[error("tokenizer.json has no token for byte {0:#04x}: not every text could be encoded")]
    NoByte(u8),
}

/// A `tokenizer.json`, loaded; clones share it.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    json: String,
    /// Sees control tokens; for decoding, and for [`Tokenizer::encode_trusted`].
    full: tokenizers::Tokenizer,
    /// The same without added tokens; the only one that reads content.
    content: tokenizers::Tokenizer,
    controls: [u32; Control::ALL.len()],
    vocab_size: usize,
}

impl Tokenizer {
    /// A tokenizer in which each of `words`, with and without a space before it, is one token. A word that GPT-2's
    /// pre-tokenizer cuts (`low-tide`, `C3`) gives a token for each piece. Letters and digits always have both forms.
    pub fn build(words: &[String]) -> Tokenizer {
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
        let added: Vec<Value> = Control::ALL
            .iter()
            .enumerate()
            .map(|(index, control)| {
                json!({
                    "id": vocabulary.len() + index, "content": control.text(), "single_word": false, "lstrip": false,
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
        Tokenizer::from_bytes(file.to_string().as_bytes())
            .expect("a vocabulary of all bytes and all controls is complete")
    }

    /// Reads a `tokenizer.json` that has every byte and every control token.
    pub fn from_bytes(json: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let unreadable = |error: &dyn std::fmt::Display| TokenizerError::Unreadable(error.to_string());
        let json = std::str::from_utf8(json).map_err(|error| unreadable(&error))?.to_owned();
        let full: tokenizers::Tokenizer = json.parse().map_err(|error| unreadable(&error))?;
        let mut file: Value = serde_json::from_str(&json).map_err(|error| unreadable(&error))?;
        file["added_tokens"] = json!([]);
        file["post_processor"] = Value::Null;
        let content: tokenizers::Tokenizer = file.to_string().parse().map_err(|error| unreadable(&error))?;
        let mut controls = [0; Control::ALL.len()];
        for (id, control) in controls.iter_mut().zip(Control::ALL) {
            *id = full.token_to_id(control.text()).ok_or(TokenizerError::NoControl(control.text()))?;
            if content.token_to_id(control.text()).is_some() {
                return Err(TokenizerError::ControlInVocabulary(control.text()));
            }
        }
        for (byte, symbol) in (0..=u8::MAX).zip(byte_alphabet()) {
            content.token_to_id(&symbol.to_string()).ok_or(TokenizerError::NoByte(byte))?;
        }
        let vocab_size = full.get_vocab(true).into_values().max().map_or(0, |it| it as usize + 1);
        Ok(Tokenizer(Arc::new(Inner { json, full, content, controls, vocab_size })))
    }

    /// The file, byte for byte as it was read or built.
    pub fn to_json(&self) -> &str {
        &self.0.json
    }

    /// One more than the highest id, control tokens included: the rows of the embedding.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    /// The id of a control token.
    pub fn control(&self, control: Control) -> u32 {
        self.0.controls[control as usize]
    }

    /// Which control token `id` is, if it is one.
    pub fn as_control(&self, id: u32) -> Option<Control> {
        Control::ALL.into_iter().find(|it| self.control(*it) == id)
    }

    /// Encodes content. The result holds no control token, whatever the text spells.
    pub fn encode_text(&self, text: &str) -> Vec<u32> {
        encode(&self.0.content, text)
    }

    /// Encodes text that our own template rendered: control tokens in it are recognised. Never give it content.
    pub fn encode_trusted(&self, text: &str) -> Vec<u32> {
        encode(&self.0.full, text)
    }

    /// The text of `ids`; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary are left out.
    pub fn decode(&self, ids: &[u32], controls: Controls) -> String {
        self.0.full.decode(ids, controls == Controls::Skip).expect("the byte-level decoder takes any tokens")
    }
}

fn encode(tokenizer: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).expect("every byte has a token").get_ids().to_vec()
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
