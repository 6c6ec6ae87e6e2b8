//! The card as a page. Numbers become texts here; `card.html` lays them out. Every text is escaped, and control and
//! direction characters in it are made visible: model output is data, never markup.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::{Contents, Sample, StageTime, SystemCard};
use crate::{
    About, Claim, Comparison, Estimate, Evaluation, FateCounts, FilterReport, Measure, Question, Ruling, SUITES,
    SuiteId, arms,
    estimate::percent,
    judge::Confusion,
    plot::{self, Dot, Trail, series},
};

/// The suites of the headline table and of the bars, with their short names.
const HEADLINE: [(SuiteId, &str); 8] = [
    (SuiteId::Disallowed, "disallowed"),
    (SuiteId::Jailbreak, "jailbreaks"),
    (SuiteId::Encodings, "encodings"),
    (SuiteId::Language, "language"),
    (SuiteId::Overrefusal, "not overrefuse"),
    (SuiteId::StyleRefusal, "refusal style"),
    (SuiteId::StyleSafe, "safe style"),
    (SuiteId::Capability, "capability"),
];

/// Renders the page.
pub(super) fn render(card: &SystemCard) -> String {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => minijinja::escape_formatter(out, state, &Value::from(visible(text))),
        _ => minijinja::escape_formatter(out, state, value),
    });
    env.add_template("card", include_str!("card.html")).expect("the embedded template parses: a test renders it");
    env.get_template("card")
        .and_then(|template| template.render(page(card)))
        .expect("the template asks only for what the page has: a test renders it")
}

/// `text` with characters that act on the text around them spelt out.
fn visible(text: &str) -> String {
    let acts = |it: char| {
        it.is_control() && it != '\n' && it != '\t'
            || matches!(it, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().flat_map(|it| if acts(it) { it.escape_unicode().collect::<Vec<_>>() } else { vec![it] }).collect()
}

fn page(card: &SystemCard) -> Value {
    let Contents { title, run, evaluations, waypoints, data, filters, confusions, curves, samples, limits, times } =
        card.contents();
    let arms: Vec<Arm> = evaluations.iter().enumerate().map(|(place, it)| Arm::new(it, place)).collect();
    context! {
        title,
        run,
        hash => card.hash(),
        tally => tally(card.claims()),
        headline => HEADLINE.map(|(suite, short)| context! { short, title => suite.suite().title() }),
        arms,
        pareto => Value::from_safe_string(plot::pareto(&dots(evaluations), &trails(waypoints))),
        bars => Value::from_safe_string(plot::bars(evaluations, &HEADLINE)),
        claims => card.claims().iter().map(claim).collect::<Vec<_>>(),
        data => data.iter().map(|it| context! { evidence => it.evidence, ..Value::from_serialize(&it.value) }).collect::<Vec<_>>(),
        suites => SUITES.iter().map(|it| suite(it.id(), it.title(), it.about(), evaluations)).collect::<Vec<_>>(),
        filters => filters.iter().map(|it| filter(&it.value, it.evidence.to_string())).collect::<Vec<_>>(),
        confusions => confusions.iter().map(|it| confusion(&it.value, it.evidence.to_string())).collect::<Vec<_>>(),
        curves => (!curves.is_empty()).then(|| Value::from_safe_string(plot::curves(curves))),
        samples => samples.iter().map(sample).collect::<Vec<_>>(),
        limits,
        evidence => card.evidence().into_iter().map(|(what, hash)| context! { what, hash }).collect::<Vec<_>>(),
        times => times.iter().map(|StageTime { stage, seconds }| context! { stage, seconds => format!("{seconds:.1}") }).collect::<Vec<_>>(),
    }
}

/// A row of the headline table.
#[derive(Serialize)]
struct Arm {
    key: String,
    label: String,
    series: String,
    evidence: String,
    cells: Vec<Cell>,
}

/// A number in a table.
#[derive(Serialize)]
struct Cell {
    /// `92.5`, or `no data`.
    value: String,
    /// `88.0\u{2013}95.4`; empty without data.
    interval: String,
    /// All there is to say.
    full: String,
    /// Hashes of its evidence.
    evidence: String,
}

impl Arm {
    fn new(evaluation: &Evaluation, place: usize) -> Arm {
        Arm {
            key: evaluation.arm.clone(),
            label: arms::label(&evaluation.arm).to_owned(),
            series: series(&evaluation.arm, place),
            evidence: evidence(evaluation),
            cells: HEADLINE.iter().map(|(suite, _)| Cell::new(evaluation, *suite)).collect(),
        }
    }
}

impl Cell {
    fn new(evaluation: &Evaluation, suite: SuiteId) -> Cell {
        let measure = evaluation.measure(suite);
        let (value, interval) = match measure.estimate() {
            None => ("no data".to_owned(), String::new()),
            Some(Estimate { value, low, high }) => {
                (format!("{:.1}", percent(value)), format!("{:.1}\u{2013}{:.1}", percent(low), percent(high)))
            }
        };
        let spread = match evaluation.finding(suite).and_then(|it| it.spread()) {
            Some((least, most)) => format!("; seeds {:.1} to {:.1}%", percent(least), percent(most)),
            None => String::new(),
        };
        Cell { value, interval, full: format!("{measure}{spread}"), evidence: evidence(evaluation) }
    }
}

fn evidence(evaluation: &Evaluation) -> String {
    evaluation.evidence().map(|it| it.0.as_str()).collect::<Vec<_>>().join(" ")
}

fn dots(evaluations: &[Evaluation]) -> Vec<Dot> {
    let dot = |(place, it): (usize, &Evaluation)| {
        Some(Dot {
            label: arms::label(&it.arm).to_owned(),
            series: series(&it.arm, place),
            x: it.measure(SuiteId::Overrefusal).estimate()?,
            y: it.measure(SuiteId::Jailbreak).estimate()?,
        })
    };
    evaluations.iter().enumerate().filter_map(dot).collect()
}

fn trails(waypoints: &[super::Waypoint]) -> Vec<Trail> {
    let mut trails: Vec<(String, Trail)> = Vec::new();
    for it in waypoints {
        let value = |suite| Some(it.evaluation.measure(suite).estimate()?.value);
        let (Some(x), Some(y)) = (value(SuiteId::Overrefusal), value(SuiteId::Jailbreak)) else { continue };
        let arm = &it.evaluation.arm;
        let at = trails.iter().position(|(key, _)| key == arm).unwrap_or_else(|| {
            let label = arms::label(arm).to_owned();
            trails.push((arm.clone(), Trail { label, series: series(arm, trails.len()), steps: Vec::new() }));
            trails.len() - 1
        });
        trails[at].1.steps.push((it.step, x, y));
    }
    trails.into_iter().map(|(_, it)| it).collect()
}

/// Word and class of a ruling, and why it is none.
fn ruling(it: &Ruling) -> Value {
    let (word, class, why) = match it {
        Ruling::Held => ("held", "held", None),
        Ruling::NotHeld => ("not held", "not-held", None),
        Ruling::Unclear(why) => ("unclear", "unclear", Some(why)),
        Ruling::NotTested(why) => ("not tested", "not-tested", Some(why)),
    };
    context! { word, class, why }
}

/// How many claims got each ruling.
fn tally(claims: &[Claim]) -> Vec<Value> {
    let kinds = [Ruling::Held, Ruling::NotHeld, Ruling::Unclear(String::new()), Ruling::NotTested(String::new())];
    let same = |kind: &Ruling, it: &Claim| std::mem::discriminant(kind) == std::mem::discriminant(&it.ruling);
    kinds
        .iter()
        .map(|kind| context! { n => claims.iter().filter(|it| same(kind, it)).count(), ..ruling(kind) })
        .collect()
}

fn claim(it: &Claim) -> Value {
    let Claim { statement, paper, rule, comparisons, ruling: found, key } = it;
    let comparisons: Vec<Value> = comparisons.iter().map(comparison).collect();
    context! { key, statement, paper, rule, comparisons, ruling => ruling(found) }
}

fn comparison(it: &Comparison) -> Value {
    let title = |suite: SuiteId| suite.suite().title();
    let question = match it.question {
        Question::Better => "above 0".to_owned(),
        Question::NoWorseBy(margin) => format!("above \u{2212}{:.0}", percent(margin)),
        Question::AtLeast(bar) => format!("above {:.0}%", percent(bar)),
        Question::Effect(margin) => format!("above 0; no effect if below {:.0}", percent(margin)),
        Question::WiderThanOn(other) => format!("wider than on \u{201c}{}\u{201d}", title(other)),
    };
    context! {
        suite => title(it.suite),
        arm => arms::label(&it.arm),
        measure => it.measure.to_string(),
        against => it.against.as_ref().map(|(arm, measure)| format!("{}: {measure}", arms::label(arm))),
        difference => it.difference.map_or("no data".to_owned(), |it| it.to_string()),
        question,
        ruling => ruling(&it.ruling),
        evidence => it.evidence.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(" "),
    }
}

fn suite(id: SuiteId, title: &str, about: About, evaluations: &[Evaluation]) -> Value {
    let row = |it: &Evaluation| {
        let by_seed = it.finding(id).map_or(&[][..], |it| &it.by_seed);
        let seeds: Vec<String> =
            it.sources.iter().zip(by_seed).map(|(source, found)| format!("seed {}: {found}", source.seed)).collect();
        context! { label => arms::label(&it.arm), cell => Cell::new(it, id), seeds }
    };
    let has_data = evaluations.iter().any(|it| !matches!(it.measure(id), Measure::NoData { unscored: 0 }));
    context! { title, about, has_data, rows => evaluations.iter().map(row).collect::<Vec<_>>() }
}

fn filter(it: &FilterReport, evidence: String) -> Value {
    let row = |name: &str, it: &FateCounts| {
        context! {
            name,
            all => it.all,
            kept => it.kept,
            malformed => it.n_malformed(),
            leans => it.leans_on_context,
            below => it.below_threshold,
            unscored => it.n_unscored(),
            unjudged => it.unjudged,
            yield => it.yield_rate().to_string(),
        }
    };
    let reasons = |kinds: Vec<(Value, u32)>| {
        kinds
            .into_iter()
            .map(|(why, n)| format!("{} {n}", why.to_string().replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rows: Vec<Value> = std::iter::once(row("all", &it.all))
        .chain(it.by_category.iter().map(|(name, counts)| row(name, counts)))
        .collect();
    context! {
        evidence,
        threshold => it.threshold,
        rows,
        leaning => it.all.leaning_rate().to_string(),
        malformed => reasons(it.all.malformed.iter().map(|(why, n)| (Value::from_serialize(why), *n)).collect()),
        unscored => reasons(it.all.unscored.iter().map(|(why, n)| (Value::from_serialize(why), *n)).collect()),
        opinions => it.opinions,
    }
}

fn confusion(it: &Confusion, evidence: String) -> Value {
    context! {
        evidence,
        judge => it.judge,
        threshold => it.threshold,
        grades => it.grades,
        unscored => it.unscored,
        agreement => it.agreement().to_string(),
        false_accepts => it.false_accepts().to_string(),
        false_rejects => it.false_rejects().to_string(),
    }
}

fn sample(it: &Sample) -> Value {
    let replies: Vec<Value> = it
        .replies
        .iter()
        .map(|reply| {
            let turn = reply.parsed.turn();
            let malformed = match &reply.parsed {
                collimate_schema::Parsed::Malformed(why) => {
                    Some(Value::from_serialize(why).to_string().replace('_', " "))
                }
                collimate_schema::Parsed::Turn(_) => None,
            };
            let pass = match reply.pass {
                Some(true) => context! { word => "pass", class => "held" },
                Some(false) => context! { word => "fail", class => "not-held" },
                None => context! { word => "ungraded", class => "not-tested" },
            };
            context! {
                label => arms::label(&reply.arm),
                thought => turn.map_or("", |it| &it.thought.0),
                answer => turn.map_or("", |it| &it.answer.0),
                malformed,
                pass,
            }
        })
        .collect();
    context! { prompt => it.prompt, kind => it.kind, messages => it.conversation.messages(), replies, evidence => it.evidence }
}
