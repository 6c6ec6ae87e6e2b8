//! Surface forms: ciphers on letters and an invented language, each a capability of the base model.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::tidal::to_tidal;

/// A cipher on letters or words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cipher {
    /// Letters turned by thirteen.
    Rot13,
    /// Letters mirrored: a is z.
    Atbash,
    /// Letters turned by three.
    Shift,
    /// Each word written backwards.
    Reverse,
    /// Letters written apart, words parted by a slash.
    Spaced,
    /// Vowels written as digits.
    Digits,
    /// The words cut in two parts, the second given first.
    Split,
}

impl Cipher {
    /// All of them, in a fixed order.
    pub const ALL: [Cipher; 7] =
        [Cipher::Rot13, Cipher::Atbash, Cipher::Shift, Cipher::Reverse, Cipher::Spaced, Cipher::Digits, Cipher::Split];

    /// The word that announces it.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Rot13 => "rot",
            Cipher::Atbash => "atbash",
            Cipher::Shift => "shift",
            Cipher::Reverse => "reverse",
            Cipher::Spaced => "spaced",
            Cipher::Digits => "digits",
            Cipher::Split => "split",
        }
    }

    /// Enciphers lower-case words.
    pub fn encode(self, text: &str) -> String {
        let turn = |by: u8| text.chars().map(|it| turn_letter(it, by)).collect();
        match self {
            Cipher::Rot13 => turn(13),
            Cipher::Shift => turn(3),
            Cipher::Atbash => text
                .chars()
                .map(|it| if it.is_ascii_lowercase() { (b'z' - (it as u8 - b'a')) as char } else { it })
                .collect(),
            Cipher::Reverse => join(text.split(' ').map(|word| word.chars().rev().collect::<String>()), " "),
            Cipher::Spaced => join(text.split(' ').map(|word| join(word.chars().map(String::from), " ")), " / "),
            Cipher::Digits => {
                text.chars().map(|it| "aeiou".find(it).map_or(it, |at| (b'1' + at as u8) as char)).collect()
            }
            Cipher::Split => {
                let words: Vec<&str> = text.split(' ').collect();
                let (first, second) = words.split_at(words.len().div_ceil(2));
                format!("b = {} ; a = {}", second.join(" "), first.join(" "))
            }
        }
    }
}

fn join(parts: impl Iterator<Item = String>, with: &str) -> String {
    parts.collect::<Vec<_>>().join(with)
}

fn turn_letter(letter: char, by: u8) -> char {
    if letter.is_ascii_lowercase() { ((letter as u8 - b'a' + by) % 26 + b'a') as char } else { letter }
}

/// How a request's words are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Surface {
    /// As they are.
    Plain,
    /// Enciphered and announced.
    Cipher(Cipher),
    /// In the invented language, Tidal.
    Tidal,
}

impl Surface {
    /// The word that announces it; `None` for plain text.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Surface::Plain => None,
            Surface::Cipher(cipher) => Some(cipher.name()),
            Surface::Tidal => Some("tidal"),
        }
    }

    /// Writes lower-case words in this form, with the announcement a reader needs to undo it.
    pub fn write(self, text: &str) -> String {
        match self {
            Surface::Plain => text.to_owned(),
            Surface::Cipher(cipher) => format!("{}: {}", cipher.name(), cipher.encode(text)),
            Surface::Tidal => format!("tidal: {}", to_tidal(text)),
        }
    }

    pub(crate) fn draw_encoded(rng: &mut impl Rng) -> Surface {
        if rng.random_bool(0.2) {
            Surface::Tidal
        } else {
            Surface::Cipher(*Cipher::ALL.choose(rng).expect("not empty"))
        }
    }
}
