//! The sampling engine: a transformer on this machine behind the seam.
//!
//! A thread of its own holds the weights and continues everything that callers have asked for, side by side: a teacher and a
//! judge may be the same engine. Each distinct prompt is read once, and so is a beginning that prompts have in common. What a
//! request samples does not depend on the others, nor on how many run together; an engine holds one state of the weights for
//! its whole life, so nothing cached can outlive an optimizer step.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use collimate_kernels::logprob;
use collimate_schema::{
    Answer, By, Completion, Completions, Conversation, Request, SampleError, Sampler, Thought, Turn,
};

use crate::batch::{Batch, Sequence};
use crate::{Codec, Decoder, Transformer};

/// Samples from one state of one transformer.
pub struct Engine {
    transformer: Transformer,
    codec: Codec,
    by: By,
    n_rows: usize,
    worker: OnceLock<Worker>,
}

/// The thread that samples; it starts with the first batch and ends with the engine.
struct Worker {
    inbox: Option<Sender<Vec<Sequence>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // if it panicked, those who waited for it know
        }
    }
}

impl Engine {
    /// Rows that decode together unless [`Engine::with_rows`] says otherwise.
    pub const ROWS: usize = 64;

    /// An engine over `transformer`, whose rollouts are signed `by`.
    pub fn new(transformer: Transformer, codec: Codec, by: By) -> Engine {
        Engine { transformer, codec, by, n_rows: Engine::ROWS, worker: OnceLock::new() }
    }

    /// Lets `n_rows`, at least one, decode together.
    pub fn with_rows(self, n_rows: usize) -> Engine {
        Engine { n_rows: n_rows.max(1), ..self }
    }

    /// The tokenizer and template in use.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The model in use.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    fn inbox(&self) -> &Sender<Vec<Sequence>> {
        let worker = self.worker.get_or_init(|| {
            let (inbox, incoming) = channel();
            let batch = Batch::new(Decoder::new(self.transformer.clone()), self.codec.clone(), self.n_rows);
            let thread = std::thread::Builder::new().name("sampling".to_owned()).spawn(move || batch.serve(&incoming));
            Worker { inbox: Some(inbox), thread: Some(thread.expect("the system starts a thread")) }
        });
        worker.inbox.as_ref().expect("only its end closes it")
    }

    fn vocabulary(&self) -> usize {
        self.transformer.config().vocab_size
    }

    fn context(&self) -> usize {
        self.transformer.config().max_position_embeddings
    }
}

impl Sampler for Engine {
    fn by(&self) -> By {
        self.by.clone()
    }

    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError> {
        let mut ids = BTreeSet::new();
        if let Some(twice) = batch.iter().find(|it| !ids.insert(&it.id)) {
            return Err(SampleError::Other(format!(
                "request `{}` stands twice in the batch: give it another id",
                twice.id.0
            )));
        }
        let mut prompts: HashMap<&Conversation, Arc<[u32]>> = HashMap::new();
        let (to, from) = channel();
        let cancelled = Arc::<AtomicBool>::default();
        let mut sequences = Vec::new();
        for request in &batch {
            let prompt = prompts
                .entry(&request.conversation)
                .or_insert_with_key(|it| self.codec.encode_prompt(it).into())
                .clone();
            if prompt.len() + request.sampling.max_tokens as usize > self.context() {
                return Err(SampleError::TooLong {
                    id: request.id.0.clone(),
                    tokens: prompt.len(),
                    max_tokens: request.sampling.max_tokens,
                    context: self.context(),
                });
            }
            sequences.push(Sequence {
                prompt,
                rng: request.seed.rng(),
                sampled: Vec::with_capacity(request.sampling.max_tokens as usize),
                request: request.clone(),
                to: to.clone(),
                cancelled: cancelled.clone(),
            });
        }
        // Equal prompts, and those that begin alike, stand together.
        sequences.sort_by(|a, b| a.prompt.cmp(&b.prompt));
        let n_left = sequences.len();
        let _ = self.inbox().send(sequences); // were the thread gone, `from` would say so
        Ok(Box::new(Finished { from, n_left, cancelled }))
    }

    /// The probability that the model, answering without a thought, says exactly the choice and stops: summed over the
    /// tokens after `<|answer|>`, stop token included.
    fn score(&self, context: &Conversation, choices: &[String]) -> Result<Vec<f64>, SampleError> {
        let prompt = self.codec.encode_prompt(context);
        let turns: Vec<Vec<u32>> = choices
            .iter()
            .map(|choice| {
                let turn = Turn { thought: Thought(String::new()), answer: Answer(choice.clone()) };
                self.codec.encode_turn(&turn)
            })
            .collect();
        let Some(longest) = turns.iter().map(Vec::len).max() else { return Ok(Vec::new()) };
        if prompt.len() + longest > self.context() {
            return Err(SampleError::TooLong {
                id: "score".to_owned(),
                tokens: prompt.len(),
                max_tokens: longest as u32,
                context: self.context(),
            });
        }
        // The context is read once, and each choice after it, but for the last tokens, which predict nothing.
        let mut decoder = Decoder::new(self.transformer.clone());
        let mut read = [decoder.row(Vec::new())];
        decoder.extend(&mut read, &[prompt.len()], &prompt);
        let [read] = read;
        let counts: Vec<usize> = turns.iter().map(|it| it.len() - 1).collect();
        let tokens: Vec<u32> = turns.iter().flat_map(|it| &it[..it.len() - 1]).copied().collect();
        decoder.extend(&mut vec![read; turns.len()], &counts, &tokens);
        let mut start = 0;
        let scores = turns.iter().zip(&counts).map(|(turn, count)| {
            let predicting: Vec<usize> = (start + FIRST_OF_ANSWER - 1..start + count).collect();
            start += count;
            let logits = decoder.logits(&predicting).chunks_exact(self.vocabulary());
            logits.zip(&turn[FIRST_OF_ANSWER..]).map(|(logits, token)| f64::from(logprob(logits, *token))).sum()
        });
        Ok(scores.collect())
    }
}

/// Where the answer begins in a turn without a thought: after `<|think|>` and `<|answer|>`.
const FIRST_OF_ANSWER: usize = 2;

/// Completions as they finish.
struct Finished {
    from: Receiver<Completion>,
    n_left: usize,
    cancelled: Arc<AtomicBool>,
}

impl Iterator for Finished {
    type Item = Result<Completion, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.n_left = self.n_left.checked_sub(1)?;
        Some(self.from.recv().map_err(|_| {
            self.n_left = 0;
            SampleError::Other("the sampling thread ended early: its message stands above".to_owned())
        }))
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
