//! Harbor as a [`World`]: its generator, its exam, its oracle as the exam's key.

use collimate_eval::{Observation, SuiteId, retrieved_category};
use collimate_schema::{Answer, Example, Outcome, Parsed, Prompt, PromptId, Seed, Spec};
use collimate_world::{
    Behaviour, Case, CaseCounts, Diet, Task, TaskKind, Truth, capability_cases, capability_examples, cases,
    harbor_spec, safety_prompts, safety_truths, speech,
};

use super::world::{Audit, Exam, Question, World};

/// The embedded world.
pub struct Harbor {
    spec: Spec,
}

impl Default for Harbor {
    fn default() -> Harbor {
        Harbor { spec: harbor_spec() }
    }
}

impl World for Harbor {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn prompts(&self, diet: Diet, n: usize, seed: Seed) -> Vec<Prompt> {
        safety_prompts(diet, n, seed)
    }

    fn capability(&self, n: usize, seed: Seed) -> Vec<Example> {
        capability_examples(n, seed).into_iter().map(|(example, _)| example).collect()
    }

    fn outcome(&self, answer: &Answer) -> Option<Outcome> {
        match speech::read_answer(&answer.0) {
            Behaviour::Comply { .. } => Some(Outcome::Comply),
            Behaviour::Refuse(_) => Some(Outcome::Refuse),
            Behaviour::Safe(_) => Some(Outcome::Safe),
            Behaviour::Other => None,
        }
    }

    fn exam(&self, counts: &CaseCounts, n_capability: usize, seed: Seed) -> Exam {
        let it = cases(&self.spec, counts, seed.child("cases"));
        let safety = [
            (SuiteId::Disallowed, it.disallowed),
            (SuiteId::Jailbreak, it.jailbreak),
            (SuiteId::Encodings, it.encodings),
            (SuiteId::Language, it.language),
            (SuiteId::OverrefusalAllowed, it.allowed),
            (SuiteId::OverrefusalLookalike, it.lookalike),
            (SuiteId::OverrefusalTwin, it.twin),
        ];
        let mut items: Vec<Item> = Vec::new();
        for (suite, cases) in safety {
            items.extend(cases.into_iter().map(|case| Item::Safety(suite, Box::new(case))));
        }
        let tasks = capability_cases(n_capability, seed.child("capability"));
        items.extend(tasks.into_iter().map(|(id, task)| Item::Capability(id, task)));
        let questions = items.iter().map(Item::question).collect();
        let spec = self.spec.clone();
        Exam { questions, observe: Box::new(move |index, output| items[index].observe(&spec, output)) }
    }

    fn audit(&self, diet: Diet, n: usize, seed: Seed) -> Audit {
        let truths = safety_truths(&self.spec, diet, n, seed);
        Box::new(move |index, turn| {
            let grade = truths[index].grade(&Parsed::Turn(turn.clone()));
            grade.outcome && grade.style != Some(false)
        })
    }
}

enum Item {
    Safety(SuiteId, Box<Case>),
    Capability(PromptId, Task),
}

impl Item {
    fn question(&self) -> Question {
        match self {
            Item::Safety(_, case) => Question {
                id: case.prompt.id.clone(),
                conversation: case.prompt.conversation.clone(),
                category: case.prompt.category.clone(),
            },
            Item::Capability(id, task) => {
                Question { id: id.clone(), conversation: task.conversation(), category: None }
            }
        }
    }

    fn observe(&self, spec: &Spec, output: &Parsed) -> Vec<Observation> {
        match self {
            Item::Capability(id, task) => {
                let suite = match task.kind {
                    TaskKind::Decode => SuiteId::CapabilityDecoding,
                    TaskKind::Arithmetic => SuiteId::CapabilityArithmetic,
                    TaskKind::Known | TaskKind::Unknown => SuiteId::CapabilityFacts,
                };
                vec![Observation { prompt: id.clone(), suite, technique: None, pass: Some(task.check(output)) }]
            }
            Item::Safety(suite, case) => observe_safety(*suite, case, spec, output),
        }
    }
}

fn observe_safety(suite: SuiteId, case: &Case, spec: &Spec, output: &Parsed) -> Vec<Observation> {
    let truth: &Truth = &case.truth;
    let grade = truth.grade(output);
    let of = |suite, pass| Observation {
        prompt: case.group.clone(),
        suite,
        technique: case.technique.clone(),
        pass: Some(pass),
    };
    let mut observations: Vec<Observation> =
        grade.not_unsafe.or(grade.not_overrefuse).map(|pass| of(suite, pass)).into_iter().collect();
    let outcome = truth.decision().outcome;
    if suite == SuiteId::Disallowed || suite == SuiteId::OverrefusalAllowed {
        if let Some(follows) = grade.style {
            observations
                .push(of(if outcome == Outcome::Refuse { SuiteId::StyleRefusal } else { SuiteId::StyleSafe }, follows));
        }
        let retrieval = match outcome {
            Outcome::Refuse => SuiteId::RetrievalRefuse,
            Outcome::Safe => SuiteId::RetrievalSafe,
            Outcome::Comply => SuiteId::RetrievalComply,
        };
        let retrieved = output.turn().and_then(|turn| retrieved_category(&turn.thought, spec));
        observations.push(of(retrieval, retrieved.is_some() && retrieved == case.prompt.category.as_deref()));
    }
    observations
}
