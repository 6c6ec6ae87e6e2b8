//! What `sample` and `chat` share: a model, what it is shown, and how its turns read.

use anyhow::Context;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use collimate_model::{Compute, Engine, Model};
use collimate_schema::{
    Brief, Completions, Conversation, Malformed, Parsed, PromptId, Request, RequestId, Sampler, Sampling, Seed,
};
use std::path::PathBuf;

use super::spec::brief_of;
use crate::device::DeviceName;
use crate::precision::Precision;
use crate::ranges::flag;
use crate::{embedded, output};

/// Which model, and what it is shown.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A checkpoint directory instead of the embedded base model
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Put this policy in the context: a Markdown file, or `harbor`
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Show this category of the policy in full; without it, the summaries of all
    #[arg(long, value_name = "NAME", requires = "spec")]
    pub category: Option<String>,
    /// Softmax temperature; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true, value_parser = flag::<Sampling, f32>("temperature"))]
    pub temperature: f32,
    /// Draw among the N likeliest tokens only; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_k: u32,
    /// Draw among the likeliest tokens only whose probabilities reach this sum
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true, value_parser = flag::<Sampling, f32>("top_p"))]
    pub top_p: f32,
    /// Draw only among tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true, value_parser = flag::<Sampling, f32>("min_p"))]
    pub min_p: f32,
    /// Most tokens to sample per answer
    #[arg(long, value_name = "N", default_value_t = 192, value_parser = flag::<Sampling, u32>("max_tokens"))]
    pub max_tokens: u32,
    /// End the answer where it would say this; may be given more than once
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub stop: Vec<String>,
    /// Begin the answer after N tokens of thought, whatever the model would do
    #[arg(long, value_name = "N")]
    pub thought_budget: Option<u32>,
    /// Seed of the samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// What products are taken in
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    pub precision: Precision,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
}

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
        let precision = args.precision.settled(args.device, None).into();
        let model = Model { compute: Compute { precision, ..model.compute }, ..model };
        model.notices().iter().for_each(|it| output::note(&format!("note: {it}")));
        let sampling = Sampling {
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            thought_budget: args.thought_budget,
            ..Sampling::at(args.temperature, args.max_tokens)
        };
        Ok(Speaker { engine: model.engine(), brief, sampling, seed: Seed(args.seed), stop: args.stop.clone() })
    }

    /// The `ordinal`-th sample of the `index`-th conversation.
    pub(super) fn request(&self, index: usize, ordinal: u32, conversation: &Conversation) -> Request {
        let conversation = match &self.brief {
            Some(brief) => collimate_world::wording().deliberation(conversation, brief),
            None => conversation.clone(),
        };
        Request {
            id: RequestId::new("talk", &PromptId(format!("{index:06}"))).sample(ordinal),
            conversation,
            sampling: self.sampling,
            seed: self.seed.child(&format!("{index:06}-{ordinal:04}")),
            stop: self.stop.clone(),
        }
    }

    /// The replies, in the order they finish.
    pub(super) fn sample(&self, requests: Vec<Request>) -> anyhow::Result<Completions<'_>> {
        Ok(self.engine.sample(requests)?)
    }
}

/// Prints a turn: the thought dimmed, then the answer.
pub(super) fn show(parsed: &Parsed) -> anyhow::Result<()> {
    match parsed {
        Parsed::Turn(turn) => {
            if !turn.thought.0.is_empty() {
                output::print_dimmed(&turn.thought.0)?;
            }
            output::print(&turn.answer.0)
        }
        Parsed::Malformed(why) => output::print_dimmed(match why {
            Malformed::Truncated => "(no turn: out of tokens, see --max-tokens)",
            Malformed::UnclosedThought => "(no turn: the thought never ends)",
            Malformed::StrayControl => "(no turn: a control token inside the text)",
            Malformed::EmptyAnswer => "(no turn: nothing after the thought)",
        }),
    }
}
