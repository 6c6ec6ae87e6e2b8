//! One token from one row of logits.

use collimate_schema::Sampled;
use rand::Rng;

/// Draws a token at `temperature` from raw `logits`, [V]; 0 takes the highest, the lowest id among equals. The recorded
/// log-probability is at temperature 1 whatever the draw was at. One uniform number per token is used, none when greedy.
pub(crate) fn draw(logits: &[f32], temperature: f32, rng: &mut impl Rng) -> Sampled {
    let (top, highest) = highest(logits);
    let plain = masses(logits, highest, 1.0);
    let token = if temperature == 1.0 {
        pick(&plain, rng).unwrap_or(top)
    } else if temperature > 0.0 {
        pick(&masses(logits, highest, temperature), rng).unwrap_or(top)
    } else {
        top
    };
    let logprob = logits[token] - highest - plain.iter().sum::<f32>().ln();
    Sampled { token: token as u32, logprob }
}

/// Natural-log probability of `token` under the softmax of `logits`, [V].
pub(crate) fn logprob(logits: &[f32], token: u32) -> f32 {
    let (_, highest) = highest(logits);
    logits[token as usize] - highest - masses(logits, highest, 1.0).iter().sum::<f32>().ln()
}

/// The first of the highest logits and its value.
fn highest(logits: &[f32]) -> (usize, f32) {
    let above = |best: (usize, f32), (id, logit): (usize, &f32)| if *logit > best.1 { (id, *logit) } else { best };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), above)
}

/// Unnormalised probabilities; the highest is 1.
fn masses(logits: &[f32], highest: f32, temperature: f32) -> Vec<f32> {
    logits.iter().map(|logit| ((logit - highest) / temperature).exp()).collect()
}

/// The first token whose cumulated mass exceeds the draw; rounding may leave none.
fn pick(masses: &[f32], rng: &mut impl Rng) -> Option<usize> {
    let mut left = rng.random::<f32>() * masses.iter().sum::<f32>();
    masses.iter().position(|mass| {
        left -= mass;
        left < 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::Seed;

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let drawn = draw(&[0.0, 2.0, 2.0, 1.0], 0.0, &mut Seed(0).rng());
        assert_eq!(drawn.token, 1);
        let total = (1.0f32 + 2.0 * 2f32.exp() + 1f32.exp()).ln();
        assert!((drawn.logprob - (2.0 - total)).abs() < 1e-6);
    }

    #[test]
    fn draws_follow_the_tempered_distribution_and_record_the_plain_one() {
        let logits = [0.0_f32, 1.0, 2.0];
        for temperature in [0.5_f32, 1.0, 2.0] {
            let mut rng = Seed(7).rng();
            let mut counts = [0_u32; 3];
            for _ in 0..20_000 {
                let drawn = draw(&logits, temperature, &mut rng);
                counts[drawn.token as usize] += 1;
                assert_eq!(drawn.logprob, logprob(&logits, drawn.token));
            }
            let total: f32 = logits.iter().map(|it| (it / temperature).exp()).sum();
            for (count, logit) in counts.into_iter().zip(logits) {
                let (seen, wanted) = (count as f32 / 20_000.0, (logit / temperature).exp() / total);
                assert!((seen - wanted).abs() < 0.015, "{seen} {wanted} at {temperature}");
            }
        }
    }
}
