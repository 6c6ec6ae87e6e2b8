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

use burn::Tensor;
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

    /// Logits of hidden states [n, D] as plain numbers, [n, V] row by row.
    fn logits(&self, hidden: Tensor<2>) -> Vec<f32> {
        self.transformer.logits(hidden).into_data().try_into_vec().expect("logits are f32")
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
        let answer_at = prompt.len() + 2; // after `<|think|>` and `<|answer|>`
        let sequences: Vec<Vec<u32>> = choices
            .iter()
            .map(|choice| {
                let turn = Turn { thought: Thought(String::new()), answer: Answer(choice.clone()) };
                [prompt.as_slice(), &self.codec.encode_turn(&turn)].concat()
            })
            .collect();
        let Some(longest) = sequences.iter().map(Vec::len).max() else { return Ok(Vec::new()) };
        if longest > self.context() {
            return Err(SampleError::TooLong {
                id: "score".to_owned(),
                tokens: prompt.len(),
                max_tokens: (longest - prompt.len()) as u32,
                context: self.context(),
            });
        }
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let hidden = self.transformer.forward(&sequences.concat(), &lengths); // [all tokens, D]
        let mut start = 0;
        let scores = sequences.iter().map(|sequence| {
            let (from, n_answer) = (start + answer_at - 1, sequence.len() - answer_at);
            start += sequence.len();
            let logits = self.logits(hidden.clone().narrow(0, from, n_answer)); // [n_answer, V]
            let logits = logits.chunks_exact(self.vocabulary());
            logits.zip(&sequence[answer_at..]).map(|(logits, token)| f64::from(logprob(logits, *token))).sum()
        });
        Ok(scores.collect())
    }
}

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
