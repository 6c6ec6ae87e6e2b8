//! Content addresses.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first 16 bytes of a SHA-256, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hash(pub String);

impl Hash {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash::of_parts([bytes])
    }

    /// Of a sequence of parts; lengths are hashed too, so that parts do not run into each other.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
        let mut hasher = Hasher::default();
        parts.into_iter().for_each(|it| hasher.part(it));
        hasher.finish()
    }

    /// Of a value's JSON.
    pub fn of_json(value: &impl Serialize) -> Hash {
        Hash::of(&serde_json::to_vec(value).expect("configs and nouns serialise to JSON"))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash that is made part by part, as [`Hash::of_parts`] makes it: what is hashed need not be in memory together.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// The next part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.begin_part(bytes.len() as u64);
        self.more(bytes);
    }

    /// Begins a part of `len` bytes, which come through [`Hasher::more`].
    pub fn begin_part(&mut self, len: u64) {
        self.0.update(len.to_le_bytes());
    }

    /// More bytes of the part that was begun.
    pub fn more(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all parts.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
