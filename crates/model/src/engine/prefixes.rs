//! Blocks of prompts already read: a prompt that begins like another one starts from its blocks.

use std::collections::HashMap;

use collimate_kernels::{BLOCK, Block};

/// A tree of full blocks, each found by the block before it and its own tokens.
#[derive(Debug)]
pub(crate) struct Prefixes {
    blocks: HashMap<(u64, Vec<u32>), (u64, Block)>,
    n_named: u64,
    most: usize,
}

/// What stands before the first block.
const ROOT: u64 = 0;

impl Prefixes {
    /// Keeps about `most` blocks beyond those in use.
    pub(crate) fn new(most: usize) -> Prefixes {
        Prefixes { blocks: HashMap::new(), n_named: ROOT, most }
    }

    /// The blocks of the longest beginning of `prompt` that is known. Its last token is never among them: its hidden state is
    /// yet to be computed.
    pub(crate) fn find(&self, prompt: &[u32]) -> Vec<Block> {
        let mut before = ROOT;
        let known = full_blocks(prompt).map_while(|tokens| {
            let (name, block) = self.blocks.get(&(before, tokens.to_vec()))?;
            before = *name;
            Some(block.clone())
        });
        known.collect()
    }

    /// Remembers the `blocks` of `prompt` that [`Prefixes::find`] could ask for.
    pub(crate) fn remember(&mut self, prompt: &[u32], blocks: &[Block]) {
        if self.blocks.len() >= self.most {
            self.blocks.retain(|_, (_, block)| !block.is_unshared());
        }
        let mut before = ROOT;
        for (tokens, block) in full_blocks(prompt).zip(blocks) {
            let n_named = &mut self.n_named;
            let (name, _) = self.blocks.entry((before, tokens.to_vec())).or_insert_with(|| {
                *n_named += 1;
                (*n_named, block.clone())
            });
            before = *name;
        }
    }
}

/// The tokens of the full blocks of `prompt` that do not hold its last token.
fn full_blocks(prompt: &[u32]) -> impl Iterator<Item = &[u32]> {
    prompt[..prompt.len().saturating_sub(1)].chunks_exact(BLOCK)
}

/// How many full blocks two prompts begin with in common.
pub(crate) fn n_shared(a: &[u32], b: &[u32]) -> usize {
    full_blocks(a).zip(full_blocks(b)).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use collimate_kernels::{CachedRow, Heads, Plan, Spare};

    use super::*;

    /// The blocks of `n` cached positions.
    fn blocks(n: usize) -> Vec<Block> {
        let mut row =
            CachedRow::new(1, Heads { n_query: 1, n_kv: 1, width: 2 }, collimate_kernels::Precision::F32, Vec::new());
        let mut plan = Plan::default();
        Spare::default().make_room(std::slice::from_mut(&mut row), &[n]);
        plan.begin(&[n]);
        plan.end(std::slice::from_mut(&mut row));
        row.blocks().to_vec()
    }

    #[test]
    fn the_longest_known_beginning_is_found() {
        let mut prefixes = Prefixes::new(100);
        let prompt: Vec<u32> = (0..3 * BLOCK as u32).collect();
        prefixes.remember(&prompt, &blocks(prompt.len()));
        assert_eq!(prefixes.find(&prompt).len(), 2, "the last token must be read again");
        assert_eq!(prefixes.find(&[&prompt[..], &[7]].concat()).len(), 2, "nobody asks for the last block of a prompt");
        assert_eq!(prefixes.find(&prompt[..2 * BLOCK - 1]).len(), 1);
        let other = [&prompt[..BLOCK], &[9; BLOCK], &[9]].concat();
        assert_eq!((prefixes.find(&other).len(), n_shared(&prompt, &other)), (1, 1));
        assert_eq!(prefixes.find(&prompt[BLOCK..]).len(), 0, "the same tokens at another place");
        assert_eq!(prefixes.find(&[]).len(), 0);
    }

    #[test]
    fn what_is_in_use_is_kept_when_there_is_no_room() {
        let mut prefixes = Prefixes::new(2);
        let prompt = |first: u32| vec![first; BLOCK + 1];
        let used = blocks(BLOCK + 1);
        prefixes.remember(&prompt(1), &used);
        prefixes.remember(&prompt(2), &blocks(BLOCK + 1));
        prefixes.remember(&prompt(3), &blocks(BLOCK + 1));
        assert_eq!([1, 2, 3].map(|it| prefixes.find(&prompt(it)).len()), [1, 0, 1]);
    }
}
