//! Harbor's codec: ten control tokens and the text between them.
//!
//! ```text
//! <|bos|><|system|> content<|end|><|user|> content<|end|><|assistant|>            the prompt
//! <|think|> thought<|answer|> answer<|end|>                                       the turn
//! ```
//!
//! One space stands before the first word of any content, so that the word has the form it has inside a sentence. The Jinja
//! template travels with the checkpoint, so that Transformers and vLLM render what we render; the model is never given its
//! text, and one that would render ordinary conversations differently is refused when a checkpoint is loaded.

use collimate_schema::{Answer, Conversation, Malformed, Message, Parsed, Role, Stop, Thought, Turn};
use minijinja::context;
use serde_json::{Value, json};

use crate::chat::codec::{Codec, Piece, Thoughts, TurnPieces, Unrenderable};
use crate::chat::template;
use crate::chat::tokenizer::{Tokenizer, TokenizerError};
use crate::json::parse;

/// A token that only the template writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Begins every sequence, once.
    Bos,
    /// Ends a message; the stop token.
    End,
    /// Opens a system message.
    System,
    /// Opens a developer message.
    Developer,
    /// Opens a user message.
    User,
    /// Opens an assistant message.
    Assistant,
    /// Opens a tool message.
    Tool,
    /// Opens the thought.
    Think,
    /// Closes the thought and opens the answer.
    Answer,
    /// Fills the short rows of a batch.
    Pad,
}

impl Control {
    /// All of them, in the order of their ids.
    const ALL: [Control; 10] = [
        Control::Bos,
        Control::End,
        Control::System,
        Control::Developer,
        Control::User,
        Control::Assistant,
        Control::Tool,
        Control::Think,
        Control::Answer,
        Control::Pad,
    ];

    /// How `tokenizer.json` and the chat template spell it.
    fn text(self) -> &'static str {
        match self {
            Control::Bos => "<|bos|>",
            Control::End => "<|end|>",
            Control::System => "<|system|>",
            Control::Developer => "<|developer|>",
            Control::User => "<|user|>",
            Control::Assistant => "<|assistant|>",
            Control::Tool => "<|tool|>",
            Control::Think => "<|think|>",
            Control::Answer => "<|answer|>",
            Control::Pad => "<|pad|>",
        }
    }

    /// What opens a message of `role`.
    fn opens(role: Role) -> Control {
        match role {
            Role::System => Control::System,
            Role::Developer => Control::Developer,
            Role::User => Control::User,
            Role::Assistant => Control::Assistant,
            Role::Tool => Control::Tool,
        }
    }
}

/// Why the files of a checkpoint are not of this codec.
#[derive(Debug, thiserror::Error)]
pub enum HarborError {
    /// See [`TokenizerError`].
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A control token is missing.
    #[error("tokenizer.json has no special added token `{0}`: the chat template needs it")]
    NoControl(&'static str),
    /// A control token is also a token of the text.
    #[error(
        "tokenizer.json holds `{0}` in its BPE vocabulary, where text could reach it: keep it in `added_tokens` only"
    )]
    ControlInVocabulary(&'static str),
    /// Not JSON.
    #[error("tokenizer_config.json cannot be read: {0}: copy or write the checkpoint again")]
    Config(serde_json::Error),
    /// No template to lay conversations out with.
    #[error("tokenizer_config.json has no `chat_template`: write the checkpoint again")]
    NoTemplate,
    /// Not Jinja, or it fails on an ordinary conversation.
    #[error("the chat template does not render: {0}")]
    Unrenderable(String),
    /// It renders something else than what the model is given.
    #[error(
        "the chat template renders `{rendered}` where this program gives the model `{expected}`: use the template of a checkpoint written by this program"
    )]
    Differs {
        /// By the Jinja template.
        rendered: String,
        /// By [`Harbor`].
        expected: String,
    },
}

/// The codec of every Harbor model.
#[derive(Clone)]
pub struct Harbor {
    tokenizer: Tokenizer,
    jinja: String,
    controls: [u32; Control::ALL.len()],
    never_in_answer: Vec<u32>,
}

impl Harbor {
    /// The codec of a model in whose vocabulary each of `words` is one token; see [`Tokenizer::build`].
    pub fn new(words: &[String]) -> Harbor {
        let tokenizer = Tokenizer::build(words, &Control::ALL.map(Control::text));
        Harbor::with(tokenizer, include_str!("harbor.jinja").trim_end()).expect("it has every control token")
    }

    /// Reads `tokenizer.json` and `tokenizer_config.json`. The Jinja template must lay out conversations with every role, with
    /// and without thoughts, the way this codec does.
    pub fn from_files(tokenizer: &[u8], tokenizer_config: &[u8]) -> Result<Harbor, HarborError> {
        let tokenizer = Tokenizer::from_bytes(tokenizer)?;
        let file = parse(tokenizer_config).map_err(HarborError::Config)?;
        let harbor = Harbor::with(tokenizer, file["chat_template"].as_str().ok_or(HarborError::NoTemplate)?)?;
        harbor.check_template()?;
        Ok(harbor)
    }

    fn with(tokenizer: Tokenizer, jinja: &str) -> Result<Harbor, HarborError> {
        let mut controls = [0; Control::ALL.len()];
        for (id, control) in controls.iter_mut().zip(Control::ALL) {
            *id = tokenizer.control(control.text()).ok_or(HarborError::NoControl(control.text()))?;
            if tokenizer.is_word(control.text()) {
                return Err(HarborError::ControlInVocabulary(control.text()));
            }
        }
        let never_in_answer = controls.iter().copied().filter(|it| *it != controls[Control::End as usize]).collect();
        Ok(Harbor { tokenizer, jinja: jinja.to_owned(), controls, never_in_answer })
    }

    fn check_template(&self) -> Result<(), HarborError> {
        let roles = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool, Role::User];
        let probe =
            Conversation::new(roles.map(|role| Message::new(role, format!("a {} speaks", role.name()))).to_vec())
                .expect("the probe ends on a user turn");
        for thought in ["", "it thinks"] {
            let turn = Turn { thought: Thought(thought.to_owned()), answer: Answer("it answers".to_owned()) };
            for turn in [None, Some(&turn)] {
                let rendered = self.render(&probe, turn)?;
                let mut expected = self.spell(&self.prompt_pieces(&probe));
                if let Some(TurnPieces { before_answer, answer }) = turn.map(|it| self.turn_pieces(it)) {
                    expected += &self.spell(&[before_answer, answer].concat());
                }
                if rendered != expected {
                    return Err(HarborError::Differs { rendered, expected });
                }
            }
        }
        Ok(())
    }

    /// What the Jinja template makes of a conversation and, if given, the turn that follows it.
    fn render(&self, conversation: &Conversation, turn: Option<&Turn>) -> Result<String, HarborError> {
        let mut messages: Vec<Value> = conversation.messages().iter().map(|it| json!(it)).collect();
        messages
            .extend(turn.map(|turn| json!({ "role": "assistant", "thought": turn.thought, "content": turn.answer })));
        let variables =
            context! { messages, bos_token => Control::Bos.text(), add_generation_prompt => turn.is_none() };
        template::render(&self.jinja, variables).map_err(HarborError::Unrenderable)
    }

    /// The pieces as one string.
    fn spell(&self, pieces: &[Piece]) -> String {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Template(tokens) => self.tokenizer.spell(tokens),
                Piece::Content(text) => text.clone(),
            })
            .collect()
    }

    fn id(&self, control: Control) -> &u32 {
        &self.controls[control as usize]
    }

    fn written<const N: usize>(&self, controls: [Control; N]) -> Piece {
        Piece::Template(controls.map(|it| *self.id(it)).to_vec())
    }

    fn prompt_pieces(&self, conversation: &Conversation) -> Vec<Piece> {
        let mut pieces = vec![self.written([Control::Bos])];
        for message in conversation.messages() {
            pieces.push(self.written([Control::opens(message.role)]));
            pieces.push(content(&message.content));
            pieces.push(self.written([Control::End]));
        }
        pieces.push(self.written([Control::Assistant]));
        pieces
    }

    /// An empty thought leaves nothing between its two control tokens.
    fn turn_pieces(&self, turn: &Turn) -> TurnPieces {
        let before_answer = if turn.thought.0.is_empty() {
            vec![self.written([Control::Think, Control::Answer])]
        } else {
            vec![self.written([Control::Think]), content(&turn.thought.0), self.written([Control::Answer])]
        };
        TurnPieces { before_answer, answer: vec![content(&turn.answer.0), self.written([Control::End])] }
    }

    fn read(&self, sampled: &[u32], stop: Stop) -> Result<Turn, Malformed> {
        let body = match (stop, sampled) {
            (Stop::EndOfTurn, [body @ .., last]) if last == self.id(Control::End) => body,
            (Stop::Text, body) => body,
            _ => return Err(Malformed::Truncated),
        };
        let body = body.strip_prefix(&[*self.id(Control::Think)]).ok_or(Malformed::UnclosedThought)?;
        let is_control = |id: &u32| self.controls.contains(id);
        let close = body.iter().position(is_control).ok_or(Malformed::UnclosedThought)?;
        let (thought, rest) = body.split_at(close);
        let answer = rest.strip_prefix(&[*self.id(Control::Answer)]).ok_or(Malformed::StrayControl)?;
        if answer.iter().any(is_control) {
            return Err(Malformed::StrayControl);
        }
        let [thought, answer] = [thought, answer].map(|it| self.text(it));
        if answer.trim().is_empty() {
            return Err(Malformed::EmptyAnswer);
        }
        Ok(Turn { thought: Thought(thought), answer: Answer(answer) })
    }

    /// Where the answer of `sampled` begins.
    fn answer_at(&self, sampled: &[u32]) -> Option<usize> {
        Some(sampled.iter().position(|it| it == self.id(Control::Answer))? + 1)
    }

    /// Decodes one content without the space that stands before it.
    fn text(&self, tokens: &[u32]) -> String {
        let text = self.tokenizer.decode(tokens);
        text.strip_prefix(' ').map(str::to_owned).unwrap_or(text)
    }
}

fn content(text: &str) -> Piece {
    Piece::Content(format!(" {text}"))
}

impl Codec for Harbor {
    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn bos(&self) -> Option<u32> {
        Some(*self.id(Control::Bos))
    }

    fn stops(&self) -> &[u32] {
        std::slice::from_ref(self.id(Control::End))
    }

    fn prompt(&self, conversation: &Conversation) -> Result<Vec<Piece>, Unrenderable> {
        Ok(self.prompt_pieces(conversation))
    }

    fn turn(&self, turn: &Turn) -> Result<TurnPieces, Unrenderable> {
        Ok(self.turn_pieces(turn))
    }

    fn parse(&self, sampled: &[u32], stop: Stop) -> Parsed {
        match self.read(sampled, stop) {
            Ok(turn) => Parsed::Turn(turn),
            Err(malformed) => Parsed::Malformed(malformed),
        }
    }

    fn thought(&self) -> Thoughts {
        Thoughts::Tags
    }

    fn open_thought(&self, sampled: &[u32]) -> Option<usize> {
        let is_open = sampled.first() == Some(self.id(Control::Think)) && self.answer_at(sampled).is_none();
        is_open.then(|| sampled.len() - 1)
    }

    fn answer_so_far(&self, sampled: &[u32]) -> Option<String> {
        Some(self.text(&sampled[self.answer_at(sampled)?..]))
    }

    fn ends_thought(&self) -> &[u32] {
        std::slice::from_ref(self.id(Control::Answer))
    }

    fn never_in_answer(&self) -> &[u32] {
        &self.never_in_answer
    }

    fn identity(&self) -> Vec<&[u8]> {
        vec![self.tokenizer.to_json().as_bytes(), self.jinja.as_bytes()]
    }

    fn files(&self, n_positions: usize) -> Vec<(&'static str, String)> {
        let [bos, end, pad] = [Control::Bos, Control::End, Control::Pad];
        let roles_and_blocks: Vec<&str> =
            Control::ALL.into_iter().filter(|it| ![bos, end, pad].contains(it)).map(Control::text).collect();
        let special = json!({
            "bos_token": bos.text(), "eos_token": end.text(), "pad_token": pad.text(),
            "additional_special_tokens": roles_and_blocks,
        });
        let mut tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": n_positions,
            "add_bos_token": false, "clean_up_tokenization_spaces": false, "chat_template": self.jinja,
        });
        for (key, value) in special.as_object().expect("an object is an object") {
            tokenizer_config[key] = value.clone();
        }
        let generation = json!({
            "bos_token_id": self.id(bos), "eos_token_id": self.id(end), "pad_token_id": self.id(pad),
            "do_sample": true, "temperature": 1.0,
        });
        let pretty = |it: &Value| serde_json::to_string_pretty(it).expect("JSON prints") + "\n";
        vec![
            ("tokenizer.json", self.tokenizer.to_json().to_owned()),
            ("tokenizer_config.json", pretty(&tokenizer_config)),
            ("special_tokens_map.json", pretty(&special)),
            ("generation_config.json", pretty(&generation)),
        ]
    }
}
