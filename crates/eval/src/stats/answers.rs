//! What every question scored with every training seed, and what that tells of the two things that vary: questions and seeds.
//!
//! Several models, trained alike with different seeds, answer one exam. Questions are then shared by all models, and models by
//! all questions, so no two answers of a question or of a model are independent. A mean over the exam errs by the choice of
//! questions and by the choice of seeds; we estimate the two apart and let their margins add up in squares.
//!
//! *Questions*: each counts once, with its average over the seeds ([`bounded_mean`]). *Seeds*: the means of the n models, as a
//! sample of n, with the quantile of Student's t for n - 1 degrees of freedom. Models differ by chance too, in how they take each
//! question; that noise is in the first part already, so a quarter of what it adds to the second is taken off. (All of it would be
//! unbiased, but n is 2 or 3, and then an estimate that is 0 by chance would hide a variance that is not.) Models that answer
//! alike add nothing: three copies of one model tell what the one tells. One seed tells nothing of others, and the interval is of
//! that model.

use collimate_schema::{Hash, PromptId};
use serde::{Deserialize, Serialize};

use super::bounded::bounded_mean;
use super::estimate::Estimate;
use super::rate::Z;

/// What every question scored with every training seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Hash of the questions' names, in order.
    questions: Hash,
    /// For each seed, a value for each question.
    by_seed: Vec<Row>,
}

/// Numbers in a row, `None` where nothing was scored. A file keeps a row as one text, `1 0 0.25 -`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Row(Vec<Option<f64>>);

impl Answers {
    /// Values in [0, 1] for each of `questions`, with each seed.
    pub(super) fn new(questions: &[&PromptId], by_seed: Vec<Vec<Option<f64>>>) -> Answers {
        Answers { questions: Hash::of_json(&questions), by_seed: by_seed.into_iter().map(Row).collect() }
    }

    /// How many questions were scored with some seed.
    pub fn n_scored(&self) -> u32 {
        self.means().len() as u32
    }

    /// The mean over questions, each averaged over the seeds, with an interval over questions and seeds.
    pub(super) fn mean(&self) -> Option<Estimate> {
        Some(bounded_mean(&self.means(), (0.0, 1.0))?.widened(self.seed_margin(), (0.0, 1.0)))
    }

    /// Question by question, `self` minus `other`: `value` with an interval over questions and seeds, and how many questions
    /// both have a score for. `None` unless both were asked the same questions and trained with as many seeds.
    pub(crate) fn minus(&self, other: &Answers, value: f64) -> Option<(Estimate, u32)> {
        if self.questions != other.questions || self.by_seed.len() != other.by_seed.len() {
            return None;
        }
        let less = |(a, b): (&Option<f64>, &Option<f64>)| Some((*a)? - (*b)?);
        let rows = self.by_seed.iter().zip(&other.by_seed);
        let by_seed = rows.map(|(a, b)| Row(a.0.iter().zip(&b.0).map(less).collect())).collect();
        let both = Answers { questions: self.questions.clone(), by_seed };
        let range = (-1.0, 1.0);
        let paired = bounded_mean(&both.means(), range)?;
        // Where some answers were not scored, `value` is not quite the mean of the pairs; the margins are theirs.
        let shift = value - paired.value();
        let moved = |end: f64| (end + shift).clamp(-1.0, 1.0);
        let moved = Estimate::new(value, moved(paired.low()).min(value), moved(paired.high()).max(value))?;
        Some((moved.widened(both.seed_margin(), range), both.n_scored()))
    }

    /// What each question scored on average over the seeds, of those that were scored.
    fn means(&self) -> Vec<f64> {
        let n_questions = self.by_seed.first().map_or(0, |it| it.0.len());
        let scored = |question: usize| self.by_seed.iter().filter_map(move |it| it.0[question]);
        (0..n_questions).filter_map(|it| mean(scored(it))).collect()
    }

    /// By how much the mean may err because there are only these seeds: half the width of a 95% interval.
    pub(super) fn seed_margin(&self) -> f64 {
        let seed_means: Vec<f64> = self.by_seed.iter().filter_map(|it| mean(it.0.iter().copied().flatten())).collect();
        if seed_means.len() < 2 {
            return 0.0;
        }
        let n_seeds = seed_means.len() as f64;
        let all = seed_means.iter().sum::<f64>() / n_seeds;
        let between = seed_means.iter().map(|it| (it - all).powi(2)).sum::<f64>() / (n_seeds - 1.0);
        let own = (between - NOISE_TAKEN_OFF * self.noise()).max(0.0);
        student(seed_means.len() - 1) * (own / n_seeds).sqrt()
    }

    /// The variance that a model's mean has because models take each question differently: of the questions that were scored with
    /// every seed, what neither question nor seed explains. 0 where it cannot be told.
    fn noise(&self) -> f64 {
        let n_questions = self.by_seed.first().map_or(0, |it| it.0.len());
        let row = |question: usize| self.by_seed.iter().map(|it| it.0[question]).collect::<Option<Vec<f64>>>();
        let rows: Vec<Vec<f64>> = (0..n_questions).filter_map(row).collect();
        let (n_rows, n_seeds) = (rows.len() as f64, self.by_seed.len() as f64);
        if rows.len() < 2 || self.by_seed.len() < 2 {
            return 0.0;
        }
        let of_seed: Vec<f64> =
            (0..self.by_seed.len()).map(|at| rows.iter().map(|it| it[at]).sum::<f64>() / n_rows).collect();
        let all = of_seed.iter().sum::<f64>() / n_seeds;
        let unexplained = rows.iter().map(|row| {
            let of_question = row.iter().sum::<f64>() / n_seeds;
            row.iter().zip(&of_seed).map(|(it, seed)| (it - of_question - seed + all).powi(2)).sum::<f64>()
        });
        unexplained.sum::<f64>() / ((n_rows - 1.0) * (n_seeds - 1.0)) / n_rows
    }
}

/// How much of the noise of questions is taken off the variance between seeds.
const NOISE_TAKEN_OFF: f64 = 0.25;

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), it| (sum + it, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// The 97.5th percentile of Student's t: of a table, and for 5 degrees of freedom or more from that of the normal distribution
/// (Cornish and Fisher's expansion).
fn student(freedom: usize) -> f64 {
    if let Some(exact) = [12.706_205, 4.302_653, 3.182_446, 2.776_445].get(freedom - 1) {
        return *exact;
    }
    let (z, n) = (Z, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}

impl TryFrom<String> for Row {
    type Error = String;
    fn try_from(text: String) -> Result<Row, String> {
        let read = |word: &str| match word {
            "-" => Ok(None),
            word => match word.parse::<f64>() {
                Ok(value) if (0.0..=1.0).contains(&value) => Ok(Some(value)),
                _ => Err(format!("`{word}` is no score: a number in [0, 1], or `-`")),
            },
        };
        text.split_whitespace().map(read).collect::<Result<_, _>>().map(Row)
    }
}

impl From<Row> for String {
    fn from(Row(values): Row) -> String {
        values.iter().map(|it| it.map_or("-".to_owned(), |it| it.to_string())).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn answers(by_seed: &[&[f64]]) -> Answers {
        let names: Vec<PromptId> = (0..by_seed[0].len()).map(|it| PromptId(format!("p{it}"))).collect();
        let rows = by_seed.iter().map(|row| row.iter().map(|it| (*it >= 0.0).then_some(*it)).collect()).collect();
        Answers::new(&names.iter().collect::<Vec<_>>(), rows)
    }

    /// `scipy.stats.t.ppf(.975, n)`
    #[test]
    fn student_agrees_with_scipy() {
        for (n, exact) in [(1, 12.706_205), (4, 2.776_445), (5, 2.570_582), (9, 2.262_157), (30, 2.042_272)] {
            assert!((student(n) - exact).abs() < 4e-3, "{n}: {}", student(n));
        }
    }

    #[test]
    fn fault_26_models_that_answer_alike_tell_what_one_tells() {
        let row = &[1.0, 0.0, 0.5, 1.0, -1.0, 0.25][..];
        assert_eq!(answers(&[row; 3]).mean(), answers(&[row]).mean());
        assert_eq!(answers(&[row; 3]).minus(&answers(&[row; 3]), 0.0), answers(&[row]).minus(&answers(&[row]), 0.0));
    }

    #[test]
    fn fault_26_models_that_differ_tell_less_than_one_seems_to() {
        let [good, bad, fair] = [[0.9; 20], [0.3; 20], [0.6; 20]];
        let of = |it: &[&[f64]]| answers(it).mean().expect("scored").to_string();
        expect!["60.0 [49.9, 66.7]"].assert_eq(&of(&[&fair]));
        expect!["60.0 [0.0, 100.0]"].assert_eq(&of(&[&good, &bad, &fair]));
    }

    /// Two arms that answer twelve questions alike, or all but one, are not told apart.
    #[test]
    fn fault_27_a_difference_of_arms_alike_is_not_certain() {
        let shown = |ours: &[f64], theirs: &[f64]| {
            let value = (ours.iter().sum::<f64>() - theirs.iter().sum::<f64>()) / ours.len() as f64;
            let (found, n) = answers(&[ours]).minus(&answers(&[theirs]), value).expect("the same questions");
            format!("{found} over {n}")
        };
        let mut eleven = [1.0; 12];
        eleven[3] = 0.0;
        expect!["0.0 [-26.5, 26.5] over 12"].assert_eq(&shown(&[0.0; 12], &[0.0; 12]));
        expect!["8.3 [-22.1, 38.5] over 12"].assert_eq(&shown(&[1.0; 12], &eleven));
        expect!["100.0 [47.1, 100.0] over 12"].assert_eq(&shown(&[1.0; 12], &[0.0; 12]));
        expect!["0.0 [-97.5, 97.5] over 1"].assert_eq(&shown(&[0.5], &[0.5]));
    }

    /// Seeds that share no question: what varies between them cannot be told apart, and all of it counts.
    #[test]
    fn fault_26_seeds_on_other_questions_still_vary() {
        let it = answers(&[&[1.0, 1.0, -1.0, -1.0], &[-1.0, -1.0, 0.0, 0.0]]);
        expect!["50.0 [0.0, 100.0]"].assert_eq(&it.mean().expect("scored").to_string());
        assert!(it.seed_margin() > 1.0);
    }

    #[test]
    fn other_questions_or_other_seeds_are_no_pairs() {
        let (two, three) = (answers(&[&[1.0, 0.0]]), answers(&[&[1.0, 0.0, 1.0]]));
        assert_eq!(two.minus(&three, 0.0), None);
        assert_eq!(two.minus(&answers(&[&[1.0, 0.0], &[1.0, 0.0]]), 0.0), None);
        assert_eq!(two.minus(&answers(&[&[-1.0, -1.0]]), 0.0), None);
    }

    #[test]
    fn a_row_is_a_line_of_a_file() {
        let it = answers(&[&[1.0, 0.1, -1.0, 1.0 / 3.0]]);
        let text = serde_json::to_string(&it.by_seed).expect("plain data");
        expect![[r#"["1 0.1 - 0.3333333333333333"]"#]].assert_eq(&text);
        assert_eq!(serde_json::from_str::<Vec<Row>>(&text).expect("rows"), it.by_seed);
        for bad in ["NaN", "inf", "1e999", "2", "-0.5", "x"] {
            let error = Row::try_from(bad.to_owned()).expect_err("no score");
            assert_eq!(error, format!("`{bad}` is no score: a number in [0, 1], or `-`"));
        }
    }

    proptest! {
        #[test]
        fn a_difference_turns_with_its_arms(rows in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0), 1..12)) {
            let (ours, theirs): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
            let value = (ours.iter().sum::<f64>() - theirs.iter().sum::<f64>()) / ours.len() as f64;
            let (ours, theirs) = (answers(&[&ours]), answers(&[&theirs]));
            let (there, back) = (ours.minus(&theirs, value), theirs.minus(&ours, -value));
            let (there, back) = (there.expect("pairs").0, back.expect("pairs").0);
            prop_assert!((there.low() + back.high()).abs() < 1e-7 && (there.high() + back.low()).abs() < 1e-7);
        }
    }
}
