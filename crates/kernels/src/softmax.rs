//! What a softmax over a row of logits needs to know of it, from parts of the row in order.

use crate::lanes::{LANES, exp, max};

/// Logits that are summed before the next: parts of a row start at multiples of it.
pub(crate) const PART: usize = 1024;

/// Sums over logits z, relative to the largest, so that nothing overflows or cancels however large they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    /// The largest z.
    largest: f32,
    /// Of exp(z - largest).
    mass: f32,
    /// Of exp(z - largest) (z - largest).
    moment: f32,
}

impl Sums {
    /// In place of a logit: one without mass, which overflows nowhere.
    pub(crate) const NOTHING: f32 = -1e30;

    /// Of a whole row.
    #[inline(always)]
    pub(crate) fn of(row: &[f32]) -> Sums {
        let (first, rest) = row.split_at(row.len().min(PART));
        let mut sums = Sums::of_part(first);
        for part in rest.chunks(PART) {
            sums = sums.plus(Sums::of_part(part));
        }
        sums
    }

    /// Of at most [`PART`] logits.
    #[inline(always)]
    pub(crate) fn of_part(logits: &[f32]) -> Sums {
        let largest = max(logits);
        let (mut masses, mut moments) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let mut chunks = logits.chunks_exact(LANES);
        for z in &mut chunks {
            for lane in 0..LANES {
                let below = z[lane] - largest;
                let mass = exp(below);
                masses[lane] += mass;
                moments[lane] = mass.mul_add(below, moments[lane]);
            }
        }
        let (mut mass, mut moment) = (0.0, 0.0);
        for lane in 0..LANES {
            mass += masses[lane];
            moment += moments[lane];
        }
        for z in chunks.remainder() {
            let below = z - largest;
            mass += exp(below);
            moment += exp(below) * below;
        }
        Sums { largest, mass, moment }
    }

    /// Of the logits of both.
    #[inline(always)]
    pub(crate) fn plus(self, other: Sums) -> Sums {
        let largest = self.largest.max(other.largest);
        let relative = |it: Sums| {
            let below = it.largest - largest;
            let scale = exp(below);
            (scale * it.mass, scale * below.mul_add(it.mass, it.moment))
        };
        let ((mass, moment), (other_mass, other_moment)) = (relative(self), relative(other));
        Sums { largest, mass: mass + other_mass, moment: moment + other_moment }
    }

    /// The largest logit and the logarithm of the mass: log p = z - largest - log mass.
    #[inline(always)]
    pub(crate) fn norm(self) -> Norm {
        Norm { largest: self.largest, log_mass: self.mass.ln() }
    }

    /// Entropy of the softmax, nats.
    #[inline(always)]
    pub(crate) fn entropy(self) -> f32 {
        self.mass.ln() - self.moment / self.mass
    }
}

/// What turns a row's logits into log-probabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    largest: f32,
    log_mass: f32,
}

impl Norm {
    /// log p of the logit `z`, natural logarithm.
    #[inline(always)]
    pub(crate) fn logprob(self, z: f32) -> f32 {
        (z - self.largest) - self.log_mass
    }

    /// log of the sum over exp(z).
    #[inline(always)]
    pub(crate) fn log_sum(self) -> f32 {
        self.largest + self.log_mass
    }
}
