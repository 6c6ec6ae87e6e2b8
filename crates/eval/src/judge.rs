//! Judges: models that read a policy and grade an answer (sections 3.2 and 4 of the paper).
//!
//! Three judges are three types, with no fallback between them. [`FilterJudge`] reads thought and answer; [`RewardJudge`] and
//! [`CardJudge`] take an [`Answer`], so a thought cannot be passed to them. Asking and reading are apart: a recipe journals
//! the completions in between.

mod confusion;
mod message;
mod verdict;

use collimate_schema::{
    Answer, Brief, Completion, Conversation, NoisyLabel, PromptId, Request, RequestId, Sampler, Sampling, Seed, Spec,
    Turn, Verdict,
};

pub use confusion::{Confusion, GradeCounts};
pub use message::{answer_message, filter_message, quote};
pub use verdict::parse_verdict;

/// Which reading of which sample: the k readings of one sample are k requests with k ids and k seeds.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The prompt that was answered.
    pub prompt: &'a PromptId,
    /// Which of its samples, from 0.
    pub sample: u32,
    /// Which reading of that sample, from 0.
    pub ordinal: u32,
}

impl Reading<'_> {
    /// `role/prompt/sample/ordinal`
    fn id(&self, role: &str) -> RequestId {
        RequestId(format!("{role}/{}/{}/{}", self.prompt, self.sample, self.ordinal))
    }

    fn request(&self, role: &str, message: String, brief: &Brief, sampling: Sampling, seed: Seed) -> Request {
        let id = self.id(role);
        let seed = seed.child(&id.0);
        Request { id, conversation: Conversation::user(message).with_system(brief.0.clone()), sampling, seed }
    }
}

/// Grades deliberations for the dataset: reads conversation, thought, answer and brief, and another AI's opinion if there is
/// one.
pub struct FilterJudge<'m> {
    model: &'m dyn Sampler,
    sampling: Sampling,
}

impl<'m> FilterJudge<'m> {
    /// A filter judge played by `model`.
    pub fn new(model: &'m dyn Sampler, sampling: Sampling) -> FilterJudge<'m> {
        FilterJudge { model, sampling }
    }

    /// The model that plays the judge, to be sent the requests.
    pub fn model(&self) -> &'m dyn Sampler {
        self.model
    }

    /// Asks for one reading of `turn`. `seed` is the stage's; each reading draws its own from it.
    pub fn request(
        &self,
        reading: Reading<'_>,
        (conversation, turn): (&Conversation, &Turn),
        brief: &Brief,
        label: Option<NoisyLabel>,
        seed: Seed,
    ) -> Request {
        reading.request("filter", filter_message(conversation, turn, label), brief, self.sampling, seed)
    }

    /// What the reading says.
    pub fn read(&self, completion: &Completion, spec: &Spec) -> Verdict {
        parse_verdict(&completion.parsed, completion.stop, spec)
    }
}

/// Grades answers during reinforcement learning. It never sees a thought, so none is optimised to please it.
pub struct RewardJudge<'m> {
    model: &'m dyn Sampler,
    sampling: Sampling,
}

impl<'m> RewardJudge<'m> {
    /// A reward judge played by `model`.
    pub fn new(model: &'m dyn Sampler, sampling: Sampling) -> RewardJudge<'m> {
        RewardJudge { model, sampling }
    }

    /// The model that plays the judge, to be sent the requests.
    pub fn model(&self) -> &'m dyn Sampler {
        self.model
    }

    /// Asks for one reading of `answer`. `seed` is the step's; each reading draws its own from it.
    pub fn request(
        &self,
        reading: Reading<'_>,
        conversation: &Conversation,
        answer: &Answer,
        brief: &Brief,
        seed: Seed,
    ) -> Request {
        reading.request("reward", answer_message(conversation, answer), brief, self.sampling, seed)
    }

    /// What the reading says.
    pub fn read(&self, completion: &Completion, spec: &Spec) -> Verdict {
        parse_verdict(&completion.parsed, completion.stop, spec)
    }
}

/// Grades answers for the system card. A type of its own, so that the model which rewarded an answer does not grade it by
/// accident.
pub struct CardJudge<'m> {
    model: &'m dyn Sampler,
    sampling: Sampling,
}

impl<'m> CardJudge<'m> {
    /// A card judge played by `model`.
    pub fn new(model: &'m dyn Sampler, sampling: Sampling) -> CardJudge<'m> {
        CardJudge { model, sampling }
    }

    /// The model that plays the judge, to be sent the requests.
    pub fn model(&self) -> &'m dyn Sampler {
        self.model
    }

    /// Asks for one reading of `answer`. `seed` is the evaluation's; each reading draws its own from it.
    pub fn request(
        &self,
        reading: Reading<'_>,
        conversation: &Conversation,
        answer: &Answer,
        brief: &Brief,
        seed: Seed,
    ) -> Request {
        reading.request("card", answer_message(conversation, answer), brief, self.sampling, seed)
    }

    /// What the reading says.
    pub fn read(&self, completion: &Completion, spec: &Spec) -> Verdict {
        parse_verdict(&completion.parsed, completion.stop, spec)
    }
}

#[cfg(test)]
mod tests {
    use collimate_schema::{Outcome, Parsed, Score, Scripted, Thought};
    use expect_test::expect;

    use super::*;

    const SAMPLING: Sampling = Sampling { temperature: 1.0, max_tokens: 40 };

    fn reading(prompt: &PromptId, ordinal: u32) -> Reading<'_> {
        Reading { prompt, sample: 2, ordinal }
    }

    #[test]
    fn k_readings_are_k_requests() {
        let judge = Scripted::new("judge", |_| Parsed::of("fine C3", "grade: 5\nagree: no"));
        let judge = FilterJudge::new(&judge, SAMPLING);
        let (prompt, conversation) = (PromptId("p7".to_owned()), Conversation::user("hello"));
        let turn = Turn { thought: Thought("think".to_owned()), answer: Answer("hi".to_owned()) };
        let label = Some(NoisyLabel(Outcome::Comply));
        let ask =
            |k| judge.request(reading(&prompt, k), (&conversation, &turn), &Brief("policy".to_owned()), label, Seed(1));
        let requests: Vec<_> = (0..3).map(ask).collect();
        let ids: Vec<_> = requests.iter().map(|it| it.id.0.as_str()).collect();
        assert_eq!(ids, ["filter/p7/2/0", "filter/p7/2/1", "filter/p7/2/2"]);
        assert!(requests[0].seed != requests[1].seed && requests[1].seed != requests[2].seed);
        assert_eq!(requests[0].conversation, requests[1].conversation);

        let spec = Spec::parse("# t\n## a\n- **C3** (refuse): x").expect("a spec");
        let completions: Result<Vec<_>, _> = judge.model().sample(requests).expect("scripted").collect();
        for completion in completions.expect("scripted") {
            let Verdict::Scored { score, clauses, agrees, .. } = judge.read(&completion, &spec) else {
                panic!("{completion:?}");
            };
            assert_eq!((score, clauses.len(), agrees), (Score::HIGHEST, 1, Some(false)));
        }
    }

    #[test]
    fn the_brief_is_the_system_message() {
        let model = Scripted::new("judge", |_| Parsed::of("", "grade: 1"));
        let (prompt, conversation) = (PromptId("p".to_owned()), Conversation::user("hello"));
        let (answer, brief) = (Answer("hi".to_owned()), Brief("policy\n- x: refuse".to_owned()));
        let reward = RewardJudge::new(&model, SAMPLING);
        let request = reward.request(reading(&prompt, 0), &conversation, &answer, &brief, Seed(1));
        let text: Vec<_> = request.conversation.messages().iter().map(|it| (it.role.name(), &it.content)).collect();
        expect![[r#"
            [
                (
                    "system",
                    "policy\n- x: refuse",
                ),
                (
                    "user",
                    "judge\nuser: hello\nanswer: hi",
                ),
            ]
        "#]]
        .assert_debug_eq(&text);
        let card = CardJudge::new(&model, SAMPLING);
        let ids =
            [request, card.request(reading(&prompt, 0), &conversation, &answer, &brief, Seed(1))].map(|it| it.id.0);
        assert_eq!(ids, ["reward/p/2/0", "card/p/2/0"]);
    }
}
