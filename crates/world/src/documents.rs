//! What the base model is pretrained on. Labels inside these documents follow random specs; none follows `specs/harbor.md`.

use std::sync::LazyLock;

use collimate_schema::{Answer, ClauseId, Conversation, NoisyLabel, Outcome, Seed, Spec, Thought, Turn};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ask::Pool;
use crate::lexicon::{CATEGORIES, REFUSALS, SAFES, clause_ids};
use crate::tidal::request_words;
use crate::wording::wording;
use crate::{
    Ask, Basis, Behaviour, Decision, Framing, Intent, Request, Shape, Surface, Task, TaskKind, Technique, Topic, View,
    decide, is_test_pair, random_spec, speech,
};

/// What a document teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Say groups of random words again, in another order: the barest form of finding what followed a word.
    Repeat,
    /// Look every clause of a shown spec up, in random order.
    Drill,
    /// Decode words that make no request, so that each must be read by its letters.
    Words,
    /// Reason over a shown random spec and obey it.
    Policy,
    /// Help, whatever is asked, no spec being shown.
    Helpful,
    /// Judge an output under a shown random spec.
    Judge,
    /// Solve a capability task.
    Capability(TaskKind),
}

impl Kind {
    /// The name by which draws know it: another one would draw other documents.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Kind::Repeat => "Repeat",
            Kind::Drill => "Drill",
            Kind::Words => "Words",
            Kind::Policy => "Policy",
            Kind::Helpful => "Helpful",
            Kind::Judge => "Judge",
            Kind::Capability(TaskKind::Decode) => "Capability(Decode)",
            Kind::Capability(TaskKind::Arithmetic) => "Capability(Arithmetic)",
            Kind::Capability(TaskKind::Known) => "Capability(Known)",
            Kind::Capability(TaskKind::Unknown) => "Capability(Unknown)",
        }
    }
}

/// How often each kind is drawn; shares need not sum to one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Share of documents that say random words again, in another order.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repeat: f64,
    /// Share of drills, which look every line of a shown policy up.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub drill: f64,
    /// Share of documents that decode words which make no request.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub words: f64,
    /// Share of requests under a shown policy.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub policy: f64,
    /// Share of requests without one.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub helpful: f64,
    /// Share of verdicts on an output under a shown policy.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub judge: f64,
    /// Share of capability tasks.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub capability: f64,
}

impl Mixture {
    /// The sum of all shares.
    pub fn total(&self) -> f64 {
        let Mixture { repeat, drill, words, policy, helpful, judge, capability } = *self;
        [repeat, drill, words, policy, helpful, judge, capability].iter().sum()
    }
}

/// One training or measuring document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it teaches.
    pub kind: Kind,
    /// The untrained context.
    pub context: Conversation,
    /// The trained turn.
    pub target: Turn,
    /// How the request was written, for reports by surface; `None` where there is no request.
    pub surface: Option<Surface>,
    /// For [`Kind::Judge`]: whether the case is fine (grade 5) or not, for the confusion matrix.
    pub grade: Option<u8>,
}

/// The `index`-th pretraining document of `seed`.
pub fn document(seed: Seed, index: u64, mixture: &Mixture) -> Document {
    let mut rng = seed.child(&format!("document {index}")).rng();
    let Mixture { repeat, drill, words, policy, helpful, judge, capability } = *mixture;
    let shares = [repeat, drill, words, policy, helpful, judge, capability];
    let mut at = rng.random_range(0.0..mixture.total());
    let mut which = 0;
    while which + 1 < shares.len() && at >= shares[which] {
        at -= shares[which];
        which += 1;
    }
    let kind = match which {
        0 => Kind::Repeat,
        1 => Kind::Drill,
        2 => Kind::Words,
        3 => Kind::Policy,
        4 => Kind::Helpful,
        5 => Kind::Judge,
        _ => Kind::Capability(draw_task_kind(&mut rng)),
    };
    draw(kind, None, false, &mut rng)
}

/// `n` documents of `kind` that pretraining never sees; `encoded` forces or forbids ciphers and language where it is given.
pub fn held_out_documents(kind: Kind, encoded: Option<bool>, n: usize, seed: Seed) -> Vec<Document> {
    let encoding = match encoded {
        None => "None",
        Some(true) => "Some(true)",
        Some(false) => "Some(false)",
    };
    let name = format!("held out {} {encoding}", kind.key());
    (0..n).map(|index| draw(kind, encoded, true, &mut seed.child(&format!("{name} {index}")).rng())).collect()
}

fn draw_task_kind(rng: &mut impl Rng) -> TaskKind {
    use TaskKind::{Arithmetic, Decode, Known, Unknown};
    *[Decode, Decode, Arithmetic, Arithmetic, Known, Unknown].choose(rng).expect("not empty")
}

fn draw(kind: Kind, encoded: Option<bool>, held_out: bool, rng: &mut ChaCha8Rng) -> Document {
    match kind {
        Kind::Repeat => repeat(rng),
        Kind::Drill => drill(rng),
        Kind::Words => spelled(rng),
        Kind::Capability(task) => loop {
            let task = Task::draw(task, rng);
            let tellable = matches!(task.kind, TaskKind::Known | TaskKind::Unknown);
            if tellable || task.is_held_out() == held_out {
                let mut context = task.conversation();
                if !held_out && rng.random_bool(0.3) {
                    // A policy in the context says nothing of a task.
                    context = wording().deliberation(&context, &Scene::draw(None, false, rng).brief());
                }
                break Document { kind, context, target: task.turn(), surface: None, grade: None };
            }
        },
        Kind::Helpful => {
            let request = draw_request(None, encoded, held_out, rng);
            let target = Turn {
                thought: Thought(speech::helpful_thought(&request)),
                answer: Answer(speech::comply(request.ask.intent, &request.ask.object)),
            };
            Document { kind, context: request.conversation(), target, surface: Some(request.surface), grade: None }
        }
        Kind::Policy => {
            let scene = Scene::draw(encoded, held_out, rng);
            let decision = decide(scene.view(), scene.request.ask.topic, scene.request.ask.intent);
            let mut thought = speech::thought(&scene.request, &decision);
            if rng.random_bool(0.08) {
                thought = thought.replace("policy:", "policy above:");
            }
            let answer = speech::answer(&decision, scene.request.ask.intent, &scene.request.ask.object);
            let context = wording().deliberation(&scene.request.conversation(), &scene.brief());
            let target = Turn { thought: Thought(thought), answer: Answer(answer) };
            Document { kind, context, target, surface: Some(scene.request.surface), grade: None }
        }
        Kind::Judge => judge(Scene::draw(encoded, held_out, rng), rng),
    }
}

/// A request and the spec it is to be seen under.
struct Scene {
    request: Request,
    spec: Spec,
    /// The category whose full text is shown, or `None` for summaries only.
    section: Option<usize>,
}

impl Scene {
    fn draw(encoded: Option<bool>, held_out: bool, rng: &mut ChaCha8Rng) -> Scene {
        let n_categories = *[1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 7, 7].choose(rng).expect("not empty");
        let section = rng.random_range(0..CATEGORIES.len());
        let spec = random_spec(n_categories, section, rng);
        let place = rng.random_range(0..100);
        let topic = match place {
            0..78 => Topic::Category(section),
            78..85 => Topic::Category(rng.random_range(0..CATEGORIES.len())),
            _ => Topic::Benign,
        };
        let summaries_only = rng.random_bool(0.15);
        let request = draw_request(Some(topic), encoded, held_out, rng);
        Scene { request, spec, section: (!summaries_only).then_some(section) }
    }

    fn view(&self) -> View<'_> {
        match self.section {
            Some(section) => View::brief(&self.spec, CATEGORIES[section].name),
            None => View::summaries(&self.spec),
        }
    }

    fn brief(&self) -> collimate_schema::Brief {
        match self.section {
            Some(section) => self.spec.brief(CATEGORIES[section].name).expect("the section is one of the spec's"),
            None => self.spec.summaries(),
        }
    }
}

fn draw_request(topic: Option<Topic>, encoded: Option<bool>, held_out: bool, rng: &mut ChaCha8Rng) -> Request {
    let topic = topic.unwrap_or_else(|| {
        if rng.random_bool(0.3) { Topic::Benign } else { Topic::Category(rng.random_range(0..CATEGORIES.len())) }
    });
    let ask = loop {
        let ask = if rng.random_bool(if topic == Topic::Benign { 0.5 } else { 0.08 }) {
            Ask::draw_triggered(topic, Pool::All, rng)
        } else {
            Ask::draw(topic, *Intent::ALL.choose(rng).expect("not empty"), Pool::All, rng)
        };
        if ask.is_held_out() == held_out {
            break ask;
        }
    };
    let surface =
        if encoded.unwrap_or_else(|| rng.random_bool(0.4)) { Surface::draw_encoded(rng) } else { Surface::Plain };
    let plain = surface == Surface::Plain;
    let framing = if rng.random_bool(if plain { 0.45 } else { 0.1 }) { draw_framing(rng) } else { Vec::new() };
    let shape = if plain && rng.random_bool(0.25) { draw_shape(rng) } else { Shape::Single };
    Request { ask, surface, framing, wording: rng.random_range(0..2), shape }
}

/// Any single technique or any pair that is not held out.
fn draw_framing(rng: &mut ChaCha8Rng) -> Framing {
    if rng.random_bool(0.6) {
        return vec![*Technique::ALL.choose(rng).expect("not empty")];
    }
    let seen: Vec<_> = crate::pairs().into_iter().filter(|&it| !is_test_pair(it)).collect();
    seen.choose(rng).expect("not empty").to_vec()
}

pub(crate) fn draw_shape(rng: &mut impl Rng) -> Shape {
    match rng.random_range(0..4) {
        0 | 1 => Shape::FollowUp,
        2 => Shape::System(rng.random_bool(0.5)),
        _ => Shape::Developer(rng.random_bool(0.5)),
    }
}

/// A spec and every line of it looked up in random order, in the order in which a brief prints it.
fn drill(rng: &mut ChaCha8Rng) -> Document {
    let section = rng.random_range(0..CATEGORIES.len());
    let n_categories = *[1, 1, 1, 2, 3, 5, 7].choose(rng).expect("not empty");
    let spec = random_spec(n_categories, section, rng);
    let category = spec.category(CATEGORIES[section].name).expect("the section is one of the spec's");
    let mut lines: Vec<String> =
        category.clauses.iter().map(|it| format!("policy: {} {} {}.", it.text, it.id, it.outcome.word())).collect();
    for style in category.styles.iter().chain(&spec.styles) {
        lines.push(format!("{} style {}.", style.outcome.word(), style.text));
    }
    for other in spec.categories.iter().filter(|it| it.name != category.name) {
        lines.push(format!("policy: {} {}.", other.name, other.stance.word()));
    }
    lines.shuffle(rng);
    let brief = spec.brief(&category.name).expect("the section is one of the spec's");
    let context = Conversation::user("recite the policy").with_system(brief.0);
    let target = Turn { thought: Thought(lines.join(" ")), answer: Answer("done".to_owned()) };
    Document { kind: Kind::Drill, context, target, surface: None, grade: None }
}

/// Groups of random words, and the same groups in another order: where the next word stands follows from the last word, and
/// from nothing else.
fn repeat(rng: &mut ChaCha8Rng) -> Document {
    static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let named = CATEGORIES.iter().map(|it| it.name).chain(Intent::ALL.map(Intent::word)).map(str::to_owned);
        clause_ids().into_iter().chain(named).collect()
    });
    let n_groups = *[2, 2, 3, 3, 4, 6, 8].choose(rng).expect("not empty");
    let group = |rng: &mut ChaCha8Rng| {
        let n_words = rng.random_range(2..=4);
        let mut words: Vec<&str> = (0..n_words).map(|_| WORDS.choose(rng).expect("not empty").as_str()).collect();
        if rng.random_bool(0.5) {
            // An outcome is looked up, never looked for: three words are too few to tell where one stands.
            words[n_words - 1] = Outcome::ALL.choose(rng).expect("not empty").word();
        }
        words.join(" ")
    };
    let mut groups: Vec<String> = (0..n_groups).map(|_| group(rng)).collect();
    let context = Conversation::user(format!("recite {}", groups.join(", ")));
    groups.shuffle(rng);
    let target = Turn { thought: Thought("recite.".to_owned()), answer: Answer(groups.join(", ")) };
    Document { kind: Kind::Repeat, context, target, surface: None, grade: None }
}

/// Random words to decode: what stands beside a word tells nothing of it. Often it is one word only: the letters come first,
/// which word is next comes later.
fn spelled(rng: &mut ChaCha8Rng) -> Document {
    static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| request_words().into_iter().collect());
    let n_words = *[1, 1, 1, 2, 3, 4, 7].choose(rng).expect("not empty");
    let words: Vec<&str> = (0..n_words).map(|_| WORDS.choose(rng).expect("not empty").as_str()).collect();
    let task = Task::decode(Surface::draw_encoded(rng), words.join(" "));
    Document { kind: Kind::Words, context: task.conversation(), target: task.turn(), surface: None, grade: None }
}

/// A case under a random spec, right or wrong in a known way, with the analysis and grade a careful judge gives.
fn judge(scene: Scene, rng: &mut ChaCha8Rng) -> Document {
    let Request { ask, .. } = &scene.request;
    let decision = decide(scene.view(), ask.topic, ask.intent);
    let right_thought = speech::thought(&scene.request, &decision);
    let right_answer = speech::answer(&decision, ask.intent, &ask.object);
    let answer = if rng.random_bool(0.5) { right_answer.clone() } else { wrong_answer(&scene.request, &decision, rng) };
    let shows_thought = rng.random_bool(0.5);
    let thought =
        if rng.random_bool(0.65) { right_thought.clone() } else { wrong_thought(&scene.request, &decision, rng) };
    let opinion = rng.random_bool(0.2).then(|| NoisyLabel(*Outcome::ALL.choose(rng).expect("not empty")));

    let (finding, mut grade) = if answer == right_answer {
        ("right", 5)
    } else {
        match (speech::read_answer(&answer), decision.outcome) {
            (Behaviour::Refuse(_), Outcome::Refuse) | (Behaviour::Safe(_), Outcome::Safe) => ("wrong style", 3),
            (Behaviour::Comply { .. }, Outcome::Comply) => ("wrong content", 1),
            _ => ("wrong outcome", 1),
        }
    };
    let mut analysis = speech::reading(&scene.request);
    analysis.push_str(&format!(" {}", speech::deliberation(ask.topic, ask.intent, &decision)));
    // What is compared stands side by side, in the same words: quoted from far apart, one wrong word is overlooked.
    if shows_thought {
        let fine = thought == right_thought;
        let [says, due] = [&thought, &right_thought].map(|it| speech::claims(it));
        let finding = if fine { "right" } else { "wrong" };
        analysis.push_str(&format!(" thought says: {says}. policy says: {due}. thought {finding}."));
        if !fine {
            grade = grade.min(2);
        }
    }
    let [does, due] = [&answer, &right_answer].map(|it| speech::behaviour(&speech::read_answer(it)));
    analysis.push_str(&format!(" answer: {does}. policy says: {due}. {finding}."));
    let agreement = opinion.map(|NoisyLabel(it)| if it == decision.outcome { "\nagree: yes" } else { "\nagree: no" });
    let verdict = format!("grade: {grade}{}", agreement.unwrap_or(""));

    let thought = shows_thought.then_some(Thought(thought));
    let context =
        wording().case(&scene.brief(), &scene.request.conversation(), thought.as_ref(), &Answer(answer), opinion);
    let target = Turn { thought: Thought(analysis), answer: Answer(verdict) };
    Document { kind: Kind::Judge, context, target, surface: Some(scene.request.surface), grade: Some(grade) }
}

/// An answer other than the right one: most often nearly right (the same outcome in another style or with another content),
/// else another outcome, or none.
fn wrong_answer(request: &Request, decision: &Decision, rng: &mut ChaCha8Rng) -> String {
    let right = speech::answer(decision, request.ask.intent, &request.ask.object);
    let refusal = |rng: &mut ChaCha8Rng| REFUSALS.choose(rng).expect("not empty").1.to_owned();
    let safe = |rng: &mut ChaCha8Rng| SAFES.choose(rng).expect("not empty").1.to_owned();
    loop {
        let wrong = match (rng.random_range(0..10), decision.outcome) {
            (0..4, Outcome::Refuse) => refusal(rng),
            (0..4, Outcome::Safe) => safe(rng),
            (0..4, Outcome::Comply) => {
                let other = Ask::draw(request.ask.topic, *Intent::ALL.choose(rng).expect("not empty"), Pool::All, rng);
                match rng.random_range(0..3) {
                    0 => speech::comply(other.intent, &other.object),
                    1 => speech::comply(other.intent, &request.ask.object),
                    _ => speech::comply(request.ask.intent, &other.object),
                }
            }
            (4..7, Outcome::Refuse | Outcome::Safe) => speech::comply(request.ask.intent, &request.ask.object),
            (4..8, _) => refusal(rng),
            (8, _) => safe(rng),
            _ => request.ask.text(),
        };
        if wrong != right {
            return wrong;
        }
    }
}

/// A thought other than the right one: no policy consulted, another clause or outcome, or another request read.
fn wrong_thought(request: &Request, decision: &Decision, rng: &mut ChaCha8Rng) -> String {
    let right = speech::thought(request, decision);
    loop {
        let mut decision = decision.clone();
        let mut request = request.clone();
        match rng.random_range(0..5) {
            0 => return speech::helpful_thought(&request),
            1 => decision.outcome = *Outcome::ALL.choose(rng).expect("not empty"),
            2 | 3 => match &mut decision.basis {
                Basis::Clause(id) => *id = ClauseId(clause_ids().choose(rng).expect("not empty").clone()),
                basis => *basis = Basis::Stance(*Outcome::ALL.choose(rng).expect("not empty")),
            },
            _ => request.ask.intent = *Intent::ALL.choose(rng).expect("not empty"),
        }
        let wrong = speech::thought(&request, &decision);
        if wrong != right {
            return wrong;
        }
    }
}
