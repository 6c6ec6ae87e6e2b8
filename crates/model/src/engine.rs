//! The sampling engine: a transformer on this machine behind the seam.
//!
//! A thread of its own holds the weights and continues everything that callers have asked for, side by side: a teacher and a
//! judge may be the same engine. Each distinct prompt is read once, and so is a beginning that prompts have in common. What a
//! request samples does not depend on the others, nor on how many run together; an engine holds one state of the weights for
//! its whole life, so nothing cached can outlive an optimizer step.

mod batch;
mod draw;
mod prefixes;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use collimate_kernels::logprob;
use collimate_schema::{
    Answer, By, Completion, Completions, Conversation, Failure, Request, RequestId, SampleError, Sampler, Thought, Turn,
};

use crate::chat::codec::{Codec, EncodedTurn, Unrenderable};
use crate::engine::batch::{Asked, Batch};
use crate::{Decoder, Transformer};

/// Samples from one state of one transformer.
pub struct Engine {
    transformer: Transformer,
    codec: Arc<dyn Codec>,
    by: By,
    n_rows: usize,
    worker: OnceLock<Worker>,
}

/// The thread that samples; it starts with the first batch and ends with the engine.
struct Worker {
    inbox: Option<Sender<Vec<Asked>>>,
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
    pub fn new(transformer: Transformer, codec: Arc<dyn Codec>, by: By) -> Engine {
        Engine { transformer, codec, by, n_rows: Engine::ROWS, worker: OnceLock::new() }
    }

    /// Lets `n_rows`, at least one, decode together.
    pub fn with_rows(self, n_rows: usize) -> Engine {
        Engine { n_rows: n_rows.max(1), ..self }
    }

    /// How the model is asked and read.
    pub fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// The model in use.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    fn inbox(&self) -> &Sender<Vec<Asked>> {
        let worker = self.worker.get_or_init(|| {
            let (inbox, incoming) = channel();
            let batch = Batch::new(Decoder::new(self.transformer.clone()), self.codec.clone(), self.n_rows);
            let thread = std::thread::Builder::new().name("sampling".to_owned()).spawn(move || batch.serve(&incoming));
            Worker { inbox: Some(inbox), thread: Some(thread.expect("the system starts a thread")) }
        });
        worker.inbox.as_ref().expect("only its end closes it")
    }

    /// What a request continues, if it can be continued. `prompts` has those of the requests before it.
    fn prompt(
        &self,
        conversation: Conversation,
        max_tokens: u32,
        prompts: &mut HashMap<Conversation, Arc<[u32]>>,
    ) -> Result<Arc<[u32]>, Failure> {
        let prompt = match prompts.get(&conversation) {
            Some(prompt) => prompt.clone(),
            None => {
                let prompt: Arc<[u32]> = self.encode(&conversation)?.into();
                prompts.insert(conversation, prompt.clone());
                prompt
            }
        };
        self.check_room(prompt.len(), max_tokens)?;
        Ok(prompt)
    }

    fn encode(&self, conversation: &Conversation) -> Result<Vec<u32>, Failure> {
        self.codec.encode_prompt(conversation).map_err(|error| unsupported(&error))
    }

    fn check_room(&self, tokens: usize, max_tokens: u32) -> Result<(), Failure> {
        let context = self.transformer.shape().n_positions;
        if tokens + max_tokens as usize <= context {
            return Ok(());
        }
        Err(Failure::TooLong { tokens, max_tokens, context })
    }

    fn vocabulary(&self) -> usize {
        self.transformer.shape().n_vocab
    }
}

impl Sampler for Engine {
    fn by(&self) -> By {
        self.by.clone()
    }

    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError> {
        SampleError::check(&batch)?;
        let mut prompts = HashMap::new();
        let (to, from) = channel();
        let cancelled = Arc::<AtomicBool>::default();
        let (mut asked, mut failed) = (Vec::with_capacity(batch.len()), VecDeque::new());
        for Request { id, conversation, sampling, seed, stop } in batch {
            match self.prompt(conversation, sampling.max_tokens, &mut prompts) {
                Ok(prompt) => {
                    let (to, cancelled) = (to.clone(), cancelled.clone());
                    asked.push(Asked { id, prompt, sampling, seed, stop, to, cancelled });
                }
                Err(failure) => failed.push_back((id, failure)),
            }
        }
        // Equal prompts, and those that begin alike, stand together.
        asked.sort_by(|a, b| a.prompt.cmp(&b.prompt));
        let waiting = asked.iter().map(|it| it.id.clone()).collect();
        let _ = self.inbox().send(asked); // were the thread gone, `from` would say so
        Ok(Box::new(Finished { from, failed, waiting, cancelled }))
    }

    /// The probability that the model, answering without a thought, says exactly the choice and stops: summed over the
    /// tokens of the answer, stop token included.
    fn score(&self, context: &Conversation, choices: &[String]) -> Result<Vec<f64>, Failure> {
        let prompt = self.encode(context)?;
        let turn = |choice: &String| {
            let turn = Turn { thought: Thought(String::new()), answer: Answer(choice.clone()) };
            self.codec.encode_turn(&turn).map_err(|error| unsupported(&error))
        };
        let turns: Vec<EncodedTurn> = choices.iter().map(turn).collect::<Result<_, _>>()?;
        let Some(longest) = turns.iter().map(|it| it.tokens.len()).max() else { return Ok(Vec::new()) };
        self.check_room(prompt.len(), longest as u32)?;
        // The context is read once, but for its last token: each choice is read after it, but for its own last token, which
        // predicts nothing.
        let (last, before) = prompt.split_last().expect("a prompt has tokens");
        let mut decoder = Decoder::new(self.transformer.clone());
        let mut read = [decoder.row(Vec::new())];
        decoder.extend(&mut read, &[before.len()], before);
        let [read] = read;
        let counts: Vec<usize> = turns.iter().map(|it| it.tokens.len()).collect();
        let after_last = |it: &EncodedTurn| [&[*last], &it.tokens[..it.tokens.len() - 1]].concat();
        let tokens: Vec<u32> = turns.iter().flat_map(after_last).collect();
        decoder.extend(&mut vec![read; turns.len()], &counts, &tokens);
        let mut start = 0;
        let scores = turns.iter().map(|EncodedTurn { tokens, n_before_answer: first }| {
            let predicting: Vec<usize> = (start + first..start + tokens.len()).collect();
            start += tokens.len();
            let logits = decoder.logits(&predicting).chunks_exact(self.vocabulary());
            logits.zip(&tokens[*first..]).map(|(logits, token)| f64::from(logprob(logits, *token))).sum()
        });
        let scores: Vec<f64> = scores.collect();
        if scores.iter().all(|it| it.is_finite()) { Ok(scores) } else { Err(Failure::NotFinite) }
    }
}

fn unsupported(error: &Unrenderable) -> Failure {
    Failure::Unsupported(format!("put the request into tokens: {error}"))
}

/// Completions as they finish.
struct Finished {
    from: Receiver<(RequestId, Result<Completion, Failure>)>,
    /// Those that never began.
    failed: VecDeque<(RequestId, Failure)>,
    /// Those that are yet to come.
    waiting: BTreeSet<RequestId>,
    cancelled: Arc<AtomicBool>,
}

impl Iterator for Finished {
    type Item = (RequestId, Result<Completion, Failure>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((id, failure)) = self.failed.pop_front() {
            return Some((id, Err(failure)));
        }
        if self.waiting.is_empty() {
            return None;
        }
        match self.from.recv() {
            Ok((id, reply)) => {
                self.waiting.remove(&id);
                Some((id, reply))
            }
            Err(_) => {
                let ended = "the sampling thread ended early, its message stands above".to_owned();
                Some((self.waiting.pop_first()?, Err(Failure::Unavailable(ended))))
            }
        }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
