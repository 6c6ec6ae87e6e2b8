//! Harbor's prompts for the recipes: safety prompts to train on, cases to evaluate, capability data.

use collimate_schema::{Example, NoisyLabel, Prompt, PromptId, Seed, Source, Spec};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::ask::Pool;
use crate::documents::draw_shape;
use crate::lexicon::CATEGORIES;
use crate::technique::test_framings;
use crate::{
    Ask, Cipher, Framing, Intent, Request, Shape, Surface, Task, TaskKind, Technique, Topic, Truth, is_test_pair, pairs,
};

/// What safety data may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diet {
    /// Plain words and mild dressing: what fine-tuning sees.
    Mild,
    /// Harder: most single techniques and the pairs that are not held out, still in plain words: what RL sees.
    Hard,
    /// As [`Diet::Mild`], with ciphers and the invented language: the full-data arm of table 3.
    Encoded,
}

impl Diet {
    /// The name by which draws know it: another one would draw other prompts.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Diet::Mild => "Mild",
            Diet::Hard => "Hard",
            Diet::Encoded => "Encoded",
        }
    }

    /// What the names of its prompts begin with: a name says which prompt of a run is meant, and requests draw by it.
    fn prefix(self) -> &'static str {
        match self {
            Diet::Mild => "",
            Diet::Hard => "hard-",
            Diet::Encoded => "encoded-",
        }
    }
}

/// `n` safety prompts about the spec's categories, without labels. Objects, wordings, techniques and pairs of the test split
/// never occur.
pub fn safety_prompts(diet: Diet, n: usize, seed: Seed) -> Vec<Prompt> {
    let width = n.to_string().len();
    safety_requests(diet, n, seed)
        .enumerate()
        .map(|(index, request)| {
            let category = CATEGORIES[index % CATEGORIES.len()].name;
            Prompt {
                id: PromptId(format!("{}{}-{index:0width$}", diet.prefix(), category.to_lowercase())),
                conversation: request.conversation(),
                category: Some(category.to_owned()),
                label: None::<NoisyLabel>,
            }
        })
        .collect()
}

/// What is right for each of [`safety_prompts`], to measure judges against; nothing selects or rewards by it.
pub fn safety_truths(spec: &Spec, diet: Diet, n: usize, seed: Seed) -> Vec<Truth> {
    safety_requests(diet, n, seed).map(|request| Truth::of(spec, &request)).collect()
}

fn safety_requests(diet: Diet, n: usize, seed: Seed) -> impl Iterator<Item = Request> {
    (0..n).map(move |index| {
        let seed = seed.child(&format!("safety {} {index}", diet.key()));
        draw_safety(diet, index % CATEGORIES.len(), &mut seed.rng())
    })
}

/// Three of four prompts are about the category, the rest are look-alikes that only sound so.
fn draw_safety(diet: Diet, category: usize, rng: &mut ChaCha8Rng) -> Request {
    let ask = match rng.random_range(0..20) {
        0..3 => Ask::draw_triggered(Topic::Benign, Pool::Train, rng),
        3..5 => Ask::draw(Topic::Benign, *Intent::ALL.choose(rng).expect("not empty"), Pool::Train, rng),
        5..7 => Ask::draw_triggered(Topic::Category(category), Pool::Train, rng),
        _ => Ask::draw(Topic::Category(category), *Intent::ALL.choose(rng).expect("not empty"), Pool::Train, rng),
    };
    let mut request = Request { wording: rng.random_range(0..2), ..Request::plain(ask) };
    match diet {
        Diet::Mild => request.framing = draw_light(0.3, rng),
        Diet::Hard => request.framing = draw_hard(rng),
        Diet::Encoded if rng.random_bool(0.5) => request.surface = Surface::draw_encoded(rng),
        Diet::Encoded => request.framing = draw_light(0.3, rng),
    }
    if request.surface == Surface::Plain && rng.random_bool(0.25) {
        request.shape = draw_shape(rng);
    }
    request
}

fn draw_light(share: f64, rng: &mut ChaCha8Rng) -> Framing {
    if rng.random_bool(share) { vec![*Technique::LIGHT.choose(rng).expect("not empty")] } else { Vec::new() }
}

fn draw_hard(rng: &mut ChaCha8Rng) -> Framing {
    let seen = |it: &Technique| !Technique::UNSEEN.contains(it);
    let mut framings: Vec<Framing> = Technique::ALL.into_iter().filter(seen).map(|it| vec![it]).collect();
    let n_singles = framings.len();
    framings.extend(pairs().into_iter().filter(|it| !is_test_pair(*it) && it.iter().all(seen)).map(|it| it.to_vec()));
    let at =
        if rng.random_bool(0.5) { rng.random_range(0..n_singles) } else { rng.random_range(n_singles..framings.len()) };
    framings.swap_remove(at)
}

/// A prompt with its ground truth, for evaluation.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is asked. The category is the gold one of the request (`None` for look-alikes).
    pub prompt: Prompt,
    /// The technique or cipher, where the suite has several versions of one request.
    pub technique: Option<String>,
    /// Which request it is a version of: the unit of resampling.
    pub group: PromptId,
    /// What is right.
    pub truth: Truth,
}

/// Everything an arm is asked, by suite. Objects and wordings are those of the test split.
#[derive(Clone, Debug)]
pub struct Cases {
    /// Plain requests the spec refuses or answers with care.
    pub disallowed: Vec<Case>,
    /// Disallowed requests under every framing of the test split.
    pub jailbreak: Vec<Case>,
    /// Disallowed requests in every cipher.
    pub encodings: Vec<Case>,
    /// Disallowed requests in the invented language.
    pub language: Vec<Case>,
    /// Requests within the categories that the spec allows.
    pub allowed: Vec<Case>,
    /// Harmless requests that sound harmful.
    pub lookalike: Vec<Case>,
    /// Harmless twins of disallowed requests: the same words about a harmless object.
    pub twin: Vec<Case>,
}

/// How many requests each suite has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseCounts {
    /// Plain disallowed requests; a third as many each of allowed, look-alike and twin.
    #[schemars(range(min = 1, max = 100_000), extend("unit" = "requests"))]
    pub plain: usize,
    /// Requests that meet every framing.
    #[schemars(range(min = 1, max = 100_000), extend("unit" = "requests"))]
    pub jailbreak: usize,
    /// Requests that meet every cipher; as many in the invented language.
    #[schemars(range(min = 1, max = 100_000), extend("unit" = "requests"))]
    pub encoded: usize,
}

/// Draws the cases of one evaluation under `spec`.
pub fn cases(spec: &Spec, counts: &CaseCounts, seed: Seed) -> Cases {
    let plain = counts.plain;
    let disallowed = disallowed_asks(spec, plain, seed.child("disallowed"));
    let hard = disallowed_asks(spec, counts.jailbreak, seed.child("jailbreak"));
    let coded = disallowed_asks(spec, counts.encoded, seed.child("encoded"));
    let one = |name: &str, index: usize, request: Request| Case::new(spec, name, index, None, request);
    let third = plain.div_ceil(3);
    let mut jailbreak = Vec::new();
    for (index, ask) in hard.iter().enumerate() {
        for (wording, framing) in test_framings().into_iter().enumerate() {
            let technique = framing.iter().map(|it| it.name()).collect::<Vec<_>>().join("+");
            let request = Request { framing, wording: index + wording, ..Request::plain(ask.clone()) };
            jailbreak.push(Case::new(spec, "jailbreak", index, Some(technique), request));
        }
    }
    let mut encodings = Vec::new();
    for (index, ask) in coded.iter().enumerate() {
        for cipher in Cipher::ALL {
            let request = Request { surface: Surface::Cipher(cipher), ..Request::plain(ask.clone()) };
            encodings.push(Case::new(spec, "encodings", index, Some(cipher.name().to_owned()), request));
        }
    }
    Cases {
        disallowed: enumerate(&disallowed, |index, ask| one("disallowed", index, Request::plain(ask.clone()))),
        jailbreak,
        encodings,
        language: enumerate(&coded, |index, ask| {
            one("language", index, Request { surface: Surface::Tidal, ..Request::plain(ask.clone()) })
        }),
        allowed: enumerate(&allowed_asks(spec, third, seed.child("allowed")), |index, ask| {
            let shape = if index % 4 == 3 { Shape::FollowUp } else { Shape::Single };
            one("allowed", index, Request { shape, ..Request::plain(ask.clone()) })
        }),
        lookalike: (0..third)
            .map(|index| {
                let mut rng = seed.child(&format!("lookalike {index}")).rng();
                one("lookalike", index, Request::plain(Ask::draw_triggered(Topic::Benign, Pool::Test, &mut rng)))
            })
            .collect(),
        twin: enumerate(&disallowed[..third], |index, ask| {
            let mut rng = seed.child(&format!("twin {index}")).rng();
            one("twin", index, Request::plain(ask.twin(Topic::Benign, Pool::Test, &mut rng)))
        }),
    }
}

fn enumerate(asks: &[Ask], case: impl Fn(usize, &Ask) -> Case) -> Vec<Case> {
    asks.iter().enumerate().map(|(index, ask)| case(index, ask)).collect()
}

impl Case {
    fn new(spec: &Spec, suite: &str, index: usize, technique: Option<String>, request: Request) -> Case {
        let group = PromptId(format!("{suite}-{index:04}"));
        let id = match &technique {
            Some(technique) => PromptId(format!("{group}-{technique}")),
            None => group.clone(),
        };
        let category = match request.ask.topic {
            Topic::Category(category) => Some(CATEGORIES[category].name.to_owned()),
            Topic::Benign => None,
        };
        let prompt = Prompt { id, conversation: request.conversation(), category, label: None };
        Case { prompt, technique, group, truth: Truth::of(spec, &request) }
    }
}

fn disallowed_asks(spec: &Spec, n: usize, seed: Seed) -> Vec<Ask> {
    asks_where(spec, n, seed, |outcome| outcome != collimate_schema::Outcome::Comply)
}

fn allowed_asks(spec: &Spec, n: usize, seed: Seed) -> Vec<Ask> {
    asks_where(spec, n, seed, |outcome| outcome == collimate_schema::Outcome::Comply)
}

fn asks_where(spec: &Spec, n: usize, seed: Seed, wanted: impl Fn(collimate_schema::Outcome) -> bool) -> Vec<Ask> {
    (0..n)
        .map(|index| {
            let mut rng = seed.child(&index.to_string()).rng();
            loop {
                let topic = Topic::Category(rng.random_range(0..CATEGORIES.len()));
                let ask = if rng.random_bool(0.15) {
                    Ask::draw_triggered(topic, Pool::Test, &mut rng)
                } else {
                    Ask::draw(topic, *Intent::ALL.choose(&mut rng).expect("not empty"), Pool::Test, &mut rng)
                };
                if wanted(crate::decide(crate::View::whole(spec), ask.topic, ask.intent).outcome) {
                    break ask;
                }
            }
        })
        .collect()
}

/// `n` capability tasks, half of them decoding, for evaluation: none of them was pretrained on.
pub fn capability_cases(n: usize, seed: Seed) -> Vec<(PromptId, Task)> {
    (0..n)
        .map(|index| (PromptId(format!("capability-{index:04}")), draw_task("capability case", index, true, seed)))
        .collect()
}

/// `n` capability examples, to be mixed into fine-tuning (section 3.3); disjoint from [`capability_cases`].
pub fn capability_examples(n: usize, seed: Seed) -> Vec<(Example, Task)> {
    (0..n)
        .map(|index| {
            let task = draw_task("capability example", index, false, seed);
            let prompt = PromptId(format!("capability-{index:05}"));
            (Example { prompt, context: task.conversation(), target: task.turn(), source: Source::Capability }, task)
        })
        .collect()
}

fn draw_task(name: &str, index: usize, held_out: bool, seed: Seed) -> Task {
    let mut rng = seed.child(&format!("{name} {index}")).rng();
    let kind = *[TaskKind::Decode, TaskKind::Decode, TaskKind::Arithmetic, TaskKind::Known, TaskKind::Unknown]
        .choose(&mut rng)
        .expect("not empty");
    loop {
        let task = Task::draw(kind, &mut rng);
        if matches!(kind, TaskKind::Known | TaskKind::Unknown) || task.is_held_out() == held_out {
            break task;
        }
    }
}
