//! Named seeds: a child seed depends on its name only, so adding a stage does not shift the others.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A seed; randomness is always an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the stage, prompt or sample called `name`.
    pub fn child(self, name: &str) -> Seed {
        let mut hasher = Sha256::new();
        hasher.update(self.0.to_le_bytes());
        hasher.update(name.as_bytes());
        let digest = hasher.finalize();
        Seed(u64::from_le_bytes(digest[..8].try_into().expect("a SHA-256 digest has 32 bytes")))
    }

    /// The generator of this seed.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}
