//! Attention over a cache, one position at a time, equals attention over whole sequences.

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::{CachedRow, Heads, Rotary, attention, cached_attention};

#[test]
fn one_position_at_a_time_equals_the_whole_sequence() {
    let heads = Heads { n_query: 4, n_kv: 2, width: 6 };
    let rotary = Rotary::new(32, heads.width, 10_000.0);
    let (time, width) = (9, heads.fused_width());
    let values: Vec<f32> = (0..2 * time * width).map(|it| ((it * 37 % 101) as f32 / 50.0 - 1.0) * 1.3).collect();
    let whole = Tensor::<2>::from_data(TensorData::new(values.clone(), [2 * time, width]), &Device::flex());
    let whole = attention(whole, heads, &rotary, &[time; 2]).into_data();
    let whole = whole.as_slice::<f32>().expect("f32");

    // Row 0 starts with three positions stored at once, row 1 with one: lengths differ within the batch.
    let starts = [3, 1];
    let mut rows: Vec<CachedRow> = (0..2).map(|_| CachedRow::new(1, heads, time)).collect();
    for (index, (row, start)) in rows.iter_mut().zip(starts).enumerate() {
        row.store(0, &values[index * time * width..][..start * width], &rotary);
        row.advance(start);
    }
    for step in 0..time - 3 {
        let at = |index: usize| (index * time + starts[index] + step) * width;
        let next = [&values[at(0)..][..width], &values[at(1)..][..width]].concat();
        let next = Tensor::<2>::from_data(TensorData::new(next, [2, width]), &Device::flex());
        let out = cached_attention(next, &mut rows, 0, heads, &rotary).into_data();
        let out = out.as_slice::<f32>().expect("f32");
        for (index, row) in rows.iter_mut().enumerate() {
            row.advance(1);
            let expected = &whole[(index * time + starts[index] + step) * heads.out_width()..][..heads.out_width()];
            for (out, expected) in out[index * heads.out_width()..].iter().zip(expected) {
                assert!((out - expected).abs() < 1e-5, "row {index}, step {step}: {out} is not {expected}");
            }
        }
    }
}
