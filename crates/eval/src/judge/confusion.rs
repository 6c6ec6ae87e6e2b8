//! How a judge's grades compare with exact ground truth, where a world has it.

use collimate_schema::Score;
use serde::{Deserialize, Serialize};

use crate::stats::Rate;

/// How often a grade was given to good and to bad work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradeCounts {
    /// Work that the ground truth calls good.
    pub good: u32,
    /// Work that it calls bad.
    pub bad: u32,
}

impl GradeCounts {
    fn add(&mut self, good: bool) {
        if good { self.good += 1 } else { self.bad += 1 }
    }
}

/// A judge's grades against the ground truth. For reports only: nothing selects or rewards by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Which judge.
    pub judge: String,
    /// The lowest grade that accepts.
    pub threshold: Score,
    /// Counts for the grades 1 to 5, in order.
    pub grades: [GradeCounts; 5],
    /// Readings without a grade.
    pub unscored: GradeCounts,
}

impl Confusion {
    /// No readings yet.
    pub fn new(judge: impl Into<String>, threshold: Score) -> Confusion {
        Confusion {
            judge: judge.into(),
            threshold,
            grades: [GradeCounts::default(); 5],
            unscored: GradeCounts::default(),
        }
    }

    /// Counts a grade of work that is `good` or not; `None` is a reading without one. It may be a verdict's score, or what was
    /// decided from several, such as their minimum.
    pub fn add(&mut self, grade: Option<Score>, good: bool) {
        match grade {
            Some(score) => self.grades[usize::from(score.get()) - 1].add(good),
            None => self.unscored.add(good),
        }
    }

    /// Whether there are no readings yet.
    pub fn is_empty(&self) -> bool {
        [sum(&self.grades), self.unscored].iter().all(|it| it.good + it.bad == 0)
    }

    /// How often the judge accepts good work and rejects bad.
    pub fn agreement(&self) -> Rate {
        let (accepted, rejected) = (self.accepted(), self.rejected());
        let all = sum(&self.grades);
        rate(accepted.good + rejected.bad, all.good + all.bad, self.unscored.good + self.unscored.bad)
    }

    /// How often bad work is accepted.
    pub fn false_accepts(&self) -> Rate {
        let (accepted, rejected) = (self.accepted(), self.rejected());
        rate(accepted.bad, accepted.bad + rejected.bad, self.unscored.bad)
    }

    /// How often good work is rejected.
    pub fn false_rejects(&self) -> Rate {
        let (accepted, rejected) = (self.accepted(), self.rejected());
        rate(rejected.good, accepted.good + rejected.good, self.unscored.good)
    }

    fn accepted(&self) -> GradeCounts {
        sum(&self.grades[usize::from(self.threshold.get()) - 1..])
    }

    fn rejected(&self) -> GradeCounts {
        sum(&self.grades[..usize::from(self.threshold.get()) - 1])
    }
}

fn rate(hits: u32, scored: u32, unscored: u32) -> Rate {
    Rate::new(hits, scored, unscored).expect("a part of the readings is no more than all of them")
}

fn sum(counts: &[GradeCounts]) -> GradeCounts {
    counts.iter().fold(GradeCounts::default(), |a, b| GradeCounts { good: a.good + b.good, bad: a.bad + b.bad })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_threshold() {
        let mut confusion = Confusion::new("filter", Score::new(4).expect("1 to 5"));
        for (grade, good) in [(5, true), (4, true), (3, true), (4, false), (1, false), (2, false), (1, false)] {
            confusion.add(Score::new(grade), good);
        }
        confusion.add(None, false);
        // What is counted may be a decision over several readings, here the lower of two.
        confusion.add(Score::new(5).min(Score::new(3)), false);
        assert_eq!(confusion.agreement(), Rate::new(6, 8, 1).expect("possible"));
        assert_eq!(confusion.false_accepts(), Rate::new(1, 5, 1).expect("possible"));
        assert_eq!(confusion.false_rejects(), Rate::new(1, 3, 0).expect("possible"));
    }
}
