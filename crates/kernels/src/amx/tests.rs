use super::*;
use crate::area::unwritten;
use crate::bf16;

/// Values in (-1, 1) that look random and are the same everywhere.
fn noise(n: usize, seed: u32) -> Vec<f32> {
    let value = |i: u32| (i ^ seed).wrapping_mul(0x9e37_79b1).rotate_left(13) as f32 / 2.0_f32.powi(31) - 1.0;
    (0..n as u32).map(value).collect()
}

/// Some of what is hard to add and multiply: zeros of both signs, subnormals, the largest and the smallest, infinities, NaN.
fn with_extremes(mut values: Vec<f32>, extremes: &[f32]) -> Vec<f32> {
    let n = extremes.len();
    values.iter_mut().skip(1).step_by(5).zip((0..).step_by(3)).for_each(|(it, at)| *it = extremes[at % n]);
    values
}

const SMALL: [f32; 8] = [0.0, -0.0, 1e-40, -1e-38, f32::MIN_POSITIVE, -3e-20, 2e-19, -1.5e-38];
const LARGE: [f32; 6] = [f32::MAX, -f32::MAX, 1e19, -3e19, f32::INFINITY, f32::NEG_INFINITY];

/// How an operand lies in memory: by its rows as they are multiplied, or transposed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    Along,
    Across,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: [usize; 3], // rows, inner, columns
    lie: [Lies; 2],
    write: Write,
}

/// Operands of a product, and what is there before it.
struct Values {
    left: Vec<f32>,
    right: Vec<f32>,
    before: Vec<f32>,
}

impl Values {
    fn of([n_rows, n_inner, n_columns]: [usize; 3], extremes: &[f32]) -> Values {
        let of = |n: usize, seed: u32| match extremes {
            [] => noise(n, seed),
            _ => with_extremes(noise(n, seed), extremes),
        };
        Values { left: of(n_rows * n_inner, 1), right: of(n_inner * n_columns, 2), before: of(n_rows * n_columns, 3) }
    }
}

/// What the kernels make of a case.
fn product<U: Unit>(
    unit: &U,
    Case { sizes: [n_rows, n_inner, n_columns], lie, write }: Case,
    values: &Values,
) -> Vec<f32> {
    let operand = match lie[1] {
        Lies::Along => Operand::along(&values.right, [n_columns, n_inner]),
        Lies::Across => Operand::across(&values.right, [n_columns, n_inner]),
    };
    let height = n_inner.div_ceil(DEPTH) * TILE;
    let mut words = Vec::new();
    operand.right(unit, &mut words);
    let a = match lie[0] {
        Lies::Along => Left::Rows { values: &values.left, n_inner },
        Lies::Across => Left::Columns { values: &values.left, stride: n_rows, n_inner },
    };
    let width = if write.across { n_rows } else { n_columns };
    let mut out = if write.adds { values.before.clone() } else { vec![f32::NAN; n_rows * n_columns] };
    let area = if write.adds { Area::new(&mut out, width) } else { Area::unwritten(unwritten(&mut out), width) };
    Task { a, words: &words, height, out: area, write }.with_unit(unit);
    out
}

/// The definition, element by element; with the machine's vectors, since a mul_add without them is a function call.
fn naive(case: Case, values: &Values) -> Vec<f32> {
    simd(
        #[inline(always)]
        || defined(case, values),
    )
}

#[inline(always)]
fn defined(Case { sizes: [n_rows, n_inner, n_columns], lie, write }: Case, values: &Values) -> Vec<f32> {
    let normal = |x: f32| if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x };
    let round = |x: f32| {
        if x.is_nan() {
            return x;
        }
        let bits = normal(x).to_bits();
        f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    };
    let left = |i: usize, k: usize| match lie[0] {
        Lies::Along => values.left[i * n_inner + k],
        Lies::Across => values.left[k * n_rows + i],
    };
    let right = |k: usize, j: usize| match lie[1] {
        Lies::Along => values.right[j * n_inner + k],
        Lies::Across => values.right[k * n_columns + j],
    };
    let mut out = vec![0.0; n_rows * n_columns];
    for (i, j) in (0..n_rows).flat_map(|i| (0..n_columns).map(move |j| (i, j))) {
        let at = if write.across { j * n_rows + i } else { i * n_columns + j };
        let mut sum = if write.adds { normal(values.before[at]) } else { 0.0 };
        for from in (0..n_inner).step_by(DEPTH) {
            let of = |parity: usize| {
                let inner = (from..n_inner.min(from + DEPTH)).filter(|k| k % 2 == parity);
                inner.fold(0.0, |sum, k| normal(round(left(i, k)).mul_add(round(right(k, j)), sum)))
            };
            sum = normal(sum + normal(of(0) + of(1)));
        }
        out[at] = sum;
    }
    out
}

/// Off every tile and strip; beyond the parts of the inner index, the panels that are near and the rows of a task.
const SIZES: [[usize; 3]; 11] = [
    [1, 1, 1],
    [3, 5, 7],
    [16, 32, 32],
    [17, 33, 65],
    [32, 64, 32],
    [33, 129, 31],
    [65, 801, 34],
    [16, 1700, 32],
    [5, 40, 700],
    [130, 64, 33],
    [1, 12300, 40],
];

fn cases() -> impl Iterator<Item = Case> {
    let both = [false, true];
    let lies = [Lies::Along, Lies::Across];
    let writes = both.into_iter().flat_map(move |adds| both.map(|across| Write { adds, across }));
    SIZES.into_iter().flat_map(move |sizes| {
        let writes = writes.clone();
        lies.into_iter().flat_map(move |left| {
            let writes = writes.clone();
            lies.into_iter()
                .flat_map(move |right| writes.clone().map(move |write| Case { sizes, lie: [left, right], write }))
        })
    })
}

/// The same bits, but for those of a NaN, whose payload depends on the order of operands.
fn assert_same(what: &str, case: Case, found: &[f32], expected: &[f32]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(is_same, "{what}, {case:?}: element {at} is {found:e}, expected {expected:e}");
    }
}

#[test]
fn emulated_tiles_are_their_definition() {
    for (case, extremes) in cases().flat_map(|case| [&[][..], &SMALL, &LARGE].map(|it| (case, it))) {
        let values = Values::of(case.sizes, extremes);
        assert_same("emulated", case, &compiled(&Emulated, case, &values), &naive(case, &values));
    }
}

/// With the vectors of the machine: a mul_add without them is a function call.
fn compiled(unit: &Emulated, case: Case, values: &Values) -> Vec<f32> {
    simd(
        #[inline(always)]
        || product(unit, case, values),
    )
}

/// And the definition is a product: as near to that of the rounded operands as sums in f32 are.
#[test]
fn tiles_multiply_and_nan_stays() {
    let case = Case { sizes: [33, 801, 66], lie: [Lies::Along; 2], write: Write::default() };
    let mut values = Values::of(case.sizes, &[]);
    let rounded = |it: &[f32]| -> Vec<f64> { it.iter().map(|x| f64::from(bf16::odd(bf16::pair(0.0, *x)))).collect() };
    let (left, right) = (rounded(&values.left), rounded(&values.right));
    let found = compiled(&Emulated, case, &values);
    for (i, j) in (0..33).flat_map(|i| (0..66).map(move |j| (i, j))) {
        let sum: f64 = (0..801).map(|k| left[i * 801 + k] * right[j * 801 + k]).sum();
        assert!((f64::from(found[i * 66 + j]) - sum).abs() < 1e-4, "{i}, {j}: {} {sum}", found[i * 66 + j]);
    }
    values.left[5 * 801 + 7] = f32::NAN;
    let found = compiled(&Emulated, case, &values);
    let rows: Vec<bool> = found.chunks(66).map(|it| it.iter().all(|x| x.is_nan())).collect();
    assert_eq!(rows.iter().filter(|it| **it).count(), 1, "a NaN is in its row's products");
    assert!(rows[5] && found.iter().filter(|it| it.is_nan()).count() == 66, "and in no other");
}

#[test]
fn emulated_tiles_exchange_lines_and_words() {
    let mut tile: Tile = std::array::from_fn(|i| Line(std::array::from_fn(|j| (16 * i + j) as u32)));
    Emulated.transpose(&mut tile);
    assert!(
        tile.iter().enumerate().all(|(i, line)| line.0.iter().enumerate().all(|(j, it)| *it == (16 * j + i) as u32))
    );
}

/// Where the machine has tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native {
    use super::*;
    use crate::isa::permission::{is_available, is_usable};

    struct Product<'a>(Case, &'a Values);

    impl WithUnit for Product<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_unit<U: Unit>(self, unit: &U) -> Vec<f32> {
            product(unit, self.0, self.1)
        }
    }

    #[test]
    fn native_tiles_are_the_emulated_ones() {
        if !is_available() {
            return; // the emulated ones are tested everywhere
        }
        for (case, extremes) in cases().flat_map(|case| [&[][..], &SMALL, &LARGE].map(|it| (case, it))) {
            let values = Values::of(case.sizes, extremes);
            let native = Native::configured().run(Product(case, &values));
            assert_same("native", case, &native, &compiled(&Emulated, case, &values));
        }
        let lines: Tile = std::array::from_fn(|i| Line::of(&with_extremes(noise(16, i as u32), &SMALL)));
        let (mut native, mut emulated) = (lines, lines);
        struct Transpose<'a>(&'a mut Tile);
        impl WithUnit for Transpose<'_> {
            type Output = ();
            #[inline(always)]
            fn with_unit<U: Unit>(self, unit: &U) {
                unit.transpose(self.0);
            }
        }
        Native::configured().run(Transpose(&mut native));
        Emulated.transpose(&mut emulated);
        assert_eq!(native, emulated);
    }

    /// Whatever is missing, there are no tiles, and nothing else happens.
    #[test]
    fn without_a_permission_there_are_no_tiles() {
        assert!(is_usable(|| true, || true, || true));
        for lacks in 0..3 {
            let has = |it: usize| move || it != lacks;
            assert!(!is_usable(has(0), has(1), has(2)));
        }
        let never = || -> bool { panic!("a processor without tiles is not asked") };
        assert!(!is_usable(|| false, never, never));
        assert!(!is_usable(|| true, || false, never));
    }

    /// Tiles belong to a thread: while it waits in a parallel loop it may take up other work that configures its own.
    #[test]
    fn tiles_stay_on_their_thread() {
        trait IsSend<A> {
            fn is_send() {}
        }
        impl<T: ?Sized> IsSend<()> for T {}
        struct Sendable;
        impl<T: ?Sized + Send> IsSend<Sendable> for T {}
        // Ambiguous, and no program, if it were Send.
        <Native as IsSend<_>>::is_send();
    }
}
