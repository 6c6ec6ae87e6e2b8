//! Putting labels beside points without covering anything.

/// A box by its top left corner and its size, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// The box of half-widths `dx`, `dy` around a point.
    pub(super) fn around((x, y): (f64, f64), dx: f64, dy: f64) -> Rect {
        Rect { x: x - dx, y: y - dy, width: 2.0 * dx, height: 2.0 * dy }
    }

    fn overlaps(&self, other: &Rect) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    fn inside(&self, other: &Rect) -> bool {
        other.x <= self.x
            && other.y <= self.y
            && self.x + self.width <= other.x + other.width
            && self.y + self.height <= other.y + other.height
    }

    /// The point of the box nearest to `at`.
    pub(super) fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.x, self.x + self.width), y.clamp(self.y, self.y + self.height))
    }
}

/// A label to be placed: the point it names and its size.
pub(super) struct Label {
    pub(super) point: (f64, f64),
    pub(super) size: (f64, f64),
}

/// A box for a label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) rect: Rect,
    /// A line to the point, where the label stands too far away to be read as its name without one.
    pub(super) leader: Option<[(f64, f64); 2]>,
}

/// Finds a spot for each label, in their order: the nearest to its point that lies inside `bounds`, and covers neither an
/// earlier label nor one of the `solid` boxes. Covering a `soft` box (an error bar), a leader, or the surroundings of another
/// label's point counts as [`SOFT_COST`] pixels of distance, a leader across a label as three times that. Where there is no such
/// spot, the nearest free of labels will do, anywhere in `bounds`; `None` if there is none.
pub(super) fn place(labels: &[Label], solid: &[Rect], soft: &[Rect], bounds: &Rect) -> Vec<Option<Spot>> {
    let mut placed: Vec<Option<Spot>> = Vec::new();
    let mut soft = soft.to_vec();
    for (at, Label { point, size }) in labels.iter().enumerate() {
        let taken: Vec<Rect> = placed.iter().flatten().map(|it| it.rect).collect();
        let others = labels.iter().enumerate().filter(|(other, it)| *other != at && it.point != *point);
        let near: Vec<Rect> = others.map(|(_, it)| Rect::around(it.point, ELBOW_ROOM, ELBOW_ROOM)).collect();
        let mut best: Option<(f64, Spot)> = None;
        for ring in 0..N_RINGS {
            let distance = 9.0 + 9.0 * f64::from(ring);
            if best.is_some_and(|(cost, _)| cost <= distance) {
                break;
            }
            for turn in TURNS {
                let rect = beside(*point, *size, distance, turn);
                let end = rect.nearest(*point);
                let leader =
                    ((end.0 - point.0).hypot(end.1 - point.1) > LONGEST_WITHOUT_LEADER).then_some([*point, end]);
                if rect.inside(bounds) && !taken.iter().chain(solid).any(|it| it.overlaps(&rect)) {
                    let crossed = |label: &&Rect| leader.is_some_and(|line| along(line).any(|it| label.overlaps(&it)));
                    let n_covered = soft.iter().chain(&near).filter(|it| it.overlaps(&rect)).count();
                    let n_faults = n_covered + 3 * taken.iter().filter(crossed).count();
                    let cost = distance + SOFT_COST * n_faults as f64;
                    if best.is_none_or(|(least, _)| cost < least) {
                        best = Some((cost, Spot { rect, leader }));
                    }
                }
            }
        }
        let spot = best.map(|(_, it)| it).or_else(|| anywhere(*point, *size, &taken, solid, bounds));
        soft.extend(spot.and_then(|it| it.leader).into_iter().flat_map(along));
        placed.push(spot);
    }
    placed
}

/// The spot in `bounds` nearest to `point` that covers none of `taken`, and of `solid` as few as can be.
fn anywhere(point: (f64, f64), size: (f64, f64), taken: &[Rect], solid: &[Rect], bounds: &Rect) -> Option<Spot> {
    let (columns, rows) = ((bounds.width - size.0) / GRID.0, (bounds.height - size.1) / GRID.1);
    if columns < 0.0 || rows < 0.0 {
        return None;
    }
    let places = (0..=rows as u32).flat_map(|row| (0..=columns as u32).map(move |column| (column, row)));
    let boxes = places.map(|(column, row)| Rect {
        x: bounds.x + GRID.0 * f64::from(column),
        y: bounds.y + GRID.1 * f64::from(row),
        width: size.0,
        height: size.1,
    });
    let free = boxes.filter(|rect| !taken.iter().any(|it| it.overlaps(rect)));
    let cost = |rect: &Rect| {
        let (x, y) = rect.nearest(point);
        (x - point.0).hypot(y - point.1) + 1e4 * solid.iter().filter(|it| it.overlaps(rect)).count() as f64
    };
    let rect = free.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    Some(Spot { rect, leader: Some([point, rect.nearest(point)]) })
}

/// Steps to the right and down in which the whole plot is searched, pixels.
const GRID: (f64, f64) = (12.0, 5.0);

/// Small boxes along a line.
pub(super) fn along([from, to]: [(f64, f64); 2]) -> impl Iterator<Item = Rect> {
    let n = ((to.0 - from.0).hypot(to.1 - from.1) / 4.0).ceil().max(1.0);
    (0..=n as u32).map(move |it| {
        let share = f64::from(it) / n;
        Rect::around((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share), 1.0, 1.0)
    })
}

/// How near a label may come to a point that is not its own, pixels.
const ELBOW_ROOM: f64 = 16.0;

const LONGEST_WITHOUT_LEADER: f64 = 16.0;

/// How far we would go to keep an error bar in sight, pixels.
const SOFT_COST: f64 = 24.0;

const N_RINGS: u32 = 60;

/// Directions in sixteenths of a full turn from the right, clockwise on the screen, the most readable first.
const TURNS: [u8; 16] = [0, 8, 15, 1, 7, 9, 14, 2, 6, 10, 12, 4, 13, 3, 5, 11];

/// The box of `size` whose nearest edge is `distance` from `point` in the direction `turn`.
fn beside((x, y): (f64, f64), (width, height): (f64, f64), distance: f64, turn: u8) -> Rect {
    let (sin, cos) = (f64::from(turn) * std::f64::consts::TAU / 16.0).sin_cos();
    // The centre moves so that the box ends where the ray does: sideways by half its width, up or down by half its height.
    let centre = (x + cos * distance + cos * width / 2.0, y + sin * distance + sin * height / 2.0);
    Rect::around(centre, width / 2.0, height / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Rect = Rect { x: 0.0, y: 0.0, width: 680.0, height: 400.0 };

    /// Points of a kind that has spread or none, and labels that are short or long.
    fn crowd() -> impl Strategy<Value = Vec<((f64, f64), f64)>> {
        let place = prop_oneof![Just((0.0, 0.0)), Just((1.0, 1.0)), Just((0.5, 1.0)), (0.0f64..=1.0, 0.0f64..=1.0)];
        let squeeze = prop::sample::select(vec![1.0, 0.1, 0.0]);
        (prop::collection::vec((place, 12.0f64..220.0), 1..24), squeeze).prop_map(|(points, squeeze)| {
            let at = |(x, y): (f64, f64)| (BOUNDS.width * x * squeeze, BOUNDS.height * y * squeeze);
            points.into_iter().map(|(place, width)| (at(place), width)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Wherever the points lie, even all in one place, every label finds room, none covers another or leaves the plot.
        #[test]
        fn fault_34_labels_never_overlap(points in crowd()) {
            let solid: Vec<Rect> = points.iter().map(|(at, _)| Rect::around(*at, 7.0, 7.0)).collect();
            let labels: Vec<Label> = points.iter().map(|(at, width)| Label { point: *at, size: (*width, 15.0) }).collect();
            let placed = place(&labels, &solid, &[], &BOUNDS).into_iter().flatten();
            let placed: Vec<Rect> = placed.map(|it| it.rect).collect();
            prop_assert_eq!(placed.len(), points.len());
            for (at, one) in placed.iter().enumerate() {
                prop_assert!(one.inside(&BOUNDS));
                prop_assert!(!placed[..at].iter().any(|it| it.overlaps(one)));
                prop_assert!(points.len() > 10 || !solid.iter().any(|it| it.overlaps(one)));
            }
        }
    }
}
