//! Whether intervals hold the truth as often as they say, by simulation: exams of harder and easier questions, answered by better
//! and worse models of one training, over and over.

use collimate_schema::{PromptId, Seed};
use rand::Rng;

use super::{Statistic, Value};

/// On the scale of log-odds: the mean, and how far questions, models, and a model's way with a question spread.
#[derive(Clone, Copy, Debug)]
struct World {
    ease: f64,
    questions: f64,
    models: f64,
    ways: f64,
}

const WORLDS: [World; 6] = [
    World { ease: 0.0, questions: 1.0, models: 0.0, ways: 0.5 },
    World { ease: 0.0, questions: 1.0, models: 0.3, ways: 0.5 },
    World { ease: 1.5, questions: 1.5, models: 0.5, ways: 0.5 },
    World { ease: 2.5, questions: 1.0, models: 0.5, ways: 0.0 },
    World { ease: 0.0, questions: 2.5, models: 1.0, ways: 1.0 },
    World { ease: -1.0, questions: 0.5, models: 0.5, ways: 0.5 },
];

fn normal(rng: &mut impl Rng) -> f64 {
    (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

fn chance(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

impl World {
    /// The share that models of this training pass, over all models and questions.
    fn truth(self) -> f64 {
        let spread = self.questions.hypot(self.models).hypot(self.ways);
        let steps = || (-600..=600).map(|it| f64::from(it) / 100.0);
        let weight = |z: f64| (-0.5 * z * z).exp();
        steps().map(|z| weight(z) * chance(self.ease + spread * z)).sum::<f64>() / steps().map(weight).sum::<f64>()
    }

    /// Whether each of `n_models` passes each question, of which `hardness` tells how hard it is.
    fn exam(self, hardness: &[f64], n_models: usize, rng: &mut impl Rng) -> Vec<Vec<(PromptId, Value)>> {
        let model = |_| {
            let skill = self.ease + self.models * normal(rng);
            let mut answer = |(place, hard): (usize, &f64)| {
                let log_odds = skill + self.questions * hard + self.ways * normal(rng);
                (PromptId(place.to_string()), Value::Pass(rng.random::<f64>() < chance(log_odds)))
            };
            hardness.iter().enumerate().map(&mut answer).collect()
        };
        (0..n_models).map(model).collect()
    }
}

const N_TRIALS: u32 = 200;

/// How often an interval of the share, one of goodness over the same answers, and one of the difference between two trainings
/// that answer the same exam hold the truth.
fn coverage(world: World, n_questions: usize, n_models: usize, seed: Seed) -> [f64; 3] {
    let mut rng = seed.rng();
    let better = World { ease: world.ease + 0.5, ..world };
    let (truth, gain) = (world.truth(), better.truth() - world.truth());
    let mut held = [0u32; 3];
    for _ in 0..N_TRIALS {
        let hardness: Vec<f64> = (0..n_questions).map(|_| normal(&mut rng)).collect();
        let runs = [world, better].map(|it| it.exam(&hardness, n_models, &mut rng));
        let [ours, theirs] = runs.each_ref().map(|runs| {
            runs.iter().map(|run| run.iter().map(|(name, value)| (name, value)).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        let share = Statistic::Average.of(&ours).estimate().expect("scored");
        let goodness = Statistic::Goodness.of(&ours).estimate().expect("scored");
        let less = Statistic::Average.of(&theirs).estimate().expect("scored").value() - share.value();
        let answers = [theirs, ours].map(|it| Statistic::Average.answers(&it));
        let (difference, _) = answers[0].minus(&answers[1], less).expect("the same questions");
        for (at, (found, truth)) in [(share, truth), (goodness, truth), (difference, gain)].into_iter().enumerate() {
            held[at] += u32::from(found.low() <= truth && truth <= found.high());
        }
    }
    held.map(|it| f64::from(it) / f64::from(N_TRIALS))
}

/// Nominally 95%. What a row of 200 trials may miss by chance is three points, and that of all worlds together is one.
#[test]
fn fault_26_intervals_cover_questions_and_seeds() {
    for (n_questions, n_models) in [(150, 2), (100, 3), (40, 5)] {
        let found = WORLDS.map(|it| coverage(it, n_questions, n_models, Seed(n_questions as u64)));
        for (at, what) in ["share", "goodness", "difference"].into_iter().enumerate() {
            let each = found.map(|it| it[at]);
            let shown = format!("{what}, {n_questions} questions, {n_models} models: {each:?}");
            assert!(each.iter().all(|it| *it >= 0.89), "{shown}");
            assert!(each.iter().sum::<f64>() / each.len() as f64 >= 0.93, "{shown}");
        }
    }
}

/// One model tells nothing of others: its interval is over questions, for a model such as this.
#[test]
fn one_seed_covers_questions() {
    for world in WORLDS {
        let found = coverage(World { models: 0.0, ..world }, 60, 1, Seed(60));
        assert!(found.iter().all(|it| *it >= 0.92), "{world:?}: {found:?}");
    }
}
