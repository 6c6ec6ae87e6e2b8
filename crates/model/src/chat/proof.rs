//! The mask proof: what must be true of training data before the first step of fine-tuning, checked on the very tokens that
//! will be trained on. A policy is to be learnt, not read: no text of the spec may stand in the context, and the model must
//! be trained on exactly the turn it will have to produce, after exactly the prompt it will be given.

use std::collections::HashMap;

use collimate_schema::{Brief, Conversation, Example, PromptId, Spec};
use serde::{Deserialize, Serialize};

use crate::chat::codec::{Codec, Encoded, Piece, TurnPieces, Unrenderable};

/// Evidence that every check held, and on how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// There is nothing to compare with.
    #[error(transparent)]
    Unrenderable(#[from] Unrenderable),
    /// Not exactly one, at the start.
    #[error("the sequence must begin with `{0}`")]
    NoBos(String),
    /// See [`Problem::NoBos`].
    #[error("a second `{0}`: the template writes one, nothing else may add another")]
    SecondBos(String),
    /// Content was encoded as if it were the template's.
    #[error("text encodes to a control token: encode content as text, without the tokenizer's added tokens")]
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
    codec: &dyn Codec,
    examples: impl IntoIterator<Item = (&'a Example, &'a Encoded)>,
) -> Result<Proof, Fault> {
    let lines = SpecLines::new(spec);
    let mut proof = Proof { examples: 0, tokens: 0, trained: 0 };
    for (example, encoded) in examples {
        check(&lines, codec, example, encoded)
            .map_err(|found| fault(codec, &example.prompt, &encoded.tokens, found))?;
        proof.examples += 1;
        proof.tokens += encoded.len();
        proof.trained += encoded.n_trained();
    }
    Ok(proof)
}

/// Checks every context that something will be trained after together with the tokens that stand there: prompts of
/// reinforcement learning, whose turns the model itself samples. Up to the first fault, in order; nothing counts as trained.
pub fn prove_contexts<'a>(
    spec: &Spec,
    codec: &dyn Codec,
    contexts: impl IntoIterator<Item = (&'a PromptId, &'a Conversation, &'a [u32])>,
) -> Result<Proof, Fault> {
    let lines = SpecLines::new(spec);
    let mut proof = Proof { examples: 0, tokens: 0, trained: 0 };
    for (prompt, conversation, tokens) in contexts {
        check_context(&lines, codec, conversation, tokens).map_err(|found| fault(codec, prompt, tokens, found))?;
        proof.examples += 1;
        proof.tokens += tokens.len();
    }
    Ok(proof)
}

fn fault(codec: &dyn Codec, prompt: &PromptId, tokens: &[u32], (index, problem): Found) -> Fault {
    Fault { prompt: prompt.clone(), index, token: token_at(codec, tokens, index), problem }
}

fn check_context(
    lines: &SpecLines,
    codec: &dyn Codec,
    conversation: &Conversation,
    tokens: &[u32],
) -> Result<(), Found> {
    let prompt = expected_prompt(lines, codec, conversation)?;
    text_is_text(codec, &prompt, tokens)?;
    one_bos(codec, tokens)?;
    match difference(&prompt, tokens) {
        Some(index) => Err((index, Problem::PromptDiffers(token_at(codec, &prompt, index)))),
        None => Ok(()),
    }
}

fn check(lines: &SpecLines, codec: &dyn Codec, example: &Example, encoded: &Encoded) -> Result<(), Found> {
    let Encoded { tokens, trained } = encoded;
    if tokens.len() != trained.len() {
        return Err((tokens.len(), Problem::MaskLength { tokens: tokens.len(), mask: trained.len() }));
    }
    let prompt = expected_prompt(lines, codec, &example.context)?;
    let TurnPieces { before_answer, answer } = codec.turn(&example.target).map_err(|it| (prompt.len(), it.into()))?;
    let n_before_answer = codec.encode_pieces(&before_answer).len();
    let turn = [before_answer, answer].concat();
    content_is_text(codec, &turn, prompt.len())?;
    let turn = codec.encode_pieces(&turn);
    text_is_text(codec, &[prompt.as_slice(), &turn].concat(), tokens)?;
    one_bos(codec, tokens)?;
    if let Some(index) = difference(&prompt, &tokens[..prompt.len().min(tokens.len())]) {
        return Err((index, Problem::PromptDiffers(token_at(codec, &prompt, index))));
    }
    if let Some(at) = difference(&turn, &tokens[prompt.len()..]) {
        let wanted = token_at(codec, &turn, at);
        let in_thought = at < n_before_answer;
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

/// A problem and the position of the token that shows it.
type Found = (usize, Problem);

/// What sampling gives the model for `conversation`, if a model may be trained after it.
fn expected_prompt(lines: &SpecLines, codec: &dyn Codec, conversation: &Conversation) -> Result<Vec<u32>, Found> {
    let pieces = codec.prompt(conversation).map_err(|it| (0, it.into()))?;
    brief_is_absent(lines, codec, &pieces)?;
    content_is_text(codec, &pieces, 0)?;
    Ok(codec.encode_pieces(&pieces))
}

/// No content becomes a control token; `pieces` begin at position `at`.
fn content_is_text(codec: &dyn Codec, pieces: &[Piece], mut at: usize) -> Result<(), Found> {
    for piece in pieces {
        let tokens = codec.encode_pieces(std::slice::from_ref(piece));
        let control = tokens.iter().position(|it| codec.tokenizer().is_control(*it));
        match (piece, control) {
            (Piece::Content(_), Some(offset)) => return Err((at + offset, Problem::ControlInText)),
            _ => at += tokens.len(),
        }
    }
    Ok(())
}

/// No line of any brief stands in the context, neither in its content nor in what the template says.
fn brief_is_absent(lines: &SpecLines, codec: &dyn Codec, prompt: &[Piece]) -> Result<(), Found> {
    let mut index = 0;
    for piece in prompt {
        let text = match piece {
            Piece::Template(tokens) => &codec.tokenizer().spell(tokens),
            Piece::Content(text) => text,
        };
        if let Some((at, line)) = lines.find(text) {
            // A space belongs to the token of the word it precedes.
            let before = text[..at].strip_suffix(' ').unwrap_or(&text[..at]);
            let skip = match piece {
                Piece::Template(_) => 0,
                Piece::Content(_) => codec.tokenizer().encode(before).len(),
            };
            return Err((index + skip, Problem::BriefInContext(line.to_owned())));
        }
        index += codec.encode_pieces(std::slice::from_ref(piece)).len();
    }
    Ok(())
}

fn one_bos(codec: &dyn Codec, tokens: &[u32]) -> Result<(), Found> {
    let Some(bos) = codec.bos() else { return Ok(()) };
    let spelled = || codec.tokenizer().spell(&[bos]);
    if tokens.first() != Some(&bos) {
        return Err((0, Problem::NoBos(spelled())));
    }
    match tokens[1..].iter().position(|it| *it == bos) {
        Some(at) => Err((1 + at, Problem::SecondBos(spelled()))),
        None => Ok(()),
    }
}

/// Where the tokens first depart from the template's inside a text that spells a control token, they do not hold that token.
fn text_is_text(codec: &dyn Codec, expected: &[u32], tokens: &[u32]) -> Result<(), Found> {
    let is_control = |id: &u32| codec.tokenizer().is_control(*id);
    let Some(at) = difference(expected, tokens) else { return Ok(()) };
    let at_expected = at.min(expected.len());
    let start = expected[..at_expected].iter().rposition(is_control).map_or(0, |it| it + 1);
    let text: Vec<u32> = expected[start..].iter().copied().take_while(|id| !is_control(id)).collect();
    let text = codec.tokenizer().decode(&text);
    match tokens[at..].iter().position(is_control) {
        Some(offset) if text.contains(&codec.tokenizer().spell(&tokens[at + offset..][..1])) => {
            Err((at + offset, Problem::ControlInText))
        }
        _ => Ok(()),
    }
}

/// The first position where two sequences differ; where one ends, if the other goes on.
fn difference(a: &[u32], b: &[u32]) -> Option<usize> {
    let shorter = a.len().min(b.len());
    a.iter().zip(b).position(|(a, b)| a != b).or((a.len() != b.len()).then_some(shorter))
}

fn token_at(codec: &dyn Codec, tokens: &[u32], index: usize) -> String {
    match tokens.get(index) {
        Some(id) => codec.tokenizer().spell(&[*id]).escape_debug().to_string(),
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
