//! Every fused pass against its plain body, and every derivative against finite differences.

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::{Heads, Linear, Rotary, attention, embed, head_scores, plain, rms_norm, swiglu};

/// Values in (-scale, scale) that look random and are the same everywhere.
fn noise(seed: u32, shape: [usize; 2], scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    (0..shape[0] * shape[1]).map(|_| next()).collect()
}

fn tensor(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

type Op<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Output of `op`, and the gradients of sum(output * mix) with respect to each input.
fn run(op: Op<'_>, inputs: &[Tensor<2>], mix: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
    let leaves: Vec<Tensor<2>> = inputs.iter().map(|it| it.clone().autodiff().require_grad()).collect();
    let out = op(&leaves);
    let shape = out.dims();
    let grads = (out.clone() * tensor(mix, shape).autodiff()).sum().backward();
    let gradient = |leaf: &Tensor<2>| values(leaf.grad(&grads).expect("every input has a gradient"));
    (values(out.inner()), leaves.iter().map(gradient).collect())
}

fn close(what: &str, left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len(), "{what}: sizes");
    let size = right.iter().fold(1.0_f32, |largest, it| largest.max(it.abs()));
    for (index, (l, r)) in left.iter().zip(right).enumerate() {
        assert!((l - r).abs() <= tolerance * size, "{what}: element {index} is {l}, expected {r}");
    }
}

/// `fused` computes what `plain` does, forward and backward, and its derivative along a random direction is the slope.
fn check(name: &str, fused: Op<'_>, plain: Op<'_>, inputs: &[(Vec<f32>, [usize; 2])]) {
    let tensors: Vec<Tensor<2>> = inputs.iter().map(|(values, shape)| tensor(values, *shape)).collect();
    let mix = noise(99, fused(&tensors).dims(), 1.0);
    let (out, grads) = run(fused, &tensors, &mix);
    let (plain_out, plain_grads) = run(plain, &tensors, &mix);
    close(&format!("{name}: output"), &out, &plain_out, 2e-6);
    close(&format!("{name}: output without autodiff"), &values(fused(&tensors)), &out, 0.0);
    for (index, (grad, plain_grad)) in grads.iter().zip(&plain_grads).enumerate() {
        close(&format!("{name}: gradient {index}"), grad, plain_grad, 5e-6);
    }
    for (index, (start, shape)) in inputs.iter().enumerate() {
        let direction = noise(7 + index as u32, *shape, 1.0);
        let at = |step: f32| {
            let moved: Vec<f32> = start.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let mut tensors = tensors.clone();
            tensors[index] = tensor(&moved, *shape);
            let out = values(fused(&tensors));
            out.iter().zip(&mix).map(|(out, mix)| f64::from(*out) * f64::from(*mix)).sum::<f64>()
        };
        const STEP: f32 = 4e-3;
        let slope = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
        let along: f64 = grads[index].iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let error = (slope - along).abs() / along.abs().max(1.0);
        assert!(error < 2e-3, "{name}: slope along a direction of input {index} is {slope}, gradient says {along}");
    }
}

#[test]
fn rms_norm_and_its_derivative() {
    for shape in [[1, 8], [5, 24], [200, 192]] {
        let inputs = [(noise(1, shape, 2.0), shape), (noise(2, [1, shape[1]], 1.0), [1, shape[1]])];
        let fused = |it: &[Tensor<2>]| rms_norm(it[0].clone(), it[1].clone(), 1e-5);
        let plain = |it: &[Tensor<2>]| plain::rms_norm(it[0].clone(), it[1].clone(), 1e-5);
        check(&format!("rms_norm {shape:?}"), &fused, &plain, &inputs);
    }
}

#[test]
fn linear_and_its_derivative() {
    // Rows, inputs, outputs: one of each, off every tile, beyond a depth of 256, beyond a task's rows.
    for (n, n_in, n_out) in [(1, 1, 1), (3, 5, 7), (13, 33, 65), (40, 300, 31), (270, 64, 96), (97, 32, 64)] {
        let fused = |it: &[Tensor<2>]| Linear::new(it[1].clone()).apply(it[0].clone());
        let plain = |it: &[Tensor<2>]| it[0].clone().matmul(it[1].clone().transpose());
        let inputs = [(noise(8, [n, n_in], 1.0), [n, n_in]), (noise(9, [n_out, n_in], 1.0), [n_out, n_in])];
        check(&format!("linear {n}x{n_in}x{n_out}"), &fused, &plain, &inputs);
    }
}

/// A row's product is the same bits alone and among others.
#[test]
fn linear_does_not_depend_on_the_batch() {
    let (n, n_in, n_out) = (101, 300, 70);
    let linear = Linear::new(tensor(&noise(9, [n_out, n_in], 1.0), [n_out, n_in]));
    let x = noise(8, [n, n_in], 1.0);
    let all = values(linear.apply(tensor(&x, [n, n_in])));
    for (row, all) in all.chunks_exact(n_out).enumerate() {
        let alone = values(linear.apply(tensor(&x[row * n_in..(row + 1) * n_in], [1, n_in])));
        assert_eq!(all, alone, "row {row}");
    }
}

#[test]
fn swiglu_and_its_derivative() {
    for shape in [[1, 2], [7, 80], [130, 64]] {
        let fused = |it: &[Tensor<2>]| swiglu(it[0].clone());
        let plain = |it: &[Tensor<2>]| plain::swiglu(it[0].clone());
        check(&format!("swiglu {shape:?}"), &fused, &plain, &[(noise(3, shape, 6.0), shape)]);
    }
}

#[test]
fn swiglu_saturates() {
    let out = values(swiglu(tensor(&[-200.0, 200.0, 3.0, 3.0], [1, 4])));
    close("swiglu at its limits", &out, &[0.0, 600.0], 1e-6);
}

#[test]
fn attention_and_its_derivative() {
    // Heads, key-value heads, width, lengths: widths and lengths off the tiles, one position, groups of 1 and 3, several
    // blocks of queries, sequences of many lengths.
    let sizes: [(usize, usize, usize, &[usize]); 7] = [
        (6, 2, 4, &[5, 5]),
        (2, 2, 16, &[17, 17, 17]),
        (6, 2, 32, &[40, 3]),
        (3, 1, 10, &[1]),
        (2, 1, 8, &[64]),
        (4, 2, 16, &[139]),
        (6, 2, 6, &[1, 67, 13, 64, 2, 101]),
    ];
    for (n_query, n_kv, width, lengths) in sizes {
        let heads = Heads { n_query, n_kv, width };
        let rotary = Rotary::new(160, width, 10_000.0);
        let shape = [lengths.iter().sum(), heads.fused_width()];
        let fused = |it: &[Tensor<2>]| attention(it[0].clone(), heads, &rotary, lengths);
        let plain = |it: &[Tensor<2>]| plain::attention(it[0].clone(), heads, &rotary, lengths);
        check(&format!("attention {heads:?} {lengths:?}"), &fused, &plain, &[(noise(4, shape, 1.5), shape)]);
    }
}

/// A packed sequence's output and gradient are the same bits as if it were alone.
#[test]
fn packed_sequences_do_not_see_each_other() {
    let heads = Heads { n_query: 6, n_kv: 2, width: 10 };
    let rotary = Rotary::new(160, heads.width, 10_000.0);
    let lengths = [67, 1, 130, 16];
    let n_rows = lengths.iter().sum();
    let (width, out_width) = (heads.fused_width(), heads.out_width());
    let (qkv, mix) = (noise(4, [n_rows, width], 1.5), noise(5, [n_rows, out_width], 1.0));
    let attend = |rows: std::ops::Range<usize>, lengths: &[usize]| {
        let qkv = tensor(&qkv[rows.start * width..rows.end * width], [rows.len(), width]);
        let op = |it: &[Tensor<2>]| attention(it[0].clone(), heads, &rotary, lengths);
        run(&op, &[qkv], &mix[rows.start * out_width..rows.end * out_width])
    };
    let (out, grads) = attend(0..n_rows, &lengths);
    let mut start = 0;
    for length in lengths {
        let rows = start..start + length;
        let (alone, alone_grads) = attend(rows.clone(), &[length]);
        assert_eq!(out[rows.start * out_width..rows.end * out_width], alone);
        assert_eq!(grads[0][rows.start * width..rows.end * width], alone_grads[0]);
        start = rows.end;
    }
}

#[test]
fn embed_and_its_derivative() {
    let tokens = [3, 0, 3, 6, 3];
    let fused = |it: &[Tensor<2>]| embed(it[0].clone(), &tokens);
    let plain = |it: &[Tensor<2>]| plain::embed(it[0].clone(), &tokens);
    check("embed", &fused, &plain, &[(noise(10, [7, 5], 1.0), [7, 5])]);
    // A table that is also the head: the gradients of both uses are summed.
    let tied = |it: &[Tensor<2>]| Linear::new(it[0].clone()).apply(embed(it[0].clone(), &tokens));
    let plain = |it: &[Tensor<2>]| plain::embed(it[0].clone(), &tokens).matmul(it[0].clone().transpose());
    check("tied embed", &tied, &plain, &[(noise(10, [7, 5], 1.0), [7, 5])]);
    // Rows of something that is itself computed.
    let rows = |it: &[Tensor<2>]| embed(swiglu(it[0].clone()), &tokens);
    let plain = |it: &[Tensor<2>]| plain::embed(plain::swiglu(it[0].clone()), &tokens);
    check("rows", &rows, &plain, &[(noise(11, [7, 8], 3.0), [7, 8])]);
}

#[test]
fn head_and_its_derivative() {
    for (n_tokens, width, n_vocab) in [(1, 4, 3), (19, 24, 61), (33, 16, 200)] {
        let targets: Vec<u32> = (0..n_tokens as u32).map(|it| (it * 7 + 1) % n_vocab as u32).collect();
        let shapes = [[n_tokens, width], [n_vocab, width]];
        let fused = |it: &[Tensor<2>]| {
            let scores = head_scores(it[0].clone(), &Linear::new(it[1].clone()), &targets);
            Tensor::stack(vec![scores.logprob, scores.entropy], 1)
        };
        let plain = |it: &[Tensor<2>]| {
            let scores = plain::token_scores(it[0].clone().matmul(it[1].clone().transpose()), &targets);
            Tensor::cat(vec![-scores.clone().narrow(1, 0, 1), scores.narrow(1, 1, 1)], 1)
        };
        let inputs = [(noise(5, shapes[0], 1.0), shapes[0]), (noise(6, shapes[1], 1.0), shapes[1])];
        check(&format!("head {n_tokens}x{n_vocab}"), &fused, &plain, &inputs);
    }
}

#[test]
fn head_loss_of_extreme_logits_is_finite() {
    let hidden = tensor(&[100.0, -100.0], [2, 1]);
    let table = tensor(&[1.0, -1.0, 0.0], [3, 1]);
    let nll = collimate_kernels::head_loss(hidden, &Linear::new(table), &[0, 0]);
    let nll: Vec<f32> = nll.into_data().try_into_vec().expect("f32");
    close("extreme logits", &nll, &[0.0, 200.0], 1e-6);
}
