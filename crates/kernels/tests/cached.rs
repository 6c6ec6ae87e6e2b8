//! Attention over a cache, however its positions come in, equals attention over whole sequences.

mod every_set;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::Precision::{self, Bf16, F32};
use collimate_kernels::{BLOCK, CachedRow, Heads, Plan, Rotary, Spare, attention, cached_attention};

const TIME: usize = 2 * BLOCK + 7;

fn projections(heads: Heads, seed: usize) -> Vec<f32> {
    (0..TIME * heads.fused_width()).map(|it| (((it + seed) * 37 % 101) as f32 / 50.0 - 1.0) * 1.3).collect()
}

/// Outputs [T, H d] of sequences that come in `counts[step][sequence]` positions at a time.
fn cached(heads: Heads, precision: Precision, inputs: &[Vec<f32>], counts: &[Vec<usize>]) -> Vec<Vec<f32>> {
    let rotary = Rotary::new(TIME, heads.width, 10_000.0);
    let mut rows: Vec<CachedRow> = inputs.iter().map(|_| CachedRow::new(1, heads, precision, Vec::new())).collect();
    let mut outputs = vec![Vec::new(); inputs.len()];
    let (mut plan, mut spare) = (Plan::default(), Spare::default());
    for counts in counts {
        let width = heads.fused_width();
        let parts = inputs.iter().zip(&rows).zip(counts);
        let qkv: Vec<f32> =
            parts.flat_map(|((it, row), n)| it[row.len() * width..(row.len() + n) * width].to_vec()).collect();
        let mut out = vec![f32::NAN; qkv.len() / width * heads.out_width()];
        spare.make_room(&mut rows, counts);
        plan.begin(counts);
        cached_attention(&qkv, &mut rows, &mut plan, (0, heads), &rotary, &mut out);
        plan.end(&mut rows);
        let mut rest = out.as_slice();
        for (output, n) in outputs.iter_mut().zip(counts) {
            let (mine, others) = rest.split_at(n * heads.out_width());
            output.extend_from_slice(mine);
            rest = others;
        }
    }
    outputs
}

#[test]
fn however_positions_come_in_the_result_is_that_of_the_whole_sequence() {
    let all = [(4, 2, 6), (3, 3, 64), (9, 3, 80), (1, 1, 2), (20, 1, 32)];
    for (heads, precision) in all.into_iter().flat_map(|it| [F32, Bf16].map(|precision| (it, precision))) {
        let heads = Heads { n_query: heads.0, n_kv: heads.1, width: heads.2 };
        let inputs = [projections(heads, 0), projections(heads, 5)];
        let alone =
            inputs.each_ref().map(|it| cached(heads, precision, std::slice::from_ref(it), &[vec![TIME]]).remove(0));
        for (input, alone) in inputs.iter().zip(&alone) {
            let whole = TensorData::new(input.clone(), [TIME, heads.fused_width()]);
            let whole = Tensor::<2>::from_data(whole, &Device::flex());
            let rotary = Rotary::new(TIME, heads.width, 10_000.0);
            let whole = attention(whole, heads, &rotary, &[TIME], precision).into_data();
            assert_eq!(
                alone,
                whole.as_slice::<f32>().expect("f32"),
                "{heads:?}, {precision:?}: not a bit is lost between training and sampling"
            );
        }
        // One by one beside five at a time, with rests, over the ends of blocks: the same bits.
        let counts: Vec<Vec<usize>> = (0..TIME).map(|at| vec![1, 5.min(TIME.saturating_sub(5 * at))]).collect();
        assert_eq!(cached(heads, precision, &inputs, &counts), alone, "{heads:?}, {precision:?}");
    }
}

#[test]
fn sequences_share_their_beginning_and_nothing_else() {
    let heads = Heads { n_query: 2, n_kv: 1, width: 8 };
    let (width, rotary) = (heads.fused_width(), Rotary::new(TIME, heads.width, 10_000.0));
    let input = projections(heads, 0);
    for precision in [F32, Bf16] {
        let (mut plan, mut spare) = (Plan::default(), Spare::default());
        let mut extend = |row: &mut CachedRow, qkv: &[f32]| {
            let mut out = vec![0.0; qkv.len() / width * heads.out_width()];
            let (rows, counts) = (std::slice::from_mut(row), [qkv.len() / width]);
            spare.make_room(rows, &counts);
            plan.begin(&counts);
            cached_attention(qkv, rows, &mut plan, (0, heads), &rotary, &mut out);
            plan.end(rows);
            out
        };
        let mut first = CachedRow::new(1, heads, precision, Vec::new());
        let start = BLOCK + 3; // a full block and a bit of the next
        extend(&mut first, &input[..start * width]);
        let mut second = first.clone();
        let mut third = CachedRow::new(1, heads, precision, first.blocks()[..1].to_vec());
        let one = extend(&mut first, &input[start * width..(start + 4) * width]);
        let other = projections(heads, 9);
        extend(&mut second, &other[start * width..(start + 4) * width]);
        extend(&mut third, &input[BLOCK * width..start * width]);
        assert_eq!(extend(&mut third, &input[start * width..(start + 4) * width]), one);
        assert!(!first.blocks()[0].is_unshared() && first.blocks()[1].is_unshared());
        let next = start + 4..start + 5;
        let whole = cached(heads, precision, std::slice::from_ref(&input), &[vec![TIME]]).remove(0);
        let last = extend(&mut first, &input[next.start * width..next.end * width]);
        assert_eq!(last, whole[next.start * heads.out_width()..next.end * heads.out_width()]);
    }
}

/// A block that is used again begins without what a sequence left there, were it not a number.
#[test]
fn what_another_sequence_left_does_not_count() {
    let heads = Heads { n_query: 2, n_kv: 1, width: 8 };
    let rotary = Rotary::new(TIME, heads.width, 10_000.0);
    let input = projections(heads, 0);
    for (precision, left) in [F32, Bf16].into_iter().flat_map(|it| [f32::NAN, f32::INFINITY, f32::MAX].map(|x| (it, x)))
    {
        let expected = cached(heads, precision, std::slice::from_ref(&input), &[vec![TIME]]).remove(0);
        let (mut plan, mut spare) = (Plan::default(), Spare::default());
        let mut read = |qkv: &[f32]| {
            let mut row = CachedRow::new(1, heads, precision, Vec::new());
            let mut out = vec![0.0; TIME * heads.out_width()];
            spare.make_room(std::slice::from_mut(&mut row), &[TIME]);
            plan.begin(&[TIME]);
            cached_attention(qkv, std::slice::from_mut(&mut row), &mut plan, (0, heads), &rotary, &mut out);
            plan.end(std::slice::from_mut(&mut row));
            spare.recycle(row);
            out
        };
        read(&vec![left; input.len()]);
        assert_eq!(read(&input), expected, "{precision:?}, {left}");
    }
}

#[test]
fn on_every_instruction_set() {
    every_set::rerun("on_every_instruction_set");
}
