//! The mask proof: what must be true of training data before the first step of fine-tuning, checked on the very tokens that
//! will be trained on. A policy is to be learnt, not read: no text of the spec may stand in the context, and the model must
//! be trained on exactly the turn it will have to produce, after exactly the prompt it will be given.

use std::collections::HashMap;

use collimate_schema::{Brief, Example, PromptId, Spec};
use serde::Serialize;

use crate::{Codec, Control, Controls, Encoded};

/// Evidence that every check held, and on how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// Examples checked.
    pub examples: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Tokens whose loss counts.
    pub trained: usize,
}

/// The first check that failed, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("example `{prompt}`, token {index} `{token}`: {problem}")]
pub struct Fault {
    /// Which example.
    pub prompt: PromptId,
    /// Position in the encoded example, from 0; its length where a token is missing at the end.
    pub index: usize,
    /// The token that stands there.
    pub token: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What the mask proof forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The policy would be read from the context instead of learnt.
    #[error("the untrained context quotes the spec, `{0}`: train on the original conversation, without its brief")]
    BriefInContext(String),
    /// Tokens and mask do not belong together.
    #[error("{tokens} tokens, but a mask of {mask}")]
    MaskLength {
        /// Tokens.
        tokens: usize,
        /// Entries of the mask.
        mask: usize,
    },
    /// Not exactly one, at the start.
    #[error("the sequence must begin with `<|bos|>`")]
    NoBos,
    /// See [`Problem::NoBos`].
    #[error("a second `<|bos|>`: the template writes one, nothing else may add another")]
    SecondBos,
    /// Content was encoded as if it were the template's.
    #[error("text encodes to a control token: encode content with `encode_text`, which cannot")]
    ControlInText,
    /// The model would be trained after a prompt it is never given.
    #[error("the prompt differs from what sampling renders, which has `{0}` here")]
    PromptDiffers(String),
    /// Typically a template that drops the reasoning of finished turns.
    #[error("the thought does not survive the template, which must have `{0}` here")]
    ThoughtLost(String),
    /// The answer or the end of the turn is not the example's.
    #[error("the trained turn differs from the example's, which has `{0}` here")]
    TurnDiffers(String),
    /// The model would learn to write prompts.
    #[error("the context is trained on: the loss belongs on the turn only")]
    ContextTrained,
    /// The model would never learn to stop.
    #[error("the stop token is not trained: the model would not learn to end its turn")]
    StopUntrained,
    /// A hole in the mask.
    #[error("a token of the turn is not trained")]
    TurnUntrained,
}

/// Checks every example together with the tokens that are to be trained on, in order, up to the first fault.
pub fn prove<'a>(
    spec: &Spec,
    codec: &Codec,
    examples: impl IntoIterator<Item = (&'a Example, &'a Encoded)>,
) -> Result<Proof, Fault> {
    let lines = SpecLines::new(spec);
    let mut proof = Proof { examples: 0, tokens: 0, trained: 0 };
    for (example, encoded) in examples {
        check(&lines, codec, example, encoded).map_err(|(index, problem)| Fault {
            prompt: example.prompt.clone(),
            index,
            token: token_at(codec, &encoded.tokens, index),
            problem,
        })?;
        proof.examples += 1;
        proof.tokens += encoded.len();
        proof.trained += encoded.n_trained();
    }
    Ok(proof)
}

fn check(lines: &SpecLines, codec: &Codec, example: &Example, encoded: &Encoded) -> Result<(), (usize, Problem)> {
    let Encoded { tokens, trained } = encoded;
    if tokens.len() != trained.len() {
        return Err((tokens.len(), Problem::MaskLength { tokens: tokens.len(), mask: trained.len() }));
    }
    brief_is_absent(lines, codec, example)?;
    let prompt = codec.encode_prompt(&example.context);
    let turn = codec.encode_turn(&example.target);
    text_is_text(codec, &[prompt.as_slice(), turn.as_slice()].concat(), tokens)?;
    one_bos(codec, tokens)?;
    if let Some(index) = difference(&prompt, &tokens[..prompt.len().min(tokens.len())]) {
        return Err((index, Problem::PromptDiffers(token_at(codec, &prompt, index))));
    }
    if let Some(at) = difference(&turn, &tokens[prompt.len()..]) {
        let answer = codec.tokenizer.control(Control::Answer);
        let in_thought = turn.iter().position(|it| *it == answer).is_none_or(|close| at <= close);
        let wanted = token_at(codec, &turn, at);
        let problem = if in_thought { Problem::ThoughtLost(wanted) } else { Problem::TurnDiffers(wanted) };
        return Err((prompt.len() + at, problem));
    }
    if let Some(index) = trained[..prompt.len()].iter().position(|it| *it) {
        return Err((index, Problem::ContextTrained));
    }
    if !trained[tokens.len() - 1] {
        return Err((tokens.len() - 1, Problem::StopUntrained));
    }
    match trained[prompt.len()..].iter().position(|it| !it) {
        Some(at) => Err((prompt.len() + at, Problem::TurnUntrained)),
        None => Ok(()),
    }
}

/// No line of any brief stands in a message of the context.
fn brief_is_absent(lines: &SpecLines, codec: &Codec, example: &Example) -> Result<(), (usize, Problem)> {
    let mut index = 1; // after `<|bos|>`
    for message in example.context.messages() {
        let n_tokens = |text: &str| codec.tokenizer.encode_text(&format!(" {text}")).len();
        if let Some((at, line)) = lines.find(&message.content) {
            // A space belongs to the token of the word it precedes.
            let before = &message.content[..at];
            let skip = if before.is_empty() { 0 } else { n_tokens(before.strip_suffix(' ').unwrap_or(before)) };
            return Err((index + 1 + skip, Problem::BriefInContext(line.to_owned())));
        }
        index += 2 + n_tokens(&message.content);
    }
    Ok(())
}

fn one_bos(codec: &Codec, tokens: &[u32]) -> Result<(), (usize, Problem)> {
    let bos = codec.tokenizer.control(Control::Bos);
    if tokens.first() != Some(&bos) {
        return Err((0, Problem::NoBos));
    }
    match tokens[1..].iter().position(|it| *it == bos) {
        Some(at) => Err((1 + at, Problem::SecondBos)),
        None => Ok(()),
    }
}

/// Where the tokens first depart from the template's inside a text that spells a control token, they do not hold that token.
fn text_is_text(codec: &Codec, expected: &[u32], tokens: &[u32]) -> Result<(), (usize, Problem)> {
    let control = |id: &u32| codec.tokenizer.as_control(*id);
    let Some(at) = difference(expected, tokens) else { return Ok(()) };
    let at_expected = at.min(expected.len());
    let start = expected[..at_expected].iter().rposition(|id| control(id).is_some()).map_or(0, |it| it + 1);
    let text: Vec<u32> = expected[start..].iter().copied().take_while(|id| control(id).is_none()).collect();
    let text = codec.tokenizer.decode(&text, Controls::Skip);
    let found = tokens[at..].iter().enumerate().find_map(|(offset, id)| Some((at + offset, control(id)?)));
    match found {
        Some((index, control)) if text.contains(control.text()) => Err((index, Problem::ControlInText)),
        _ => Ok(()),
    }
}

/// The first position where two sequences differ; where one ends, if the other goes on.
fn difference(a: &[u32], b: &[u32]) -> Option<usize> {
    let shorter = a.len().min(b.len());
    a.iter().zip(b).position(|(a, b)| a != b).or((a.len() != b.len()).then_some(shorter))
}

fn token_at(codec: &Codec, tokens: &[u32], index: usize) -> String {
    match tokens.get(index) {
        Some(id) => codec.tokenizer.decode(&[*id], Controls::Show).escape_debug().to_string(),
        None => "nothing".to_owned(),
    }
}

/// The lines of all briefs of a spec, as sequences of normalised words, by their first word.
struct SpecLines(HashMap<String, Vec<(Vec<String>, String)>>);

impl SpecLines {
    /// Shorter lines are headings and names, which innocent text may hold.
    const MIN_WORDS: usize = 3;

    fn new(spec: &Spec) -> SpecLines {
        let mut lines: HashMap<String, Vec<(Vec<String>, String)>> = HashMap::new();
        let briefs = spec.categories.iter().filter_map(|it| spec.brief(&it.name)).chain([spec.summaries()]);
        for Brief(brief) in briefs {
            for line in brief.lines() {
                let words: Vec<String> = words(line).into_iter().map(|(_, word)| word).collect();
                if words.len() >= SpecLines::MIN_WORDS {
                    let same_start = lines.entry(words[0].clone()).or_default();
                    if !same_start.iter().any(|(known, _)| *known == words) {
                        same_start.push((words, line.trim_start_matches("- ").to_owned()));
                    }
                }
            }
        }
        SpecLines(lines)
    }

    /// The first place, in bytes, where `text` holds a line of a brief, whatever its spacing, case and punctuation.
    fn find(&self, text: &str) -> Option<(usize, &str)> {
        let words = words(text);
        words.iter().enumerate().find_map(|(index, (at, first))| {
            let line = self.0.get(first)?.iter().find(|(line, _)| {
                line.len() <= words.len() - index
                    && line.iter().zip(&words[index..]).all(|(line, (_, word))| line == word)
            });
            Some((*at, line?.1.as_str()))
        })
    }
}

/// The words of `text` with their byte offsets, in lower case and without punctuation around them.
fn words(text: &str) -> Vec<(usize, String)> {
    let offset = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace()
        .map(|word| word.trim_matches(|it: char| !it.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .map(|word| (offset(word), word.to_lowercase()))
        .collect()
}
