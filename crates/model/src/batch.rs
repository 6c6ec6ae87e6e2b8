//! Continuous batching: sequences join and leave at every step. A step reads one token of every sequence that is being
//! continued and a chunk of the prompts that wait, in one pass.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use collimate_kernels::{CachedRow, logprob};
use collimate_schema::{Completion, Malformed, Parsed, Request, Sampled, Stop, Trace};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::decoder::Decoder;
use crate::draw::draw;
use crate::prefixes::{Prefixes, n_shared};
use crate::{Codec, Control};

/// Prompt tokens of a step: activations stay near the processor's caches, and nobody waits long for the next token.
const PROMPT_TOKENS: usize = 512;

/// Memory for the blocks of prompts that nobody is using any more, bytes.
const PREFIX_BYTES: usize = 256 << 20;

/// A request on its way.
pub(crate) struct Sequence {
    pub(crate) request: Request,
    pub(crate) prompt: Arc<[u32]>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) sampled: Vec<Sampled>,
    /// Where it goes when it is finished.
    pub(crate) to: Sender<Completion>,
    /// Set when nobody waits for it any more.
    pub(crate) cancelled: Arc<AtomicBool>,
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
    codec: Codec,
    n_rows: usize,
    prefixes: Prefixes,
    waiting: VecDeque<Sequence>,
    prefills: Vec<Prefill>,
    live: Vec<Sequence>,
    rows: Vec<CachedRow>, // one for each of `live`
    /// What a step reads; kept for their memory.
    counts: Vec<usize>,
    tokens: Vec<u32>,
    wanted: Vec<usize>,
}

impl Batch {
    pub(crate) fn new(decoder: Decoder, codec: Codec, n_rows: usize) -> Batch {
        let prefixes = Prefixes::new(PREFIX_BYTES / decoder.block_bytes());
        let (waiting, prefills, live, rows) = Default::default();
        let (counts, tokens, wanted) = Default::default();
        Batch { decoder, codec, n_rows, prefixes, waiting, prefills, live, rows, counts, tokens, wanted }
    }

    /// Works on what comes in, in the order in which it comes, until nobody can send more.
    pub(crate) fn serve(mut self, inbox: &Receiver<Vec<Sequence>>) {
        loop {
            let is_idle = self.live.is_empty() && self.prefills.is_empty() && self.waiting.is_empty();
            let more = if is_idle { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
            match more {
                Ok(sequences) => self.waiting.extend(sequences),
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
        let wanted = |it: &Sequence| !it.cancelled.load(Ordering::Relaxed);
        self.waiting.retain(wanted);
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
            let samples = self.waiting.drain(..n).collect();
            let prefill = Prefill { row: self.decoder.row(known), prompt, samples };
            n_free -= n;
            n_tokens += unread(&prefill);
            self.prefills.push(prefill);
        }
    }

    /// Samples the next token of every sequence whose text is read; those whose prompt is, get their first.
    fn draw(&mut self) {
        let control = |it| self.codec.tokenizer.control(it);
        let controls = [control(Control::Think), control(Control::Answer)];
        let logits = self.decoder.logits(&self.wanted);
        let width = logits.len() / self.wanted.len();
        let (first, others) = logits.split_at(self.live.len() * width);
        let drawn = self.live.par_iter_mut().zip(first.par_chunks_exact(width));
        drawn.for_each(|(sequence, logits)| sequence.draw(logits, controls));
        let mut others = others.chunks_exact(width);
        for Prefill { prompt, row, mut samples } in self.prefills.extract_if(.., |it| it.row.len() == it.prompt.len()) {
            let logits = others.next().expect("one row for each prompt that is read");
            self.prefixes.remember(&prompt, row.blocks());
            samples.par_iter_mut().for_each(|it| it.draw(logits, controls));
            self.rows.extend(samples.iter().map(|_| row.clone()));
            self.live.extend(samples);
        }
    }

    /// Sends finished sequences to where they are awaited.
    fn let_go(&mut self) {
        let end = self.codec.tokenizer.control(Control::End);
        for index in (0..self.live.len()).rev() {
            if let Some(stop) = self.live[index].stop(end, &self.codec) {
                let sequence = self.live.swap_remove(index);
                self.decoder.recycle(self.rows.swap_remove(index));
                let to = sequence.to.clone();
                let _ = to.send(sequence.complete(&self.codec, stop)); // nobody may be waiting any more
            }
        }
    }
}

impl Sequence {
    /// One more token, unless it has all it may have.
    fn draw(&mut self, logits: &[f32], controls: [u32; 2]) {
        if self.sampled.len() < self.request.sampling.max_tokens as usize {
            self.sampled.push(match self.forced(controls) {
                Some(token) => Sampled { token, logprob: logprob(logits, token) },
                None => draw(logits, &self.request.sampling, &mut self.rng),
            });
        }
    }

    /// The token that a spent thought budget puts in place of a sample: the answer's, given those of thought and answer.
    fn forced(&self, [think, answer]: [u32; 2]) -> Option<u32> {
        let budget = self.request.sampling.thought_budget? as usize;
        let thinks = self.sampled.first()?.token == think && self.sampled.iter().all(|it| it.token != answer);
        (thinks && self.sampled.len() > budget).then_some(answer)
    }

    /// Why this sequence is finished, if it is.
    fn stop(&self, end: u32, codec: &Codec) -> Option<Stop> {
        if self.sampled.last().is_some_and(|it| it.token == end) {
            Some(Stop::EndOfTurn)
        } else if self.says_a_stop_text(codec) {
            Some(Stop::Text)
        } else if self.sampled.len() >= self.request.sampling.max_tokens as usize {
            Some(Stop::Length)
        } else {
            None
        }
    }

    fn says_a_stop_text(&self, codec: &Codec) -> bool {
        let stops = &self.request.stop;
        let answer = || codec.answer_so_far(&self.tokens());
        !stops.is_empty() && answer().is_some_and(|answer| stops.iter().any(|it| answer.contains(it)))
    }

    fn tokens(&self) -> Vec<u32> {
        self.sampled.iter().map(|it| it.token).collect()
    }

    fn complete(self, codec: &Codec, stop: Stop) -> Completion {
        let mut parsed = codec.parse_continuation(&self.tokens(), stop);
        if let (Stop::Text, Parsed::Turn(turn)) = (stop, &mut parsed) {
            let answer = &mut turn.answer.0;
            answer.truncate(self.request.stop.iter().filter_map(|it| answer.find(it)).min().unwrap_or(answer.len()));
            if answer.trim().is_empty() {
                parsed = Parsed::Malformed(Malformed::EmptyAnswer);
            }
        }
        let trace = Trace::Tokens { prompt: self.prompt.to_vec(), sampled: self.sampled };
        Completion { id: self.request.id, trace, parsed, stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::{Answer, Conversation, RequestId, Sampling, Seed, Thought, Turn};

    use crate::Tokenizer;

    fn sequence(sampling: Sampling, stop: &[&str], sampled: &[u32]) -> Sequence {
        Sequence {
            request: Request {
                id: RequestId("0".to_owned()),
                conversation: Conversation::user("hello"),
                sampling,
                seed: Seed(0),
                stop: stop.iter().map(|&it| it.to_owned()).collect(),
            },
            prompt: Arc::from([1]),
            rng: Seed(0).rng(),
            sampled: sampled.iter().map(|token| Sampled { token: *token, logprob: 0.0 }).collect(),
            to: std::sync::mpsc::channel().0,
            cancelled: Arc::default(),
        }
    }

    #[test]
    fn an_answer_ends_before_a_stop_text() {
        let codec = Codec::new(Tokenizer::build(&["no", "harbor", "sorry"].map(str::to_owned)));
        let turn = Turn { thought: Thought("no harbor".to_owned()), answer: Answer("sorry no harbor".to_owned()) };
        let mut tokens = codec.encode_turn(&turn);
        let end = tokens.pop().expect("the stop token");
        let stopped = |stop: &[&str], tokens: &[u32]| {
            let sequence = sequence(Sampling::at(1.0, 50), stop, tokens);
            let stop = sequence.stop(end, &codec)?;
            Some((stop, sequence.complete(&codec, stop).parsed.turn().map(|it| it.answer.0.clone())))
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
        const THINK: u32 = 7;
        const ANSWER: u32 = 8;
        let forced = |budget: Option<u32>, sampled: &[u32]| {
            let sequence = sequence(Sampling { thought_budget: budget, ..Sampling::greedy(9) }, &[], sampled);
            sequence.forced([THINK, ANSWER])
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
