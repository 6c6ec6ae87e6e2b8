//! Policy gradient on sampled tokens with a clipped ratio. With r = exp(logp - old), per token:
//! loss = -min(r A, clip(r, 1 - eps, 1 + eps) A) + kl (exp(ref - logp) - (ref - logp) - 1), the mean over *all* sampled
//! tokens, whether their rollout teaches anything or not: one group among many that say nothing counts as one. On a fresh batch
//! r is 1 and nothing is clipped. Departs from PPO and GRPO: no value model, no mean per sequence.

use burn::Tensor;
use collimate_kernels::{TokenScore, embed, token_loss};
use collimate_model::Transformer;

use crate::gradient::gradients;
use crate::score::scores;
use crate::{Adam, Batch, Learnable, StepError};

/// Constants of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rl {
    /// eps: ratios beyond 1 - eps and 1 + eps stop to earn.
    pub clip: f32,
    /// Weight of the divergence from the reference policy; needs reference log-probabilities unless 0.
    pub kl: f32,
}

/// What an RL step must know of one sampled token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RlToken {
    /// A, the same for all tokens of a rollout.
    pub advantage: f32,
    /// Log-probability under the policy that sampled it.
    pub old: f32,
    /// Log-probability under the reference policy, if there is one.
    pub reference: Option<f32>,
}

/// A batch of rollouts: its trained tokens are the sampled ones.
#[derive(Clone, Debug, PartialEq)]
pub struct RlBatch {
    /// Prompts and continuations.
    pub batch: Batch,
    /// One per trained token of `batch`.
    pub tokens: Vec<RlToken>,
}

impl RlBatch {
    /// Whether its loss depends on the policy: that of tokens with advantage 0 does through the divergence alone.
    fn teaches(&self, cfg: &Rl) -> bool {
        cfg.kl != 0.0 || self.tokens.iter().any(|it| it.advantage != 0.0)
    }
}

/// What a step did; means are over all sampled tokens, before the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RlStats {
    /// The loss.
    pub loss: f32,
    /// Divergence from the reference policy (the k3 estimate), nats per token; `None` without a reference.
    pub kl: Option<f32>,
    /// Entropy of the policy, nats per token.
    pub entropy: f32,
    /// Share of tokens whose ratio was clipped and so gave no gradient.
    pub clip_fraction: f32,
    /// Mean of |ratio - 1|: 0 on a fresh batch.
    pub ratio_drift: f32,
    /// Sampled tokens.
    pub n_tokens: usize,
    /// Global norm of the gradient before clipping; `None` where no rollout teaches anything, and no step was taken.
    pub grad_norm: Option<f32>,
}

/// One optimizer step on `batches` (micro-batches of one step). Token weights of the batches are not used: every sampled
/// token counts the same, with an advantage or without. Micro-batches that give no gradient are only scored.
pub fn rl_step(
    learnable: &mut impl Learnable,
    adam: &mut Adam,
    batches: &[RlBatch],
    cfg: &Rl,
    lr: f32,
) -> Result<RlStats, StepError> {
    let tokens = || batches.iter().flat_map(|it| &it.tokens);
    let n_tokens = tokens().count();
    if n_tokens == 0 {
        return Err(StepError::NothingTrained);
    }
    let has_reference = tokens().all(|it| it.reference.is_some());
    assert!(has_reference || cfg.kl == 0.0, "a divergence needs the reference's log-probability of every token");
    let with_tokens = batches.iter().filter(|it| !it.tokens.is_empty());
    let (teaching, rest): (Vec<&RlBatch>, Vec<&RlBatch>) = with_tokens.partition(|it| it.teaches(cfg));
    let mut sums = scored(learnable, &rest, cfg);
    let grads = (!teaching.is_empty()).then(|| {
        let loss = |model: &_, index: usize| rl_loss(model, teaching[index], cfg, n_tokens as f32);
        let (grads, of_teaching) = gradients(learnable, teaching.len(), loss);
        sums = of_teaching.into_iter().fold(std::mem::take(&mut sums), Sums::plus);
        grads
    });
    for (what, sum) in [("loss", sums.loss), ("divergence", sums.kl), ("entropy", sums.entropy), ("ratio", sums.drift)]
    {
        StepError::unless_finite(what, sum)?;
    }
    let grad_norm = grads.map(|it| adam.step(learnable, &it, lr)).transpose()?;
    let mean = |sum: f64| (sum / n_tokens as f64) as f32;
    Ok(RlStats {
        loss: mean(sums.loss),
        kl: has_reference.then_some(mean(sums.kl)),
        entropy: mean(sums.entropy),
        clip_fraction: mean(sums.clipped),
        ratio_drift: mean(sums.drift),
        n_tokens,
        grad_norm,
    })
}

/// Sums over tokens.
#[derive(Default)]
struct Sums {
    loss: f64,
    kl: f64,
    entropy: f64,
    clipped: f64,
    drift: f64,
}

impl Sums {
    /// Over `tokens` with these scores.
    fn of(tokens: &[RlToken], scores: Vec<TokenScore>, cfg: &Rl) -> Sums {
        let mut sums = Sums::default();
        for (token, score) in tokens.iter().zip(scores) {
            let term = of_token(token, score.logprob, cfg);
            sums.loss += f64::from(term.loss);
            sums.kl += f64::from(term.kl);
            sums.entropy += f64::from(score.entropy);
            sums.clipped += f64::from(u8::from(term.clipped));
            sums.drift += f64::from((term.ratio - 1.0).abs());
        }
        sums
    }

    fn plus(self, other: Sums) -> Sums {
        Sums {
            loss: self.loss + other.loss,
            kl: self.kl + other.kl,
            entropy: self.entropy + other.entropy,
            clipped: self.clipped + other.clipped,
            drift: self.drift + other.drift,
        }
    }
}

/// Sums over micro-batches that give no gradient.
fn scored(learnable: &impl Learnable, batches: &[&RlBatch], cfg: &Rl) -> Sums {
    if batches.is_empty() {
        return Sums::default();
    }
    let model = learnable.arranged(batches.len());
    let of = |it: &&RlBatch| Sums::of(&it.tokens, scores(&model, &it.batch), cfg);
    batches.iter().map(of).fold(Sums::default(), Sums::plus)
}

/// What has the gradient of the sum of the tokens' losses / `total`, [1], and that sum: the loss is a function of each token's
/// log-probability alone, so its slope is computed in closed form.
fn rl_loss(model: &Transformer, batch: &RlBatch, cfg: &Rl, total: f32) -> (Tensor<1>, Sums) {
    let RlBatch { batch, tokens } = batch;
    assert_eq!(batch.trained.len(), tokens.len(), "one advantage per trained token");
    let (positions, targets) = batch.positions_and_targets();
    let hidden = embed(model.forward(&batch.tokens, &batch.layout), &positions);
    let slope = |at: usize, score: TokenScore| {
        let slope = of_token(&tokens[at], score.logprob, cfg).slope / total;
        TokenScore { logprob: slope, entropy: 0.0 }
    };
    let (loss, scores) = token_loss(hidden, model.head(), &targets, slope);
    (loss, Sums::of(tokens, scores, cfg))
}

/// The loss of one token as a function of its log-probability.
struct TokenLoss {
    loss: f32,
    /// d loss / d logprob.
    slope: f32,
    ratio: f32,
    kl: f32,
    clipped: bool,
}

fn of_token(token: &RlToken, logprob: f32, cfg: &Rl) -> TokenLoss {
    let ratio = (logprob - token.old).exp();
    let clamped = ratio.clamp(1.0 - cfg.clip, 1.0 + cfg.clip);
    let clipped = clamped * token.advantage < ratio * token.advantage;
    let gain = if clipped { clamped } else { ratio } * token.advantage;
    let gain_slope = if clipped { 0.0 } else { ratio * token.advantage };
    let (kl, kl_slope) = match token.reference {
        Some(reference) => {
            let gap = reference - logprob;
            (gap.exp() - gap - 1.0, 1.0 - gap.exp())
        }
        None => (0.0, 0.0),
    };
    TokenLoss { loss: cfg.kl * kl - gain, slope: cfg.kl * kl_slope - gain_slope, ratio, kl, clipped }
}
