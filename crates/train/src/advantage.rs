//! Advantages of the rollouts of one prompt over each other. Departs from GRPO: no division by the standard deviation.

/// What a reward is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The mean of the others: unbiased.
    LeaveOneOut,
    /// The mean of the whole group.
    GroupMean,
}

/// Why a group has nothing to teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Degenerate {
    /// Fewer than two scored rollouts.
    TooFew,
    /// All rewards are equal.
    NoSpread,
}

/// The advantages of a group, or why it has none.
#[derive(Clone, Debug, PartialEq)]
pub enum Advantages {
    /// One per reward, in order.
    Of(Vec<f32>),
    /// To be counted and left out.
    Degenerate(Degenerate),
}

/// `reward - baseline` of each of a group's `rewards` (finite).
pub fn advantages(rewards: &[f32], baseline: Baseline) -> Advantages {
    if rewards.len() < 2 {
        return Advantages::Degenerate(Degenerate::TooFew);
    }
    if rewards.iter().all(|it| *it == rewards[0]) {
        return Advantages::Degenerate(Degenerate::NoSpread);
    }
    let (n, sum) = (rewards.len() as f32, rewards.iter().sum::<f32>());
    let over = |reward: &f32| match baseline {
        Baseline::LeaveOneOut => reward - (sum - reward) / (n - 1.0),
        Baseline::GroupMean => reward - sum / n,
    };
    Advantages::Of(rewards.iter().map(over).collect())
}
