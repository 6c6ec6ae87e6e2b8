//! The sampling engine: a transformer on this machine behind the seam.
//!
//! A fixed number of rows decode together. A finished row leaves at once, and when a quarter of the rows are free, waiting
//! requests take them: each distinct prompt is run once, and every sample of it starts from a copy of its cache. What a
//! request samples does not depend on the others, nor on the number of rows; an engine holds one state of the weights for its
//! whole life, so nothing cached can outlive an optimizer step.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use burn::Tensor;
use collimate_kernels::logprob;
use collimate_schema::{
    Answer, By, Completion, Completions, Conversation, Request, SampleError, Sampled, Sampler, Stop, Thought, Trace,
    Turn,
};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::draw::draw;
use crate::{Cache, Codec, Control, Transformer};

/// Prompts are run in groups of at most this many positions: activations then stay near the processor's caches, and their
/// memory is reused instead of being mapped anew.
const PREFILL_POSITIONS: usize = 1024;

/// Samples from one state of one transformer.
pub struct Engine {
    transformer: Transformer,
    codec: Codec,
    by: By,
    n_rows: usize,
}

impl Engine {
    /// Rows that decode together unless [`Engine::with_rows`] says otherwise.
    pub const ROWS: usize = 64;

    /// An engine over `transformer`, whose rollouts are signed `by`.
    pub fn new(transformer: Transformer, codec: Codec, by: By) -> Engine {
        Engine { transformer, codec, by, n_rows: Engine::ROWS }
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
        let mut rows = Vec::new();
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
            rows.push((prompt, request));
        }
        // Equal prompts stand together, and prompts that run together are of similar length.
        rows.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        let waiting = rows
            .into_iter()
            .map(|(prompt, request)| Row {
                prompt,
                rng: request.seed.rng(),
                sampled: Vec::with_capacity(request.sampling.max_tokens as usize),
                request: request.clone(),
            })
            .collect();
        Ok(Box::new(Running {
            engine: self,
            waiting,
            rows: Vec::new(),
            cache: Cache::default(),
            finished: VecDeque::new(),
        }))
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
        let mut tokens = vec![self.codec.tokenizer.control(Control::Pad); sequences.len() * longest];
        for (row, sequence) in tokens.chunks_exact_mut(longest).zip(&sequences) {
            row[..sequence.len()].copy_from_slice(sequence);
        }
        let hidden = self.transformer.forward(&tokens, &vec![longest; sequences.len()]); // [choices * longest, D]
        let scores = sequences.iter().enumerate().map(|(row, sequence)| {
            let (from, n_answer) = (row * longest + answer_at - 1, sequence.len() - answer_at);
            let logits = self.logits(hidden.clone().narrow(0, from, n_answer)); // [n_answer, V]
            let logits = logits.chunks_exact(self.vocabulary());
            logits.zip(&sequence[answer_at..]).map(|(logits, token)| f64::from(logprob(logits, *token))).sum()
        });
        Ok(scores.collect())
    }
}

/// A request on its way.
struct Row {
    request: Request,
    prompt: Arc<[u32]>,
    rng: ChaCha8Rng,
    sampled: Vec<Sampled>,
}

/// A batch under way; pulling on it does the work.
struct Running<'a> {
    engine: &'a Engine,
    waiting: VecDeque<Row>,
    rows: Vec<Row>,
    /// One row of keys and values for each of `rows`.
    cache: Cache,
    finished: VecDeque<Completion>,
}

impl Iterator for Running<'_> {
    type Item = Result<Completion, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.finished.is_empty() {
            let n_free = self.engine.n_rows - self.rows.len();
            if !self.waiting.is_empty() && 4 * n_free >= self.engine.n_rows {
                self.admit(n_free);
            } else if !self.rows.is_empty() {
                self.decode();
            } else {
                return None;
            }
        }
        self.finished.pop_front().map(Ok)
    }
}

impl Running<'_> {
    /// Runs the prompts of the next `n` waiting requests and samples their first tokens.
    fn admit(&mut self, n: usize) {
        let admitted: Vec<Row> = self.waiting.drain(..n.min(self.waiting.len())).collect();
        let mut prompts: Vec<Arc<[u32]>> = admitted.iter().map(|row| row.prompt.clone()).collect();
        prompts.dedup();
        let mut which = 0;
        let indices: Vec<usize> = admitted
            .iter()
            .map(|row| {
                which += usize::from(prompts[which] != row.prompt);
                which
            })
            .collect();
        let room = admitted.iter().map(|row| row.request.sampling.max_tokens as usize).max().unwrap_or(0);
        let longest = prompts.iter().map(|it| it.len()).max().unwrap_or(1);
        let (mut cache, mut logits) = (Cache::default(), Vec::new());
        for prompts in prompts.chunks((PREFILL_POSITIONS / longest).max(1)) {
            let prompts: Vec<&[u32]> = prompts.iter().map(|it| &it[..]).collect();
            let (cached, hidden) = self.engine.transformer.prefill(&prompts, room);
            cache.append(cached);
            logits.extend(self.engine.logits(hidden));
        }
        self.cache.append(cache.select(&indices));
        let n_running = self.rows.len();
        self.rows.extend(admitted);
        self.draw(&logits, n_running, &indices);
    }

    /// One more token for every row.
    fn decode(&mut self) {
        let last = |row: &Row| row.sampled.last().expect("a running row has its first token").token;
        let tokens: Vec<u32> = self.rows.iter().map(last).collect();
        let hidden = self.engine.transformer.decode(&tokens, &mut self.cache);
        let each: Vec<usize> = (0..self.rows.len()).collect();
        self.draw(&self.engine.logits(hidden), 0, &each);
    }

    /// Samples a token for each of `rows[from..]` from the row of `logits` [n, V] that `indices` names, then lets finished
    /// rows go.
    fn draw(&mut self, logits: &[f32], from: usize, indices: &[usize]) {
        let width = self.engine.vocabulary();
        let control = |it| self.engine.codec.tokenizer.control(it);
        let (end, controls) = (control(Control::End), [control(Control::Think), control(Control::Answer)]);
        self.rows[from..].par_iter_mut().zip(indices).for_each(|(row, index)| {
            if row.sampled.len() < row.request.sampling.max_tokens as usize {
                let logits = &logits[index * width..][..width];
                row.sampled.push(match row.forced(controls) {
                    Some(token) => Sampled { token, logprob: logprob(logits, token) },
                    None => draw(logits, &row.request.sampling, &mut row.rng),
                });
            }
        });
        let stops: Vec<Option<Stop>> = self.rows.iter().map(|row| row.stop(end)).collect();
        if stops.iter().all(Option::is_none) {
            return;
        }
        let live: Vec<usize> = (0..stops.len()).filter(|row| stops[*row].is_none()).collect();
        self.cache = std::mem::take(&mut self.cache).select(&live);
        for (row, stop) in std::mem::take(&mut self.rows).into_iter().zip(stops) {
            match stop {
                None => self.rows.push(row),
                Some(stop) => self.finished.push_back(row.complete(&self.engine.codec, stop)),
            }
        }
    }
}

impl Row {
    /// The token that a spent thought budget puts in place of a sample: the answer's, given those of thought and answer.
    fn forced(&self, [think, answer]: [u32; 2]) -> Option<u32> {
        let budget = self.request.sampling.thought_budget? as usize;
        let thinks = self.sampled.first()?.token == think && self.sampled.iter().all(|it| it.token != answer);
        (thinks && self.sampled.len() > budget).then_some(answer)
    }

    /// Why this row is finished, if it is.
    fn stop(&self, end: u32) -> Option<Stop> {
        if self.sampled.last().is_some_and(|it| it.token == end) {
            Some(Stop::EndOfTurn)
        } else if self.sampled.len() >= self.request.sampling.max_tokens as usize {
            Some(Stop::Length)
        } else {
            None
        }
    }

    fn complete(self, codec: &Codec, stop: Stop) -> Completion {
        let tokens: Vec<u32> = self.sampled.iter().map(|it| it.token).collect();
        let parsed = codec.parse_continuation(&tokens, stop);
        let trace = Trace::Tokens { prompt: self.prompt.to_vec(), sampled: self.sampled };
        Completion { id: self.request.id, trace, parsed, stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::{RequestId, Sampling, Seed};

    #[test]
    fn a_spent_thought_budget_begins_the_answer() {
        const THINK: u32 = 7;
        const ANSWER: u32 = 8;
        let forced = |budget: Option<u32>, sampled: &[u32]| {
            let row = Row {
                request: Request {
                    id: RequestId("0".to_owned()),
                    conversation: Conversation::user("hello"),
                    sampling: Sampling { thought_budget: budget, ..Sampling::greedy(9) },
                    seed: Seed(0),
                },
                prompt: Arc::from([1]),
                rng: Seed(0).rng(),
                sampled: sampled.iter().map(|token| Sampled { token: *token, logprob: 0.0 }).collect(),
            };
            row.forced([THINK, ANSWER])
        };
        assert_eq!(forced(Some(2), &[]), None, "nothing is thought yet");
        assert_eq!(forced(Some(2), &[THINK, 1]), None, "one token of thought");
        assert_eq!(forced(Some(2), &[THINK, 1, 2]), Some(ANSWER), "two of two");
        assert_eq!(forced(Some(0), &[THINK]), Some(ANSWER), "no thought at all");
        assert_eq!(forced(Some(2), &[THINK, 1, ANSWER, 2, 3]), None, "it answers already");
        assert_eq!(forced(Some(2), &[1, 2, 3, 4]), None, "it never thought");
        assert_eq!(forced(None, &[THINK, 1, 2, 3]), None, "no budget");
    }
}
