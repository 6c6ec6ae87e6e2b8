//! Random specs: the base model learns to apply any policy it is shown, and internalises none.

use std::sync::LazyLock;

use collimate_schema::{Category, Clause, ClauseId, Outcome, Spec, Style};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::lexicon::{CATEGORIES, REFUSALS, SAFES, clause_ids};
use crate::{Intent, Topic, View, decide, harbor_spec};

/// Draws a spec of `n_categories` that include `section`; never the policy of `specs/harbor.md`.
pub fn random_spec(n_categories: usize, section: usize, rng: &mut impl Rng) -> Spec {
    loop {
        let spec = draw(n_categories, section, rng);
        if !is_harbor(&spec) {
            return spec;
        }
    }
}

/// Whether a spec asks of every request what `specs/harbor.md` asks of it, in whatever words, order and lines.
pub(crate) fn is_harbor(spec: &Spec) -> bool {
    static HARBOR: LazyLock<Spec> = LazyLock::new(harbor_spec);
    let asks = |spec, topic, intent| decide(View::whole(spec), Topic::Category(topic), intent).outcome;
    (0..CATEGORIES.len())
        .all(|topic| Intent::ALL.into_iter().all(|intent| asks(spec, topic, intent) == asks(&HARBOR, topic, intent)))
}

fn draw(n_categories: usize, section: usize, rng: &mut impl Rng) -> Spec {
    let mut others: Vec<usize> = (0..CATEGORIES.len()).filter(|&it| it != section).collect();
    others.shuffle(rng);
    others.truncate(n_categories.saturating_sub(1));
    let mut shown = others;
    shown.push(section);
    shown.shuffle(rng);
    let described = rng.random_bool(0.5);
    let categories = shown.into_iter().map(|index| draw_category(index, described, rng)).collect();
    let refusal = REFUSALS.choose(rng).expect("not empty").0.to_owned();
    Spec { title: "policy".to_owned(), categories, styles: vec![Style { outcome: Outcome::Refuse, text: refusal }] }
}

fn draw_category(index: usize, described: bool, rng: &mut impl Rng) -> Category {
    let words = &CATEGORIES[index];
    let mut intents = Intent::ALL.to_vec();
    intents.shuffle(rng);
    let n_clauses = if rng.random_bool(0.35) { intents.len() } else { rng.random_range(3..intents.len()) };
    intents.truncate(n_clauses);
    let mut ids = clause_ids();
    ids.shuffle(rng);
    let clauses = intents
        .iter()
        .zip(ids)
        .map(|(intent, id)| Clause {
            id: ClauseId(id),
            outcome: draw_outcome(rng),
            text: intent.word().to_owned(),
            line: 0,
        })
        .collect();
    let safe = SAFES.choose(rng).expect("not empty").0.to_owned();
    Category {
        name: words.name.to_owned(),
        stance: draw_outcome(rng),
        summary: if described { words.summary.to_owned() } else { String::new() },
        definitions: Vec::new(),
        clauses,
        styles: vec![Style { outcome: Outcome::Safe, text: safe }],
        line: 0,
    }
}

fn draw_outcome(rng: &mut impl Rng) -> Outcome {
    *Outcome::ALL.choose(rng).expect("not empty")
}
