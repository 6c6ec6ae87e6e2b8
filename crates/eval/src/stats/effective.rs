//! How many independent samples the answers of several models to shared questions are worth.
//!
//! A share's variance is that of independent samples, p (1 - p) / n, times a design effect: how much more the sums over questions
//! vary than they would if answers were independent. Near 0 and 1 there is little to estimate it from, so, as in Wilson's interval
//! itself, z²/2 questions of passes and as many of failures are supposed, each of one mind: answers to one question are taken to
//! agree until many are seen that do not. What varies between seeds adds to it ([`super::Answers`]).

use super::rate::{Rate, Z};

/// Adds up the answers to each question; `seed_margin` is by how much the share may err because there are few seeds.
pub(super) fn pooled(questions: &[Rate], seed_margin: f64) -> Rate {
    let sum = |of: fn(Rate) -> u32| questions.iter().map(|it| of(*it)).sum::<u32>();
    let rate = Rate::new(sum(Rate::hits), sum(Rate::scored), sum(Rate::unscored)).expect("parts add up");
    let n = f64::from(rate.scored());
    if rate.scored() == 0 {
        return rate;
    }
    let answers = |it: &Rate| f64::from(it.scored());
    // Answers to a question, as an answer sees it: if all agree, this is the design effect.
    let size = questions.iter().map(|it| answers(it).powi(2)).sum::<f64>() / n;
    let supposed = Z * Z / 2.0;
    let share = (f64::from(rate.hits()) + supposed * size) / (n + 2.0 * supposed * size);
    let (pass, fail) = ((1.0 - share).powi(2), share.powi(2));
    let of_answers = f64::from(rate.hits()) * pass + (n - f64::from(rate.hits())) * fail;
    let of_sums: f64 = questions.iter().map(|it| (f64::from(it.hits()) - share * answers(it)).powi(2)).sum();
    let by_question =
        (of_sums + supposed * size.powi(2) * (pass + fail)) / (of_answers + supposed * size * (pass + fail));
    let by_seed = n * (seed_margin / Z).powi(2) / (share * (1.0 - share));
    // To the millionth, so that copies of one run are worth exactly the one.
    let effective = (1e6 * n / (by_question + by_seed)).round().max(1.0) / 1e6;
    rate.worth(effective.min(n)).expect("above 0 and no more than the samples")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(hits: u32, scored: u32) -> Rate {
        Rate::new(hits, scored, 0).expect("possible")
    }

    #[test]
    fn fault_26_answers_of_one_mind_are_one_answer() {
        for n_bad in [0, 1, 6, 12] {
            let questions = |copies: u32| (0..12).map(move |it| question(if it < n_bad { 0 } else { copies }, copies));
            for copies in [1, 3, 10] {
                let found = pooled(&questions(copies).collect::<Vec<_>>(), 0.0);
                assert_eq!((found.scored(), found.effective()), (12 * copies, 12.0), "{n_bad} bad, {copies} copies");
            }
        }
    }

    #[test]
    fn answers_that_do_not_agree_are_worth_nearly_all() {
        let questions: Vec<Rate> = (0..400).map(|it| question([1, 2, 1, 0][it % 4], 2)).collect();
        let found = pooled(&questions, 0.0);
        assert!((780.0..=800.0).contains(&found.effective()), "{found:?}");
        assert!(pooled(&questions, 0.2).effective() < 30.0);
    }

    proptest! {
        #[test]
        fn worth_something_and_no_more_than_the_answers(
            counts in prop::collection::vec((0u32..5, 0u32..5), 0..40),
            seed_margin in 0.0f64..6.5,
        ) {
            let questions: Vec<Rate> = counts.iter().map(|(hits, misses)| question(*hits, hits + misses)).collect();
            let found = pooled(&questions, seed_margin);
            prop_assert_eq!(found.scored(), counts.iter().map(|(a, b)| a + b).sum::<u32>());
            prop_assert!(found.scored() == 0 || 0.0 < found.effective());
            prop_assert!(found.effective() <= f64::from(found.scored()));
        }
    }
}
