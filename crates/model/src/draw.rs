//! One token from one row of logits.

use collimate_schema::Sampled;
use rand::Rng;

/// Draws a token at `temperature` from raw `logits`, [V]; 0 takes the highest, the lowest id among equals. The recorded
/// log-probability is at temperature 1 whatever the draw was at. One uniform number per token is used, none when greedy.
pub(crate) fn draw(logits: &[f32], temperature: f32, rng: &mut impl Rng) -> Sampled {
    let (top, highest) = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (id, logit)| if *logit > best.1 { (id, *logit) } else { best });
    let mass = |temperature: f32| move |logit: &f32| ((logit - highest) / temperature).exp();
    let token = if temperature > 0.0 {
        let total: f32 = logits.iter().map(mass(temperature)).sum();
        // The first token whose cumulated mass exceeds the draw; rounding may leave none, then the likeliest.
        let mut left = rng.random::<f32>() * total;
        let passed = logits.iter().map(mass(temperature)).position(|it| {
            left -= it;
            left < 0.0
        });
        passed.unwrap_or(top)
    } else {
        top
    };
    Sampled { token: token as u32, logprob: logprob(logits, token as u32) }
}

/// Natural-log probability of `token` under the softmax of `logits`, [V].
pub(crate) fn logprob(logits: &[f32], token: u32) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = logits.iter().map(|it| (it - highest).exp()).sum();
    logits[token as usize] - highest - total.ln()
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
