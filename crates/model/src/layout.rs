//! How the positions that a transformer computes make up sequences. A beginning that sequences have in common, such as the
//! prompt of several samples, is computed once: a hidden state depends on what stands before it alone.

use std::sync::Arc;

/// Sequences that are packed one after the other and do not see each other, M positions in all, of which N are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Positions of each sequence; they add up to M.
    pub(crate) lengths: Arc<[usize]>,
    pub(crate) shared: Option<Shared>,
}

/// Where positions stand that are computed once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    /// Of each position of each sequence, [M]: which of the computed ones it is.
    pub(crate) computed: Arc<[u32]>,
    /// Of each computed position, [N]: where it stands first.
    pub(crate) first: Arc<[u32]>,
}

impl Layout {
    /// Sequences of `lengths`, whose positions are the computed ones `computed`, [M]: each of 0..N first appears after those
    /// below it.
    pub fn sharing(lengths: &[usize], computed: &[u32]) -> Layout {
        assert_eq!(lengths.iter().sum::<usize>(), computed.len(), "the lengths must add up to the positions");
        let mut first = Vec::new();
        for (position, computed) in (0..).zip(computed) {
            assert!(*computed as usize <= first.len(), "computed position {computed} appears before those below it");
            if *computed as usize == first.len() {
                first.push(position);
            }
        }
        let is_shared = first.len() < computed.len();
        let shared = is_shared.then(|| Shared { computed: computed.into(), first: first.into() });
        Layout { lengths: lengths.into(), shared }
    }

    /// Positions of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }
}

/// Sequences of these lengths that share nothing.
impl From<&[usize]> for Layout {
    fn from(lengths: &[usize]) -> Layout {
        Layout { lengths: lengths.into(), shared: None }
    }
}

impl<const N: usize> From<&[usize; N]> for Layout {
    fn from(lengths: &[usize; N]) -> Layout {
        Layout::from(&lengths[..])
    }
}

impl From<&Layout> for Layout {
    fn from(layout: &Layout) -> Layout {
        layout.clone()
    }
}
