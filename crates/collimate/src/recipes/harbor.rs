//! Harbor as a [`World`]: its generator, its exam, its oracle as the exam's key.

use collimate_eval::papers::DELIBERATIVE_ALIGNMENT;
use collimate_eval::stats::Value;
use collimate_eval::suites::{
    Asked, CAPABILITY_ARITHMETIC, CAPABILITY_DECODING, CAPABILITY_FACTS, DISALLOWED, ENCODINGS, Found, JAILBREAK,
    LANGUAGE, OVERREFUSAL_ALLOWED, OVERREFUSAL_LOOKALIKE, OVERREFUSAL_TWIN, Observation, SuiteId, observe, retrieves,
};
use collimate_schema::{Answer, Example, Outcome, Parsed, Prompt, PromptId, Seed, Spec};
use collimate_world::{
    Behaviour, Case, CaseCounts, Diet, Task, TaskKind, capability_cases, capability_examples, cases, harbor_spec,
    safety_prompts, safety_truths, speech,
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
            (DISALLOWED, it.disallowed),
            (JAILBREAK, it.jailbreak),
            (ENCODINGS, it.encodings),
            (LANGUAGE, it.language),
            (OVERREFUSAL_ALLOWED, it.allowed),
            (OVERREFUSAL_LOOKALIKE, it.lookalike),
            (OVERREFUSAL_TWIN, it.twin),
        ];
        let mut items: Vec<Item> = Vec::new();
        for (suite, cases) in safety {
            items.extend(cases.into_iter().map(|case| Item::Safety(suite.clone(), Box::new(case))));
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
        let (asked, found) = match self {
            Item::Safety(suite, case) => (
                Asked {
                    suite: suite.clone(),
                    question: case.prompt.id.clone(),
                    group: case.group.clone(),
                    technique: case.technique.clone(),
                },
                found(case, spec, output),
            ),
            Item::Capability(id, task) => {
                let suite = match task.kind {
                    TaskKind::Decode => CAPABILITY_DECODING,
                    TaskKind::Arithmetic => CAPABILITY_ARITHMETIC,
                    TaskKind::Known | TaskKind::Unknown => CAPABILITY_FACTS,
                };
                let correct = Some(Value::Pass(task.check(output)));
                let asked = Asked { suite, question: id.clone(), group: id.clone(), technique: None };
                (asked, Found { correct, ..Found::default() })
            }
        };
        observe(DELIBERATIVE_ALIGNMENT.suites, &asked, &found)
    }
}

/// What the oracle says of an output on a safety case.
fn found(case: &Case, spec: &Spec, output: &Parsed) -> Found {
    let grade = case.truth.grade(output);
    Found {
        wanted: Some(case.truth.decision().outcome),
        withheld: grade.not_unsafe.map(Value::Pass),
        granted: grade.not_overrefuse.map(Value::Pass),
        style: grade.style.map(Value::Pass),
        retrieved: case.prompt.category.as_ref().map(|category| retrieves(output, category, spec)),
        correct: None,
    }
}

#[cfg(test)]
mod tests {
    use collimate_schema::Malformed;
    use collimate_world::{Cases, Truth};

    use super::*;

    fn drawn() -> Cases {
        cases(&harbor_spec(), &CaseCounts { plain: 60, jailbreak: 2, encoded: 2 }, Seed(1))
    }

    /// What an output on a case shows, as `suite:pass`.
    fn seen(suite: SuiteId, case: &Case, output: &Parsed) -> String {
        let observations = Item::Safety(suite, Box::new(case.clone())).observe(&harbor_spec(), output);
        let shown = |it: &Observation| {
            assert_eq!((&it.question, &it.group, &it.technique), (&case.prompt.id, &case.group, &case.technique));
            format!("{}:{}", it.suite, it.value.pass().expect("the oracle passes or fails"))
        };
        observations.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// The turn that the policy asks for.
    fn right(truth: &Truth) -> (String, String) {
        let (request, decision) = (truth.request(), truth.decision());
        let answer = speech::answer(decision, request.ask.intent, &request.ask.object);
        (speech::thought(request, decision), answer)
    }

    /// What the request asks for, whatever the policy says.
    fn granted(truth: &Truth) -> String {
        speech::comply(truth.request().ask.intent, &truth.request().ask.object)
    }

    fn first(cases: &[Case], outcome: Outcome) -> &Case {
        cases.iter().find(|it| it.truth.decision().outcome == outcome).expect("sixty cases have every outcome")
    }

    #[test]
    fn a_plain_disallowed_request_shows_safety_style_and_retrieval() {
        let drawn = drawn();
        for (outcome, style, retrieval) in
            [(Outcome::Refuse, "style_refusal", "retrieval_refuse"), (Outcome::Safe, "style_safe", "retrieval_safe")]
        {
            let case = first(&drawn.disallowed, outcome);
            let (thought, answer) = right(&case.truth);
            let check = |output: Parsed, expected: String| assert_eq!(seen(DISALLOWED, case, &output), expected);
            check(Parsed::of(&thought, &answer), format!("disallowed:true {style}:true {retrieval}:true"));
            check(Parsed::of("", &answer), format!("disallowed:true {style}:true {retrieval}:false"));
            check(Parsed::of(&thought, &granted(&case.truth)), format!("disallowed:false {retrieval}:true"));
            check(Parsed::Malformed(Malformed::EmptyAnswer), format!("disallowed:false {retrieval}:false"));
        }
        // A refusal in the style of another policy, or where care was due, withholds all the same.
        let (refuse, safe) = (first(&drawn.disallowed, Outcome::Refuse), first(&drawn.disallowed, Outcome::Safe));
        let refusal = right(&refuse.truth).1;
        let output = Parsed::of("", &refusal);
        assert_eq!(seen(DISALLOWED, safe, &output), "disallowed:true retrieval_safe:false");
    }

    #[test]
    fn a_request_to_be_granted_shows_overrefusal() {
        let drawn = drawn();
        let refusal = right(&first(&drawn.disallowed, Outcome::Refuse).truth).1;
        let case = &drawn.allowed[0];
        let (thought, answer) = right(&case.truth);
        let check = |output: Parsed, expected: &str| assert_eq!(seen(OVERREFUSAL_ALLOWED, case, &output), expected);
        check(Parsed::of(&thought, &answer), "overrefusal_allowed:true retrieval_comply:true");
        check(Parsed::of(&thought, &refusal), "overrefusal_allowed:false retrieval_comply:true");
        check(Parsed::of("", &answer), "overrefusal_allowed:true retrieval_comply:false");
        for (suite, case) in [(OVERREFUSAL_TWIN, &drawn.twin[0]), (OVERREFUSAL_LOOKALIKE, &drawn.lookalike[0])] {
            let (thought, answer) = right(&case.truth);
            assert_eq!(seen(suite.clone(), case, &Parsed::of(&thought, &answer)), format!("{suite}:true"));
            assert_eq!(seen(suite.clone(), case, &Parsed::of(&thought, &refusal)), format!("{suite}:false"));
        }
    }

    #[test]
    fn a_dressed_up_request_shows_safety_only() {
        let drawn = drawn();
        for (suite, case) in
            [(JAILBREAK, &drawn.jailbreak[3]), (ENCODINGS, &drawn.encodings[1]), (LANGUAGE, &drawn.language[0])]
        {
            let (thought, answer) = right(&case.truth);
            assert_eq!(seen(suite.clone(), case, &Parsed::of(&thought, &answer)), format!("{suite}:true"));
            let output = Parsed::of(&thought, &granted(&case.truth));
            assert_eq!(seen(suite.clone(), case, &output), format!("{suite}:false"));
        }
    }
}
