//! From numbers to pixels.

/// A linear scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    /// Sends the ends of `domain` to the ends of `range`. A domain without extent is widened.
    pub(super) fn new(domain: (f64, f64), range: (f64, f64)) -> Scale {
        let (low, high) = domain;
        let domain = if high > low { domain } else { (low - 0.5, low + 0.5) };
        Scale { domain, range }
    }

    /// The pixel of `value`.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let (from, to) = self.range;
        from + (value - low) / (high - low) * (to - from)
    }

    /// Round numbers inside the domain, about `n` of them.
    pub(super) fn ticks(&self, n: usize) -> Vec<f64> {
        let (low, high) = self.domain;
        let step = round_step((high - low) / n as f64);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last).map(|it| it as f64 * step).collect()
    }

    /// A tick's text, with as many decimals as the distance of ticks asks for.
    pub(super) fn tick_text(&self, tick: f64, n: usize) -> String {
        let (low, high) = self.domain;
        let step = round_step((high - low) / n as f64);
        let n_decimals = (-(step * 1.000_001).log10().floor()).max(0.0) as usize;
        if n_decimals > 6 || step >= 1e6 {
            let text = format!("{:.1e}", tick);
            return text.replace(".0e", "e").replace("-0e0", "0").replace("0e0", "0");
        }
        let text = format!("{tick:.n_decimals$}");
        if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text }
    }
}

/// The least of 1, 2, 5 times a power of ten that is no smaller than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * power).find(|it| *it >= step * 0.999_999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(domain: (f64, f64), expect: Expect) {
        let scale = Scale::new(domain, (0.0, 100.0));
        let texts: Vec<String> = scale.ticks(5).into_iter().map(|it| scale.tick_text(it, 5)).collect();
        expect.assert_eq(&texts.join(" "));
    }

    #[test]
    fn ticks_are_round() {
        check((0.0, 1.0), expect!["0 0.2 0.4 0.6 0.8 1.0"]);
        check((-0.02, 1.02), expect!["0 0.5 1.0"]);
        check((0.0, 300.0), expect!["0 100 200 300"]);
        check((0.013, 0.021), expect!["0.014 0.016 0.018 0.020"]);
        check((3.0, 3.0), expect!["2.6 2.8 3.0 3.2 3.4"]);
        check((-40.0, 0.5), expect!["-40 -30 -20 -10 0"]);
        check((0.0, 1e100), expect!["0 2e99 4e99 6e99 8e99 1e100"]);
        check((-1e-9, 1e-9), expect!["-1e-9 -5e-10 0 5e-10 1e-9"]);
    }
}
