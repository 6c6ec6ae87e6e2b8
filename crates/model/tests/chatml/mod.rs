//! A codec as unlike Harbor's as real ones are: no token at the beginning, text in the template, thoughts between tags that
//! are spelled with several tokens, or no thoughts at all.

use collimate_model::{Codec, Piece, Thoughts, Tokenizer, TurnPieces, Unrenderable};
use collimate_schema::{Answer, Conversation, Malformed, Parsed, Role, Stop, Thought, Turn};

pub(crate) struct ChatMl {
    tokenizer: Tokenizer,
    thinks: bool,
    controls: [u32; 2], // opens, and ends, a message
    ends_thought: Vec<u32>,
}

impl ChatMl {
    /// One whose prompt opens a thought, if it `thinks`.
    pub(crate) fn new(words: &str, thinks: bool) -> ChatMl {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        ChatMl::with(Tokenizer::build(&words, &["<|im_start|>", "<|im_end|>"]), thinks)
    }

    pub(crate) fn with(tokenizer: Tokenizer, thinks: bool) -> ChatMl {
        let controls = ["<|im_start|>", "<|im_end|>"].map(|it| tokenizer.control(it).unwrap());
        let ends_thought = if thinks { tokenizer.encode("\n</think>\n\n") } else { Vec::new() };
        ChatMl { tokenizer, thinks, controls, ends_thought }
    }

    fn opens(&self, what: &str) -> Piece {
        Piece::Template([vec![self.controls[0]], self.tokenizer.encode(what)].concat())
    }

    /// Where the end of the thought begins, and where the answer does.
    fn bounds(&self, sampled: &[u32]) -> Option<(usize, usize)> {
        let end = &self.ends_thought;
        let at = if self.thinks { sampled.windows(end.len()).position(|it| it == end)? } else { 0 };
        Some((at, at + end.len()))
    }
}

impl Codec for ChatMl {
    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn bos(&self) -> Option<u32> {
        None
    }

    fn stops(&self) -> &[u32] {
        &self.controls[1..]
    }

    fn prompt(&self, conversation: &Conversation) -> Result<Vec<Piece>, Unrenderable> {
        let mut pieces = Vec::new();
        for message in conversation.messages() {
            if message.role == Role::Tool {
                return Err(Unrenderable("it has no tools".to_owned()));
            }
            pieces.push(self.opens(&format!("{}\n", message.role.name())));
            pieces.push(Piece::Content(message.content.clone()));
            pieces.push(Piece::Template([vec![self.controls[1]], self.tokenizer.encode("\n")].concat()));
        }
        pieces.push(self.opens(if self.thinks { "assistant\n<think>\n" } else { "assistant\n" }));
        Ok(pieces)
    }

    fn turn(&self, turn: &Turn) -> Result<TurnPieces, Unrenderable> {
        let before_answer = if self.thinks {
            vec![Piece::Content(turn.thought.0.clone()), Piece::Template(self.ends_thought.clone())]
        } else if turn.thought.0.is_empty() {
            Vec::new()
        } else {
            return Err(Unrenderable("it has no thoughts".to_owned()));
        };
        let answer = vec![Piece::Content(turn.answer.0.clone()), Piece::Template(vec![self.controls[1]])];
        Ok(TurnPieces { before_answer, answer })
    }

    fn parse(&self, sampled: &[u32], stop: Stop) -> Parsed {
        let body = match (stop, sampled) {
            (Stop::EndOfTurn, [body @ .., _]) => body,
            (Stop::Text, body) => body,
            _ => return Parsed::Malformed(Malformed::Truncated),
        };
        match self.bounds(body) {
            _ if body.contains(&self.controls[0]) => Parsed::Malformed(Malformed::StrayControl),
            None => Parsed::Malformed(Malformed::UnclosedThought),
            Some((_, at)) if at == body.len() => Parsed::Malformed(Malformed::EmptyAnswer),
            Some((end, at)) => Parsed::Turn(Turn {
                thought: Thought(self.tokenizer.decode(&body[..end])),
                answer: Answer(self.tokenizer.decode(&body[at..])),
            }),
        }
    }

    fn thought(&self) -> Thoughts {
        if self.thinks { Thoughts::Tags } else { Thoughts::None }
    }

    fn open_thought(&self, sampled: &[u32]) -> Option<usize> {
        self.bounds(sampled).is_none().then_some(sampled.len())
    }

    fn answer_so_far(&self, sampled: &[u32]) -> Option<String> {
        Some(self.tokenizer.decode(&sampled[self.bounds(sampled)?.1..]))
    }

    fn ends_thought(&self) -> &[u32] {
        &self.ends_thought
    }

    fn never_in_answer(&self) -> &[u32] {
        &self.controls[..1]
    }

    fn identity(&self) -> Vec<&[u8]> {
        vec![self.tokenizer.to_json().as_bytes()]
    }

    fn files(&self, _: usize) -> Vec<(&'static str, String)> {
        vec![("tokenizer.json", self.tokenizer.to_json().to_owned())]
    }
}
