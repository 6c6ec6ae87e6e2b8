//! Two suites against each other: a point per arm with the intervals of both axes, and the path of training.

use super::labels::{Label, Rect, along, place};
use super::scale::Scale;
use super::svg::{FONT, Svg, cut, width_of};
use crate::papers::Tradeoff;
use crate::stats::Estimate;

/// An arm.
pub(crate) struct Dot {
    pub(crate) label: String,
    pub(crate) series: String,
    pub(crate) x: Estimate,
    pub(crate) y: Estimate,
}

/// The checkpoints of one training, in order of their steps.
pub(crate) struct Trail {
    pub(crate) label: String,
    pub(crate) series: String,
    /// Step and position, in shares.
    pub(crate) steps: Vec<(u64, f64, f64)>,
}

const SIZE: (f64, f64) = (800.0, 500.0);
const INNER: Rect = Rect { x: 64.0, y: 16.0, width: 716.0, height: 424.0 };
const N_TICKS: usize = 6;

/// A line of text with what hangs below it.
const LABEL_HEIGHT: f64 = FONT + 4.0;
const WIDEST_LABEL: f64 = 230.0;

/// Draws arms and trails; both axes are shares. Up and to the right is better.
pub(crate) fn pareto(Tradeoff { title, x: across, y: up, .. }: &Tradeoff, dots: &[Dot], trails: &[Trail]) -> String {
    let description = format!(
        "Each arm is a point with its 95% intervals: {} to the right, {} upwards. The numbers are in the table above.",
        across.name, up.name
    );
    let mut svg = Svg::new(SIZE.0, SIZE.1, title, &description);
    let trail_points = || trails.iter().flat_map(|it| it.steps.iter());
    let x =
        axis(dots.iter().map(|it| it.x.low()).chain(trail_points().map(|it| it.1)), (INNER.x, INNER.x + INNER.width));
    let y =
        axis(dots.iter().map(|it| it.y.low()).chain(trail_points().map(|it| it.2)), (INNER.y + INNER.height, INNER.y));
    frame(&mut svg, (&x, across.title), (&y, up.title));

    let mut solid = Vec::new();
    let mut soft = Vec::new();
    let mut labels = Vec::new();
    let mut texts = Vec::new();
    for trail in trails {
        let points: Vec<(f64, f64)> = trail.steps.iter().map(|(_, a, b)| (x.at(*a), y.at(*b))).collect();
        svg.polyline(&format!("trail {}", trail.series), &points);
        soft.extend(points.windows(2).flat_map(|it| along([it[0], it[1]])));
        for ((step, a, b), point) in trail.steps.iter().zip(&points) {
            let title = format!(
                "{}, step {step}: {} {:.1}%, {} {:.1}%",
                trail.label,
                across.name,
                100.0 * a,
                up.name,
                100.0 * b
            );
            svg.dot(&format!("step {}", trail.series), *point, 3.0, &title);
            solid.push(Rect::around(*point, 4.0, 4.0));
        }
    }
    for dot in dots {
        let at = (x.at(dot.x.value()), y.at(dot.y.value()));
        let class = format!("whisker {}", dot.series);
        let (left, right) = ((x.at(dot.x.low()), at.1), (x.at(dot.x.high()), at.1));
        let (bottom, top) = ((at.0, y.at(dot.y.low())), (at.0, y.at(dot.y.high())));
        svg.line(&class, left, right);
        svg.line(&class, bottom, top);
        soft.push(Rect { x: left.0, y: at.1 - 1.0, width: right.0 - left.0, height: 2.0 });
        soft.push(Rect { x: at.0 - 1.0, y: top.1, width: 2.0, height: bottom.1 - top.1 });
        solid.push(Rect::around(at, 7.0, 7.0));
        let text = cut(&dot.label, WIDEST_LABEL);
        labels.push(Label { point: at, size: (width_of(&text), LABEL_HEIGHT) });
        texts.push((text, "name"));
    }
    for dot in dots {
        let title = format!("{}: {} {}, {} {}", dot.label, across.name, dot.x, up.name, dot.y);
        svg.dot(&format!("arm {}", dot.series), (x.at(dot.x.value()), y.at(dot.y.value())), 6.0, &title);
    }
    if dots.is_empty() && trails.is_empty() {
        svg.text("faint", (INNER.x + INNER.width / 2.0, INNER.y + INNER.height / 2.0), "middle", "no data");
    }
    for trail in trails {
        let mut ends: Vec<_> = trail.steps.first().into_iter().chain(trail.steps.last()).collect();
        ends.dedup();
        for (step, a, b) in ends {
            let text = format!("step {step}");
            labels.push(Label { point: (x.at(*a), y.at(*b)), size: (width_of(&text), LABEL_HEIGHT) });
            texts.push((text, "faint"));
        }
    }
    let spots = place(&labels, &solid, &soft, &INNER);
    for [point, end] in spots.iter().flatten().filter_map(|it| it.leader) {
        svg.line("leader", point, end); // below every text
    }
    for (spot, (text, class)) in spots.iter().zip(&texts) {
        let Some(spot) = spot else { continue };
        svg.text(class, (spot.rect.x + spot.rect.width / 2.0, spot.rect.y + FONT), "middle", text);
    }
    svg.finish()
}

/// From a round number below every value up to 1, with room at both ends.
fn axis(values: impl Iterator<Item = f64>, range: (f64, f64)) -> Scale {
    let least = values.fold(1.0, f64::min);
    let low = ((10.0 * least - 0.3).floor() / 10.0).clamp(0.0, 0.8);
    let room = 0.03 * (1.0 - low);
    Scale::new((low - room, 1.0 + room), range)
}

fn frame(svg: &mut Svg, (x, across): (&Scale, &str), (y, up): (&Scale, &str)) {
    let (left, bottom) = (INNER.x, INNER.y + INNER.height);
    for tick in x.ticks(N_TICKS) {
        let at = x.at(tick);
        svg.line("grid", (at, INNER.y), (at, bottom));
        svg.text("tick", (at, bottom + 18.0), "middle", &format!("{:.0}%", 100.0 * tick));
    }
    for tick in y.ticks(N_TICKS) {
        let at = y.at(tick);
        svg.line("grid", (left, at), (left + INNER.width, at));
        svg.text("tick", (left - 8.0, at + 4.0), "end", &format!("{:.0}%", 100.0 * tick));
    }
    svg.line("axis", (left, bottom), (left + INNER.width, bottom));
    svg.line("axis", (left, INNER.y), (left, bottom));
    svg.text("title", (left + INNER.width / 2.0, bottom + 44.0), "middle", &format!("{across} \u{2192}"));
    svg.upright("title", (16.0, INNER.y + INNER.height / 2.0), &format!("{up} \u{2192}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::papers::DELIBERATIVE_ALIGNMENT;

    fn dot(label: &str, [x, y]: [f64; 2]) -> Dot {
        let around = |it: f64| Estimate::new(it, (it - 0.1).max(0.0), (it + 0.1).min(1.0)).expect("in order");
        Dot { label: label.to_owned(), series: "s0".to_owned(), x: around(x), y: around(y) }
    }

    /// What fault 34 showed: two arms in one corner. Both are named, and so are many with long names.
    #[test]
    fn fault_34_arms_in_one_place_are_all_named() {
        let many =
            [[0.99, 0.0], [0.995, 0.0], [1.0, 0.0], [0.98, 0.01], [1.0, 1.0], [0.0, 0.0], [0.99, 0.0], [0.99, 0.0]];
        let name = |at: usize| format!("Arm number {at} of this card");
        let dots: Vec<Dot> = many.iter().enumerate().map(|(at, it)| dot(&name(at), *it)).collect();
        let svg = pareto(DELIBERATIVE_ALIGNMENT.tradeoff, &dots, &[]);
        for at in 0..many.len() {
            assert!(svg.contains(&format!(">{}</text>", name(at))), "{at}");
        }
        let endless = pareto(DELIBERATIVE_ALIGNMENT.tradeoff, &[dot(&"W".repeat(500), [0.5, 0.5])], &[]);
        assert!(endless.contains("WWW\u{2026}</text>"));
    }

    #[test]
    fn fault_34_nothing_to_show_is_said() {
        let svg = pareto(DELIBERATIVE_ALIGNMENT.tradeoff, &[], &[]);
        assert!(svg.contains(">no data</text>") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
