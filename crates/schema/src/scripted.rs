//! A sampler whose replies are a function: the public double that every crate's tests use.

use crate::{
    Answer, By, Completion, Completions, Conversation, Parsed, Request, SampleError, Sampler, Stop, Thought, Trace,
    Turn,
};

/// A sampler that answers with what its function returns for each request.
pub struct Scripted<F> {
    name: String,
    reply: F,
}

impl<F: Fn(&Request) -> Parsed> Scripted<F> {
    /// A double called `name` that answers each request with `reply(request)`.
    pub fn new(name: impl Into<String>, reply: F) -> Scripted<F> {
        Scripted { name: name.into(), reply }
    }
}

impl Parsed {
    /// A well-formed turn, for scripts and tests.
    pub fn of(thought: &str, answer: &str) -> Parsed {
        Parsed::Turn(Turn { thought: Thought(thought.to_owned()), answer: Answer(answer.to_owned()) })
    }
}

impl<F: Fn(&Request) -> Parsed> Sampler for Scripted<F> {
    fn by(&self) -> By {
        By::Named(self.name.clone())
    }

    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError> {
        Ok(Box::new(batch.into_iter().map(|request| {
            let parsed = (self.reply)(&request);
            let text = match &parsed {
                Parsed::Turn(turn) => format!("{}\n{}", turn.thought.0, turn.answer.0),
                Parsed::Malformed(_) => String::new(),
            };
            let stop = match parsed {
                Parsed::Malformed(crate::Malformed::Truncated) => Stop::Length,
                _ => Stop::EndOfTurn,
            };
            Ok(Completion { id: request.id, trace: Trace::Text(text), parsed, stop })
        })))
    }

    fn score(&self, _: &Conversation, _: &[String]) -> Result<Vec<f64>, SampleError> {
        Err(SampleError::Unsupported)
    }
}
