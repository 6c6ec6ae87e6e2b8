//! Learning rates: a linear rise, then half a cosine down to a floor.

/// A learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest learning rate, reached after the warm-up.
    pub peak: f32,
    /// Learning rate of the last step.
    pub floor: f32,
    /// Steps of the linear rise.
    pub n_warmup: u64,
    /// Steps in all.
    pub n_steps: u64,
}

impl Schedule {
    /// The learning rate of step `step`, from 0; the floor from the last step on.
    pub fn at(&self, step: u64) -> f32 {
        if step < self.n_warmup {
            return self.peak * (step + 1) as f32 / self.n_warmup as f32;
        }
        let n_cosine = self.n_steps.saturating_sub(self.n_warmup + 1).max(1);
        let done = ((step - self.n_warmup) as f32 / n_cosine as f32).min(1.0);
        self.floor + (self.peak - self.floor) * 0.5 * (1.0 + (std::f32::consts::PI * done).cos())
    }
}
