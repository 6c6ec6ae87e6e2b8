//! Continuous batching: sequences join and leave at every step. A step reads one token of every sequence that is being
//! continued and a chunk of the prompts that wait, in one pass.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use collimate_kernels::{CachedRow, logprob};
use collimate_schema::{
    Completion, Failure, Malformed, Parsed, RequestId, Sampled, Sampling, Seed, Stop, Trace, Usage,
};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::Decoder;
use crate::chat::codec::Codec;
use crate::engine::draw::draw;
use crate::engine::prefixes::{Prefixes, n_shared};

/// Prompt tokens of a step: activations stay near the processor's caches, and nobody waits long for the next token.
const PROMPT_TOKENS: usize = 512;

/// Memory for the blocks of prompts that nobody is using any more, bytes.
const PREFIX_BYTES: usize = 256 << 20;

/// A request that waits: many may, so it has no more than it needs.
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) prompt: Arc<[u32]>,
    pub(crate) sampling: Sampling,
    pub(crate) seed: Seed,
    pub(crate) stop: Vec<String>,
    /// Where it goes when it is finished.
    pub(crate) to: Sender<(RequestId, Result<Completion, Failure>)>,
    /// Set when nobody waits for it any more.
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// A request on its way.
struct Sequence {
    asked: Asked,
    rng: ChaCha8Rng,
    sampled: Vec<Sampled>,
    /// How many of [`Codec::ends_thought`] a spent thought budget has put there.
    n_forced: usize,
}

/// A prompt that is being read, for the sequences that continue it.
struct Prefill {
    prompt: Arc<[u32]>,
    row: CachedRow,
    samples: Vec<Sequence>,
}

/// Everything under way.
pub(crate) struct Batch {
    decoder: Decoder,
    codec: Arc<dyn Codec>,
    n_rows: usize,
    prefixes: Prefixes,
    waiting: VecDeque<Asked>,
    prefills: Vec<Prefill>,
    live: Vec<Sequence>,
    rows: Vec<CachedRow>, // one for each of `live`
    /// What a step reads; kept for their memory.
    counts: Vec<usize>,
    tokens: Vec<u32>,
    wanted: Vec<usize>,
}

impl Batch {
    pub(crate) fn new(decoder: Decoder, codec: Arc<dyn Codec>, n_rows: usize) -> Batch {
        let prefixes = Prefixes::new(PREFIX_BYTES / decoder.block_bytes());
        let (waiting, prefills, live, rows) = Default::default();
        let (counts, tokens, wanted) = Default::default();
        Batch { decoder, codec, n_rows, prefixes, waiting, prefills, live, rows, counts, tokens, wanted }
    }

    /// Works on what comes in, in the order in which it comes, until nobody can send more.
    pub(crate) fn serve(mut self, inbox: &Receiver<Vec<Asked>>) {
        loop {
            let is_idle = self.live.is_empty() && self.prefills.is_empty() && self.waiting.is_empty();
            let more = if is_idle { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
            match more {
                Ok(asked) => self.waiting.extend(asked),
                Err(TryRecvError::Disconnected) if is_idle => return,
                // On one of the threads that compute: the others are then never waited for from outside.
                Err(_) => rayon::scope(|_| self.step()),
            }
        }
    }

    fn step(&mut self) {
        self.forget_cancelled();
        self.begin_prompts();
        self.counts.clear();
        self.tokens.clear();
        self.wanted.clear();
        for (index, sequence) in self.live.iter().enumerate() {
            self.counts.push(1);
            self.tokens.push(sequence.sampled.last().expect("it has its first token").token);
            self.wanted.push(index);
        }
        let mut left = PROMPT_TOKENS;
        for Prefill { prompt, row, .. } in &self.prefills {
            let unread = &prompt[row.len()..];
            let n = unread.len().min(left);
            left -= n;
            self.counts.push(n);
            self.tokens.extend_from_slice(&unread[..n]);
            if n == unread.len() {
                self.wanted.push(self.tokens.len() - 1);
            }
        }
        if self.tokens.is_empty() {
            return;
        }
        let n_live = self.live.len();
        let empty = || self.decoder.row(Vec::new());
        self.rows.extend(self.prefills.iter_mut().map(|it| std::mem::replace(&mut it.row, empty())));
        self.decoder.extend(&mut self.rows, &self.counts, &self.tokens);
        for (prefill, row) in self.prefills.iter_mut().zip(self.rows.drain(n_live..)) {
            prefill.row = row;
        }
        if !self.wanted.is_empty() {
            self.draw();
            self.let_go();
        }
    }

    /// Drops what nobody waits for.
    fn forget_cancelled(&mut self) {
        let is_awaited = |it: &Asked| !it.cancelled.load(Ordering::Relaxed);
        let wanted = |it: &Sequence| is_awaited(&it.asked);
        self.waiting.retain(is_awaited);
        for prefill in &mut self.prefills {
            prefill.samples.retain(wanted);
        }
        self.prefills.retain(|it| !it.samples.is_empty());
        for index in (0..self.live.len()).rev().filter(|it| !wanted(&self.live[*it])).collect::<Vec<_>>() {
            self.live.swap_remove(index);
            self.decoder.recycle(self.rows.swap_remove(index));
        }
    }

    /// Starts to read waiting prompts, as many as a step has room for. One whose beginning is just being read waits for it.
    fn begin_prompts(&mut self) {
        let unread = |it: &Prefill| it.prompt.len() - it.row.len();
        let mut n_tokens: usize = self.prefills.iter().map(unread).sum();
        let mut n_free = self.n_rows - self.live.len() - self.prefills.iter().map(|it| it.samples.len()).sum::<usize>();
        while n_free > 0 && n_tokens < PROMPT_TOKENS {
            let Some(prompt) = self.waiting.front().map(|it| it.prompt.clone()) else { return };
            let known = self.prefixes.find(&prompt);
            if self.prefills.iter().any(|it| n_shared(&it.prompt, &prompt) > known.len()) {
                return;
            }
            let n = self.waiting.iter().take(n_free).take_while(|it| it.prompt == prompt).count();
            let samples = self.waiting.drain(..n).map(Sequence::new).collect();
            let prefill = Prefill { row: self.decoder.row(known), prompt, samples };
            n_free -= n;
            n_tokens += unread(&prefill);
            self.prefills.push(prefill);
        }
    }

    /// Samples the next token of every sequence whose text is read; those whose prompt is, get their first.
    fn draw(&mut self) {
        let codec = &*self.codec;
        let logits = self.decoder.logits(&self.wanted);
        let width = logits.len() / self.wanted.len();
        let (first, others) = logits.split_at(self.live.len() * width);
        let drawn = self.live.par_iter_mut().zip(first.par_chunks_exact(width));
        drawn.for_each(|(sequence, logits)| sequence.draw(logits, codec));
        let mut others = others.chunks_exact(width);
        for Prefill { prompt, row, mut samples } in self.prefills.extract_if(.., |it| it.row.len() == it.prompt.len()) {
            let logits = others.next().expect("one row for each prompt that is read");
            self.prefixes.remember(&prompt, row.blocks());
            samples.par_iter_mut().for_each(|it| it.draw(logits, codec));
            self.rows.extend(samples.iter().map(|_| row.clone()));
            self.live.extend(samples);
        }
    }

    /// Sends finished sequences to where they are awaited.
    fn let_go(&mut self) {
        for index in (0..self.live.len()).rev() {
            if let Some(end) = self.live[index].end(&*self.codec) {
                let sequence = self.live.swap_remove(index);
                self.decoder.recycle(self.rows.swap_remove(index));
                let (id, to) = (sequence.asked.id.clone(), sequence.asked.to.clone());
                let _ = to.send((id, end.map(|stop| sequence.complete(&*self.codec, stop)))); // nobody may be waiting any more
            }
        }
    }
}

impl Sequence {
    fn new(asked: Asked) -> Sequence {
        Sequence { rng: asked.seed.rng(), sampled: Vec::new(), n_forced: 0, asked }
    }

    /// One more token, unless it has all it may have.
    fn draw(&mut self, logits: &[f32], codec: &dyn Codec) {
        if self.sampled.len() < self.asked.sampling.max_tokens as usize {
            let sampled = match self.forced(codec) {
                Some(token) => {
                    self.n_forced += 1;
                    Sampled { token, logprob: logprob(logits, token) }
                }
                None => draw(logits, &self.asked.sampling, self.barred(codec), &mut self.rng),
            };
            self.sampled.push(sampled);
        }
    }

    /// The token that a spent thought budget puts in place of a sample: the next of those that end the thought.
    fn forced(&self, codec: &dyn Codec) -> Option<u32> {
        let budget = self.asked.sampling.thought_budget? as usize;
        let is_spent = || codec.open_thought(&self.tokens()).is_some_and(|n_thought| n_thought >= budget);
        let next = codec.ends_thought().get(self.n_forced).copied();
        if self.n_forced > 0 || is_spent() { next } else { None }
    }

    /// What is not drawn. A model whose thought was cut short goes on with it, and then ends it once more: an answer that a
    /// budget began holds no control token.
    fn barred<'c>(&self, codec: &'c dyn Codec) -> &'c [u32] {
        if self.n_forced > 0 { codec.never_in_answer() } else { &[] }
    }

    /// How this sequence ends, if it does.
    fn end(&self, codec: &dyn Codec) -> Option<Result<Stop, Failure>> {
        match self.sampled.last() {
            Some(last) if !last.logprob.is_finite() => Some(Err(Failure::NotFinite)),
            _ => self.stop(codec).map(Ok),
        }
    }

    /// Why this sequence is finished, if it is.
    fn stop(&self, codec: &dyn Codec) -> Option<Stop> {
        if self.sampled.last().is_some_and(|it| codec.stops().contains(&it.token)) {
            Some(Stop::EndOfTurn)
        } else if self.says_a_stop_text(codec) {
            Some(Stop::Text)
        } else if self.sampled.len() >= self.asked.sampling.max_tokens as usize {
            Some(Stop::Length)
        } else {
            None
        }
    }

    fn says_a_stop_text(&self, codec: &dyn Codec) -> bool {
        let stops = &self.asked.stop;
        let answer = || codec.answer_so_far(&self.tokens());
        !stops.is_empty() && answer().is_some_and(|answer| stops.iter().any(|it| answer.contains(it)))
    }

    fn tokens(&self) -> Vec<u32> {
        self.sampled.iter().map(|it| it.token).collect()
    }

    fn complete(self, codec: &dyn Codec, stop: Stop) -> Completion {
        let mut parsed = codec.parse(&self.tokens(), stop);
        if let (Stop::Text, Parsed::Turn(turn)) = (stop, &mut parsed) {
            let answer = &mut turn.answer.0;
            answer.truncate(self.asked.stop.iter().filter_map(|it| answer.find(it)).min().unwrap_or(answer.len()));
            if answer.trim().is_empty() {
                parsed = Parsed::Malformed(Malformed::EmptyAnswer);
            }
        }
        let usage = Some(Usage { read: self.asked.prompt.len() as u64, written: self.sampled.len() as u64 });
        let trace = Trace::Tokens { prompt: self.asked.prompt.to_vec(), sampled: self.sampled };
        Completion { trace, parsed, stop, usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::{Answer, PromptId, Thought, Turn};

    use crate::chat::harbor::Harbor;

    fn harbor() -> Arc<dyn Codec> {
        Arc::new(Harbor::new(&["no", "harbor", "sorry"].map(str::to_owned)))
    }

    fn sequence(sampling: Sampling, stop: &[&str], sampled: &[u32]) -> Sequence {
        let asked = Asked {
            id: RequestId::new("test", &PromptId("0".to_owned())),
            prompt: Arc::from([1]),
            sampling,
            seed: Seed(0),
            stop: stop.iter().map(|&it| it.to_owned()).collect(),
            to: std::sync::mpsc::channel().0,
            cancelled: Arc::default(),
        };
        let sampled = sampled.iter().map(|token| Sampled { token: *token, logprob: 0.0 }).collect();
        Sequence { sampled, ..Sequence::new(asked) }
    }

    #[test]
    fn an_answer_ends_before_a_stop_text() {
        let codec = harbor();
        let turn = Turn { thought: Thought("no harbor".to_owned()), answer: Answer("sorry no harbor".to_owned()) };
        let mut tokens = codec.encode_turn(&turn).expect("it lays out any turn").tokens;
        tokens.pop().expect("the stop token");
        let stopped = |stop: &[&str], tokens: &[u32]| {
            let sequence = sequence(Sampling::at(1.0, 50), stop, tokens);
            let stop = sequence.stop(&*codec)?;
            Some((stop, sequence.complete(&*codec, stop).parsed.turn().map(|it| it.answer.0.clone())))
        };
        assert_eq!(stopped(&["no harbor"], &tokens), Some((Stop::Text, Some("sorry ".to_owned()))));
        assert_eq!(
            stopped(&["harbor", "rry"], &tokens),
            Some((Stop::Text, Some("so".to_owned()))),
            "the first of them"
        );
        assert_eq!(stopped(&["sorry"], &tokens), Some((Stop::Text, None)), "nothing is left");
        assert_eq!(
            stopped(&["no harbor"], &tokens[..tokens.len() - 1]),
            None,
            "the thought says it, the answer not yet"
        );
        assert_eq!(stopped(&[], &tokens), None);
    }

    #[test]
    fn a_spent_thought_budget_begins_the_answer() {
        let codec = harbor();
        let [think, answer] = ["<|think|>", "<|answer|>"].map(|it| codec.tokenizer().control(it).expect("one of its"));
        let a = codec.tokenizer().encode("a")[0];
        let forced = |budget: Option<u32>, sampled: &[u32]| {
            let sequence = sequence(Sampling { thought_budget: budget, ..Sampling::greedy(9) }, &[], sampled);
            sequence.forced(&*codec)
        };
        assert_eq!(forced(Some(2), &[]), None, "nothing is thought yet");
        assert_eq!(forced(Some(2), &[think, a]), None, "one token of thought");
        assert_eq!(forced(Some(2), &[think, a, a]), Some(answer), "two of two");
        assert_eq!(forced(Some(0), &[think]), Some(answer), "no thought at all");
        assert_eq!(forced(Some(2), &[think, a, answer, a, a]), None, "it answers already");
        assert_eq!(forced(Some(2), &[a, a, a, a]), None, "it never thought");
        assert_eq!(forced(None, &[think, a, a, a]), None, "no budget");
    }

    #[test]
    fn fault_17_an_answer_that_a_budget_began_opens_nothing_more() {
        let codec = harbor();
        let [think, answer] = ["<|think|>", "<|answer|>"].map(|it| codec.tokenizer().control(it).expect("one of its"));
        let a = codec.tokenizer().encode("a")[0];
        let mut logits = vec![0.0; codec.tokenizer().vocab_size()];
        (logits[answer as usize], logits[think as usize], logits[a as usize]) = (9.0, 8.0, 7.0);
        for (budget, wanted) in [(Some(0), [think, answer, a, a]), (None, [think, answer, answer, answer])] {
            let mut sequence = sequence(Sampling { thought_budget: budget, ..Sampling::greedy(9) }, &[], &[think]);
            (0..3).for_each(|_| sequence.draw(&logits, &*codec));
            assert_eq!(sequence.tokens(), wanted, "{budget:?}");
            assert_eq!(sequence.sampled[3].logprob, logprob(&logits, wanted[3]), "the model's own");
        }
    }
}
