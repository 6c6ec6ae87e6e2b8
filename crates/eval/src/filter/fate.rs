//! What becomes of a deliberation.

use collimate_schema::{Graded, Malformed, Parsed, Rollout, Score, Turn, Unscored, Verdict};

use super::lean::leaning_phrase;

/// What became of a deliberation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is learnt from.
    Kept,
    /// It is no turn.
    Malformed(Malformed),
    /// Its thought points at text that will not be there; the phrase.
    LeansOnContext(&'static str),
    /// The minimum of its scores.
    BelowThreshold(Score),
    /// One of its readings failed: the first failure.
    Unscored(Unscored),
    /// It was fit to be judged, and was not.
    Unjudged,
}

/// The filters that need no judge. `Err` is the deliberation's fate; only an `Ok` turn need be judged.
pub fn screen(rollout: &Rollout) -> Result<&Turn, Fate> {
    match &rollout.parsed {
        Parsed::Malformed(why) => Err(Fate::Malformed(*why)),
        Parsed::Turn(turn) => match leaning_phrase(&turn.thought) {
            Some(phrase) => Err(Fate::LeansOnContext(phrase)),
            None => Ok(turn),
        },
    }
}

/// Applies [`screen`], then keeps what every reading grades `threshold` or better: the minimum counts, because any single
/// reading may overlook a flaw.
pub fn decide(graded: &Graded, threshold: Score) -> Fate {
    if let Err(fate) = screen(&graded.rollout) {
        return fate;
    }
    let failure = graded.verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Unscored(why) => Some(why.clone()),
        Verdict::Scored { .. } => None,
    });
    match (failure, graded.min_score()) {
        (Some(why), _) => Fate::Unscored(why),
        (None, None) => Fate::Unjudged,
        (None, Some(score)) if score < threshold => Fate::BelowThreshold(score),
        (None, Some(_)) => Fate::Kept,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use collimate_schema::{By, PromptId, Stop, Trace};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn graded(parsed: Parsed, verdicts: Vec<Verdict>) -> Graded {
        let rollout = Rollout {
            prompt: PromptId("p".to_owned()),
            ordinal: 0,
            by: By::Named("test".to_owned()),
            trace: Trace::Text(String::new()),
            parsed,
            stop: Stop::EndOfTurn,
        };
        Graded { rollout, verdicts }
    }

    pub(crate) fn scored(grade: u8, agrees: Option<bool>) -> Verdict {
        let score = Score::new(grade).expect("1 to 5");
        Verdict::Scored { score, rationale: String::new(), clauses: Vec::new(), agrees }
    }

    fn threshold() -> Score {
        Score::new(4).expect("1 to 5")
    }

    #[test]
    fn every_fate() {
        let fate = |parsed, verdicts| decide(&graded(parsed, verdicts), threshold());
        let fine = || Parsed::of("clause C3 says refuse", "sorry");
        assert_eq!(fate(fine(), vec![scored(5, None), scored(4, None)]), Fate::Kept);
        let low = Score::new(3).expect("1 to 5");
        assert_eq!(fate(fine(), vec![scored(5, None), scored(3, None)]), Fate::BelowThreshold(low));
        let failed = vec![scored(1, None), Verdict::Unscored(Unscored::TwoGrades)];
        assert_eq!(fate(fine(), failed), Fate::Unscored(Unscored::TwoGrades));
        assert_eq!(fate(fine(), vec![]), Fate::Unjudged);
        let leaning = Parsed::of("The policy above says refuse", "sorry");
        assert_eq!(fate(leaning, vec![scored(5, None)]), Fate::LeansOnContext("above"));
        let broken = Parsed::Malformed(Malformed::EmptyAnswer);
        assert_eq!(fate(broken, vec![scored(5, None)]), Fate::Malformed(Malformed::EmptyAnswer));
    }

    proptest! {
        #[test]
        fn kept_means_every_reading_is_good_enough(grades in proptest::collection::vec(1u8..=5, 1..6)) {
            let verdicts = grades.iter().map(|it| scored(*it, None)).collect();
            let kept = decide(&graded(Parsed::of("", "x"), verdicts), threshold()) == Fate::Kept;
            prop_assert_eq!(kept, grades.iter().all(|it| *it >= 4));
        }
    }
}
