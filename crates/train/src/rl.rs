//! Policy gradient on sampled tokens with a clipped ratio. With r = exp(logp - old), per token:
//! loss = -min(r A, clip(r, 1 - eps, 1 + eps) A) + kl (exp(ref - logp) - (ref - logp) - 1), the mean over *all* sampled
//! tokens. On a fresh batch r is 1 and nothing is clipped. Departs from PPO and GRPO: no value model, no mean per sequence.

use burn::Tensor;
use collimate_kernels::{TokenScore, embed, token_loss};
use collimate_model::{Transformer, Weights};

use crate::gradient::{apply, gradients};
use crate::{Adam, Batch, StepError};

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
    /// Global norm of the gradient before clipping.
    pub grad_norm: f32,
}

/// One optimizer step on `batches` (micro-batches of one step). Token weights of the batches are not used: every sampled
/// token counts the same.
pub fn rl_step(
    weights: &mut Weights,
    adam: &mut Adam,
    batches: &[RlBatch],
    cfg: &Rl,
    lr: f32,
) -> Result<RlStats, StepError> {
    let with_tokens: Vec<&RlBatch> = batches.iter().filter(|it| !it.tokens.is_empty()).collect();
    let n_tokens: usize = with_tokens.iter().map(|it| it.tokens.len()).sum();
    if n_tokens == 0 {
        return Err(StepError::NothingTrained);
    }
    let (grads, all) =
        gradients(weights, with_tokens.len(), |model, index| rl_loss(model, with_tokens[index], cfg, n_tokens as f32));
    let sums = all.into_iter().fold(Sums::default(), Sums::plus);
    let grad_norm = apply(weights, adam, &grads, lr)?;
    let has_reference = with_tokens.iter().all(|it| it.tokens.iter().all(|it| it.reference.is_some()));
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

/// What has the gradient of the sum of the tokens' losses / `total`, [1], and that sum: the loss is a function of each token's
/// log-probability alone, so its slope is computed in closed form.
fn rl_loss(model: &Transformer, batch: &RlBatch, cfg: &Rl, total: f32) -> (Tensor<1>, Sums) {
    let RlBatch { batch, tokens } = batch;
    assert_eq!(batch.trained.len(), tokens.len(), "one advantage per trained token");
    let (positions, targets) = batch.positions_and_targets();
    let hidden = embed(model.forward(&batch.tokens, &batch.layout), &positions);
    let term = |at: usize, score: TokenScore| of_token(&tokens[at], score.logprob, cfg);
    let slope = |at, score| TokenScore { logprob: term(at, score).slope / total, entropy: 0.0 };
    let (loss, scores) = token_loss(hidden, model.head(), &targets, slope);
    let mut sums = Sums::default();
    for (at, score) in scores.into_iter().enumerate() {
        let term = term(at, score);
        sums.loss += f64::from(term.loss);
        sums.kl += f64::from(term.kl);
        sums.entropy += f64::from(score.entropy);
        sums.clipped += f64::from(u8::from(term.clipped));
        sums.drift += f64::from((term.ratio - 1.0).abs());
    }
    (loss, sums)
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
