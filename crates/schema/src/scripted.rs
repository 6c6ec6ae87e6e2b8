//! A sampler whose replies are a function: the public double that every crate's tests use.

use crate::conversation::Conversation;
use crate::rollout::{By, Malformed, Parsed, Stop, Trace};
use crate::sampler::{Completion, Completions, Failure, Request, SampleError, Sampler};

/// A sampler that answers with what its function returns for each request.
pub struct Scripted<F> {
    name: String,
    reply: F,
}

impl<F: Fn(&Request) -> Result<Parsed, Failure> + Send + Sync> Scripted<F> {
    /// A double called `name` that answers each request with `reply(request)`, or fails it.
    pub fn failing(name: impl Into<String>, reply: F) -> Scripted<F> {
        Scripted { name: name.into(), reply }
    }
}

impl Scripted<()> {
    /// A double called `name` that answers each request with `reply(request)`.
    pub fn new<F: Fn(&Request) -> Parsed + Send + Sync>(
        name: impl Into<String>,
        reply: F,
    ) -> Scripted<impl Fn(&Request) -> Result<Parsed, Failure> + Send + Sync> {
        Scripted::failing(name, move |request| Ok(reply(request)))
    }
}

impl<F: Fn(&Request) -> Result<Parsed, Failure> + Send + Sync> Sampler for Scripted<F> {
    fn by(&self) -> By {
        By::Named(self.name.clone())
    }

    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError> {
        SampleError::check(&batch)?;
        Ok(Box::new(batch.into_iter().map(|request| {
            let completion = (self.reply)(&request).map(|parsed| {
                let text = parsed.turn().map_or(String::new(), |it| format!("{}\n{}", it.thought.0, it.answer.0));
                let stop = match parsed {
                    Parsed::Malformed(Malformed::Truncated) => Stop::Length,
                    _ => Stop::EndOfTurn,
                };
                Completion { trace: Trace::Text(text), parsed, stop, usage: None }
            });
            (request.id, completion)
        })))
    }

    fn score(&self, _: &Conversation, _: &[String]) -> Result<Vec<f64>, Failure> {
        Err(Failure::Unsupported("score given continuations".to_owned()))
    }
}
