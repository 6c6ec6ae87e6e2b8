//! What a judge said of a rollout.

use serde::{Deserialize, Serialize};

use crate::rollout::Rollout;
use crate::spec::ClauseId;

/// A grade from 1 (worst) to 5 (best).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Score(u8);

impl Score {
    /// The lowest grade: what a malformed or truncated rollout gets.
    pub const LOWEST: Score = Score(1);
    /// The highest grade.
    pub const HIGHEST: Score = Score(5);

    /// `None` unless `1 <= grade <= 5`.
    pub fn new(grade: u8) -> Option<Score> {
        (1..=5).contains(&grade).then_some(Score(grade))
    }

    /// The grade, 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The grade as a reward in [0, 1].
    pub fn reward(self) -> f32 {
        f32::from(self.0 - 1) / 4.0
    }

    /// The grade whose [`Score::reward`] this is.
    pub fn of_reward(reward: f32) -> Option<Score> {
        (1..=5).map(Score).find(|it| it.reward() == reward)
    }
}

impl TryFrom<u8> for Score {
    type Error = String;
    fn try_from(grade: u8) -> Result<Score, String> {
        Score::new(grade).ok_or_else(|| format!("a grade is 1 to 5, not {grade}"))
    }
}

impl From<Score> for u8 {
    fn from(it: Score) -> u8 {
        it.0
    }
}

/// Why a judge gave no score. Never behaviour of the model under judgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unscored {
    /// No grade line, or a grade outside 1..=5.
    Unparsed,
    /// More than one grade line.
    TwoGrades,
    /// The judge ran out of tokens.
    Truncated,
    /// The judge's own turn was malformed.
    Malformed,
    /// The judge could not be asked, or declined.
    Failed,
}

/// One judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The judge gave a grade.
    Scored {
        /// The grade.
        score: Score,
        /// The judge's analysis.
        rationale: String,
        /// Clauses the analysis cites that the spec defines.
        clauses: Vec<ClauseId>,
        /// Whether the judge agreed with the noisy label, when one was shown.
        agrees: Option<bool>,
    },
    /// The judge gave none.
    Unscored(Unscored),
}

impl Verdict {
    /// The score, if there is one.
    pub fn score(&self) -> Option<Score> {
        match self {
            Verdict::Scored { score, .. } => Some(*score),
            Verdict::Unscored(_) => None,
        }
    }
}

/// A rollout with everything its judges said, in the order of their ordinals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// The rollout judged.
    pub rollout: Rollout,
    /// The k verdicts.
    pub verdicts: Vec<Verdict>,
}

impl Graded {
    /// The minimum over the k scores (section 3.2): any single reading may overlook a flaw. `None` if any reading failed.
    pub fn min_score(&self) -> Option<Score> {
        self.verdicts.iter().map(Verdict::score).collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}
