//! What `sample` and `chat` share: a model, what it is shown, and how its turns read.

use anyhow::Context;
use collimate_model::{Engine, Model};
use collimate_schema::{
    Brief, Completion, Conversation, Malformed, Parsed, Request, RequestId, Sampler, Sampling, Seed,
};

use super::spec::brief_of;
use crate::cli::ModelArgs;
use crate::{embedded, output};

/// A model with a brief in its context, or none.
pub(super) struct Speaker {
    engine: Engine,
    brief: Option<Brief>,
    sampling: Sampling,
    seed: Seed,
    stop: Vec<String>,
}

impl Speaker {
    pub(super) fn new(args: &ModelArgs) -> anyhow::Result<Speaker> {
        let brief = args.spec.as_deref().map(|it| brief_of(it, args.category.as_deref())).transpose()?;
        let device = args.device.device();
        let model = match &args.model {
            Some(dir) => {
                Model::load(dir, &device).with_context(|| format!("cannot use {} as a model", dir.display()))?
            }
            None => embedded::harbor_base(&device)?,
        };
        let sampling = Sampling {
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            thought_budget: args.thought_budget,
            ..Sampling::at(args.temperature, args.max_tokens)
        };
        Ok(Speaker { engine: model.engine(), brief, sampling, seed: Seed(args.seed), stop: args.stop.clone() })
    }

    /// Answers each conversation, `n` times; in the order of the conversations.
    pub(super) fn answer(&self, conversations: &[Conversation], n: u32) -> anyhow::Result<Vec<Completion>> {
        let mut batch = Vec::new();
        for (index, conversation) in conversations.iter().enumerate() {
            for ordinal in 0..n {
                let id = format!("{index:06}-{ordinal:04}");
                batch.push(Request {
                    stop: self.stop.clone(),
                    conversation: match &self.brief {
                        Some(brief) => conversation.with_brief(brief),
                        None => conversation.clone(),
                    },
                    sampling: self.sampling,
                    seed: self.seed.child(&id),
                    id: RequestId(id),
                });
            }
        }
        let mut completions = self.engine.sample(batch)?.collect::<Result<Vec<_>, _>>()?;
        completions.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(completions)
    }
}

/// A turn for the screen: the thought dimmed, then the answer.
pub(super) fn shown(parsed: &Parsed) -> String {
    match parsed {
        Parsed::Turn(turn) if turn.thought.0.is_empty() => output::printable(&turn.answer.0),
        Parsed::Turn(turn) => {
            let thought = output::dimmed(&output::printable(&turn.thought.0));
            format!("{thought}\n{}", output::printable(&turn.answer.0))
        }
        Parsed::Malformed(why) => output::dimmed(match why {
            Malformed::Truncated => "(no turn: out of tokens, see --max-tokens)",
            Malformed::UnclosedThought => "(no turn: the thought never ends)",
            Malformed::StrayControl => "(no turn: a control token inside the text)",
            Malformed::EmptyAnswer => "(no turn: nothing after the thought)",
        }),
    }
}
