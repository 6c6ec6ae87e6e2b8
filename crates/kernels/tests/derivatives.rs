//! Every fused pass against its plain body, and every derivative against finite differences.

mod every_set;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::{
    Heads, Linear, Precision, Rotary, TokenScore, TopK, attention, distillation_loss, embed, head_scores, head_top_k,
    logprob, plain, rms_norm, swiglu_rows, token_loss,
};

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

/// A row's product is the same bits alone and among others, few or many, with one thread and with several.
#[test]
fn linear_does_not_depend_on_the_batch() {
    let (n, n_in, n_out) = (101, 1300, 310);
    let weight = tensor(&noise(9, [n_out, n_in], 1.0), [n_out, n_in]);
    let x = noise(8, [n, n_in], 1.0);
    for precision in [Precision::F32, Precision::Bf16] {
        let linear = Linear::with_precision(weight.clone(), precision);
        let passing = linear.clone().passing();
        let product = |linear: &Linear, n_rows: usize, n_threads: usize| {
            let mut out = vec![0.0; n_rows * n_out];
            let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
            threads.install(|| linear.apply_rows(&x[..n_rows * n_in], &mut out, n_threads));
            out
        };
        let all = values(linear.apply(tensor(&x, [n, n_in])));
        for (n_rows, n_threads) in [(1, 1), (1, 3), (6, 1), (6, 3), (40, 3), (96, 3), (101, 1), (101, 3)] {
            for (linear, which) in [(&linear, "kept"), (&passing, "passing")] {
                assert!(
                    all[..n_rows * n_out] == product(linear, n_rows, n_threads),
                    "{precision:?}, {n_rows} rows, {n_threads} threads, {which}"
                );
            }
        }
    }
}

/// Weights that are not kept give the same bits, whichever operand is arranged.
#[test]
fn passing_weights_give_the_same() {
    // More rows than weights and fewer, off every tile, thin tiles last, beyond a task's rows and a depth of 768.
    for (n, n_in, n_out) in [(1, 1, 2), (3, 5, 7), (13, 33, 65), (65, 33, 13), (40, 1001, 131), (101, 30, 1300)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let of = |linear: Linear, x: &Tensor<2>| linear.apply(x.clone());
            let new = |it: &Tensor<2>| Linear::with_precision(it.clone(), precision);
            let kept = |it: &[Tensor<2>]| of(new(&it[1]), &it[0]);
            let passing = |it: &[Tensor<2>]| of(new(&it[1]).passing(), &it[0]);
            let inputs =
                [(8, [n, n_in]), (9, [n_out, n_in])].map(|(seed, shape)| tensor(&noise(seed, shape, 1.0), shape));
            let mix = noise(99, [n, n_out], 1.0);
            assert!(run(&kept, &inputs, &mix) == run(&passing, &inputs, &mix), "{n}x{n_in}x{n_out}, {precision:?}");
        }
    }
}

#[test]
fn linear_after_norm_and_its_derivative() {
    for (n, n_in, n_out) in [(1, 8, 3), (5, 24, 31), (200, 192, 65)] {
        let shapes = [[n, n_in], [1, n_in], [n_out, n_in]];
        let scale = (n_in as f32).powf(-0.5);
        let inputs = [
            (noise(1, shapes[0], 2.0), shapes[0]),
            (noise(2, shapes[1], 1.0), shapes[1]),
            (noise(9, shapes[2], scale), shapes[2]),
        ];
        let fused = |it: &[Tensor<2>]| Linear::new(it[2].clone()).after_norm(it[0].clone(), it[1].clone(), 1e-5);
        let plain =
            |it: &[Tensor<2>]| plain::rms_norm(it[0].clone(), it[1].clone(), 1e-5).matmul(it[2].clone().transpose());
        check(&format!("linear after norm {n}x{n_in}x{n_out}"), &fused, &plain, &inputs);
    }
}

/// A product with what a gate lets through.
fn after_swiglu(it: &[Tensor<2>]) -> Tensor<2> {
    Linear::new(it[1].clone()).after_swiglu(it[0].clone())
}

fn plain_after_swiglu(it: &[Tensor<2>]) -> Tensor<2> {
    plain::swiglu(it[0].clone()).matmul(it[1].clone().transpose())
}

#[test]
fn linear_after_swiglu_and_its_derivative() {
    for (n, n_in, n_out) in [(1, 1, 1), (7, 40, 5), (130, 32, 65)] {
        let shapes = [[n, 2 * n_in], [n_out, n_in]];
        let scale = (n_in as f32).powf(-0.5);
        let inputs = [(noise(3, shapes[0], 6.0), shapes[0]), (noise(9, shapes[1], scale), shapes[1])];
        check(&format!("linear after swiglu {n}x{n_in}x{n_out}"), &after_swiglu, &plain_after_swiglu, &inputs);
    }
}

#[test]
fn swiglu_saturates() {
    let mut out = [0.0; 2];
    swiglu_rows(&[-200.0, 200.0, 3.0, 3.0], 2, &mut out);
    close("swiglu at its limits", &out, &[0.0, 600.0], 1e-6);
}

/// Heads, key-value heads, width, lengths: widths and lengths off the tiles, one position, groups of 1 and 3, several blocks of
/// queries, sequences of many lengths.
const ATTENTIONS: [(usize, usize, usize, &[usize]); 8] = [
    (6, 2, 4, &[5, 5]),
    (2, 2, 16, &[17, 17, 17]),
    (6, 2, 32, &[40, 3]),
    (3, 1, 10, &[1]),
    (2, 1, 8, &[64]),
    (4, 2, 16, &[139]),
    (2, 1, 64, &[97]),
    (6, 2, 6, &[1, 67, 13, 64, 2, 101]),
];

#[test]
fn attention_and_its_derivative() {
    for (n_query, n_kv, width, lengths) in ATTENTIONS {
        let heads = Heads { n_query, n_kv, width };
        let rotary = Rotary::new(160, width, 10_000.0);
        let shape = [lengths.iter().sum(), heads.fused_width()];
        let fused = |it: &[Tensor<2>]| attention(it[0].clone(), heads, &rotary, lengths, Precision::F32);
        let plain = |it: &[Tensor<2>]| plain::attention(it[0].clone(), heads, &rotary, lengths);
        check(&format!("attention {heads:?} {lengths:?}"), &fused, &plain, &[(noise(4, shape, 1.5), shape)]);
    }
}

/// Where products of attention are taken in bf16, outputs and gradients are off by what that rounds.
#[test]
fn bf16_attention_is_near_the_f32_attention() {
    for (n_query, n_kv, width, lengths) in ATTENTIONS {
        let heads = Heads { n_query, n_kv, width };
        let rotary = Rotary::new(160, width, 10_000.0);
        let shape = [lengths.iter().sum(), heads.fused_width()];
        let mix = noise(99, [shape[0], heads.out_width()], 1.0);
        let inputs = [tensor(&noise(4, shape, 1.5), shape)];
        let [whole, rounded] = [Precision::F32, Precision::Bf16].map(|precision| {
            let op = |it: &[Tensor<2>]| attention(it[0].clone(), heads, &rotary, lengths, precision);
            let (out, grads) = run(&op, &inputs, &mix);
            [out, grads[0].clone()]
        });
        for (what, (whole, rounded)) in ["output", "gradient"].iter().zip(whole.iter().zip(&rounded)) {
            let square = |it: &mut dyn Iterator<Item = f32>| it.map(|x| f64::from(x * x)).sum::<f64>();
            let error = square(&mut whole.iter().zip(rounded).map(|(a, b)| a - b)) / square(&mut whole.iter().copied());
            assert!(error.sqrt() < 0.01, "{heads:?} {lengths:?}: the {what} is {} off", error.sqrt());
        }
    }
}

/// What does not fit is refused before anything is computed: memory that is not cleared must be written.
#[test]
fn what_does_not_fit_is_refused() {
    let of = |shape: [usize; 2]| tensor(&noise(1, shape, 1.0), shape);
    let refused = |what: &str, op: &(dyn Fn() -> Tensor<2> + std::panic::RefUnwindSafe)| {
        assert!(std::panic::catch_unwind(op).is_err(), "{what}");
    };
    refused("a norm of another width", &|| rms_norm(of([1, 8]), of([1, 4]), 1e-5));
    refused("a norm of another width before a product", &|| {
        Linear::new(of([3, 8])).after_norm(of([1, 8]), of([1, 4]), 1e-5)
    });
    refused("a gate without its other half", &|| Linear::new(of([3, 4])).after_swiglu(of([5, 9])));
    for (n_query, n_kv) in [(3, 2), (2, 0)] {
        let heads = Heads { n_query, n_kv, width: 2 };
        let rotary = Rotary::new(8, 2, 10_000.0);
        refused("heads that are not shared evenly", &|| {
            attention(of([3, heads.fused_width()]), heads, &rotary, &[3], Precision::F32)
        });
    }
    // And no positions, or no rows, are nothing to do.
    let heads = Heads { n_query: 2, n_kv: 1, width: 8 };
    let rotary = Rotary::new(8, 8, 10_000.0);
    for precision in [Precision::F32, Precision::Bf16] {
        let out = attention(of([5, heads.fused_width()]), heads, &rotary, &[3, 0, 2], precision);
        assert_eq!(values(out), values(attention(of([5, heads.fused_width()]), heads, &rotary, &[3, 2], precision)));
    }
}

/// Slopes of a loss by scores: one row in three has none.
fn some_slopes(n_tokens: usize) -> Vec<f32> {
    noise(99, [n_tokens, 2], 1.0)
        .into_iter()
        .enumerate()
        .map(|(at, it)| if at / 2 % 3 == 1 { 0.0 } else { it })
        .collect()
}

/// The sum of `slopes` [n, 2] times the scores of `targets` under a head of `precision`, [1, 1], from hidden states and a
/// table.
fn loss(it: &[Tensor<2>], precision: Precision, targets: &[u32], slopes: &[f32]) -> Tensor<2> {
    let slope = |at: usize, _| TokenScore { logprob: slopes[2 * at], entropy: slopes[2 * at + 1] };
    let [hidden, table] = [0, 1].map(|at| tracked(&it[at]));
    let (loss, _) = token_loss(hidden, &Linear::with_precision(table, precision), targets, slope);
    like(loss.unsqueeze_dim(1), &it[0])
}

fn plain_loss(it: &[Tensor<2>], targets: &[u32], slopes: &[f32]) -> Tensor<2> {
    let scores = plain::token_scores(it[0].clone().matmul(it[1].clone().transpose()), targets);
    let slopes = tensor(slopes, [targets.len(), 2]);
    let slopes = if scores.is_autodiff() { slopes.autodiff() } else { slopes };
    (scores * slopes).sum().unsqueeze_dim::<2>(1)
}

/// Losses want autodiff.
fn tracked(it: &Tensor<2>) -> Tensor<2> {
    if it.is_autodiff() { it.clone() } else { it.clone().autodiff() }
}

/// With autodiff where `other` has it.
fn like(it: Tensor<2>, other: &Tensor<2>) -> Tensor<2> {
    if other.is_autodiff() { it } else { it.inner() }
}

fn some_targets(n_tokens: usize, n_vocab: usize) -> Vec<u32> {
    (0..n_tokens as u32).map(|it| (it * 70 + 1) % n_vocab as u32).collect()
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
    let attend = |rows: std::ops::Range<usize>, lengths: &[usize], precision| {
        let qkv = tensor(&qkv[rows.start * width..rows.end * width], [rows.len(), width]);
        let op = |it: &[Tensor<2>]| attention(it[0].clone(), heads, &rotary, lengths, precision);
        run(&op, &[qkv], &mix[rows.start * out_width..rows.end * out_width])
    };
    for precision in [Precision::F32, Precision::Bf16] {
        let (out, grads) = attend(0..n_rows, &lengths, precision);
        let mut start = 0;
        for length in lengths {
            let rows = start..start + length;
            let (alone, alone_grads) = attend(rows.clone(), &[length], precision);
            assert_eq!(out[rows.start * out_width..rows.end * out_width], alone);
            assert_eq!(grads[0][rows.start * width..rows.end * width], alone_grads[0]);
            start = rows.end;
        }
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
    let rows = |it: &[Tensor<2>]| embed(after_swiglu(it), &tokens);
    let plain = |it: &[Tensor<2>]| plain::embed(plain_after_swiglu(it), &tokens);
    check("rows", &rows, &plain, &[(noise(11, [7, 8], 3.0), [7, 8]), (noise(12, [3, 4], 1.0), [3, 4])]);
}

#[test]
fn head_and_its_derivative() {
    // Tokens, width, vocabulary: one of each, off every tile, beyond a task's rows, beyond a part of the vocabulary, beyond a
    // strip of it.
    for (n_tokens, width, n_vocab) in
        [(1, 1, 1), (1, 4, 3), (19, 24, 61), (33, 16, 200), (101, 12, 521), (197, 7, 1031), (5, 270, 2500)]
    {
        let targets = some_targets(n_tokens, n_vocab);
        let shapes = [[n_tokens, width], [n_vocab, width]];
        let slopes = some_slopes(n_tokens);
        let fused = |it: &[Tensor<2>]| loss(it, Precision::F32, &targets, &slopes);
        let plain = |it: &[Tensor<2>]| plain_loss(it, &targets, &slopes);
        let scale = (width as f32).powf(-0.25);
        let inputs = [(noise(5, shapes[0], scale), shapes[0]), (noise(6, shapes[1], scale), shapes[1])];
        check(&format!("head {n_tokens}x{width}x{n_vocab}"), &fused, &plain, &inputs);
    }
}

/// A row's scores are the same bits alone and among others, and are what sampling says of its logits.
#[test]
fn head_scores_do_not_depend_on_the_batch() {
    let (n_tokens, width, n_vocab) = (101, 24, 1061);
    let table = Linear::new(tensor(&noise(6, [n_vocab, width], 1.0), [n_vocab, width]));
    let (hidden, targets) = (noise(5, [n_tokens, width], 1.0), some_targets(n_tokens, n_vocab));
    let all = head_scores(tensor(&hidden, [n_tokens, width]), &table, &targets);
    for row in 0..n_tokens {
        let (hidden, target) = (tensor(&hidden[row * width..(row + 1) * width], [1, width]), targets[row]);
        assert_eq!(head_scores(hidden.clone(), &table, &[target]), [all[row]]);
        assert_eq!(logprob(&values(table.apply(hidden)), target), all[row].logprob, "row {row}");
    }
}

/// A table that is not kept is arranged some rows at a time; the rows of a block, too, change nothing.
#[test]
fn a_passing_table_gives_the_same() {
    let (n_tokens, width, n_vocab) = (600, 6, 8300);
    let shapes = [[n_tokens, width], [n_vocab, width]];
    let (targets, slopes) = (some_targets(n_tokens, n_vocab), some_slopes(n_tokens));
    let inputs = [tensor(&noise(5, shapes[0], 1.0), shapes[0]), tensor(&noise(6, shapes[1], 1.0), shapes[1])];
    let loss = |it: &[Tensor<2>], arrange: &dyn Fn(Linear) -> Linear| {
        let slope = |at: usize, _| TokenScore { logprob: slopes[2 * at], entropy: slopes[2 * at + 1] };
        let (loss, _) = token_loss(tracked(&it[0]), &arrange(Linear::new(tracked(&it[1]))), &targets, slope);
        like(loss.unsqueeze_dim(1), &it[0])
    };
    let kept = run(&|it| loss(it, &|linear| linear), &inputs, &[1.0]);
    assert!(kept == run(&|it| loss(it, &Linear::passing), &inputs, &[1.0]));
}

/// The loss asks for the slopes of the scores that it returns, which are those of the head.
#[test]
fn a_loss_is_asked_for_its_slopes_by_the_scores() {
    let (n_tokens, width, n_vocab) = (101, 24, 1061);
    let (hidden, targets) =
        (tensor(&noise(5, [n_tokens, width], 1.0), [n_tokens, width]), some_targets(n_tokens, n_vocab));
    let table = Linear::new(tensor(&noise(6, [n_vocab, width], 1.0), [n_vocab, width]));
    let scores = head_scores(hidden.clone(), &table, &targets);
    let slope = |at: usize, score: TokenScore| {
        assert_eq!(score, scores[at]);
        TokenScore { logprob: score.logprob, entropy: 0.0 }
    };
    let (loss, returned) = token_loss(hidden.autodiff(), &table.tracked(), &targets, slope);
    assert_eq!(returned, scores);
    let squares: f32 = scores.iter().map(|it| it.logprob * it.logprob).sum();
    assert!((loss.inner().into_scalar::<f32>() / squares - 1.0).abs() < 1e-5);
}

/// A loss that depends on no row has no gradient.
#[test]
fn a_loss_without_slopes_has_no_gradient() {
    let shapes = [[120, 8], [1100, 8]];
    let inputs = [tensor(&noise(5, shapes[0], 1.0), shapes[0]), tensor(&noise(6, shapes[1], 1.0), shapes[1])];
    let op = |it: &[Tensor<2>]| loss(it, Precision::F32, &some_targets(120, 1100), &[0.0; 240]);
    let (out, none) = run(&op, &inputs, &[1.0]);
    assert!(out.iter().chain(none.iter().flatten()).all(|it| *it == 0.0));
}

#[test]
fn head_loss_of_extreme_logits_is_finite() {
    let hidden = tensor(&[100.0, -100.0], [2, 1]);
    let table = tensor(&[1.0, -1.0, 0.0], [3, 1]);
    let scores = head_scores(hidden, &Linear::new(table), &[0, 0]);
    close("extreme logits", &scores.iter().map(|it| it.logprob).collect::<Vec<_>>(), &[0.0, -200.0], 1e-6);

    let (n_tokens, n_vocab) = (4, 1500);
    let hidden = tensor(&[100.0, -100.0, 50.0, 0.0], [n_tokens, 1]);
    let table = tensor(&noise(6, [n_vocab, 1], 100.0), [n_vocab, 1]);
    let targets = [0, 700, 1499, 3];
    let op = |it: &[Tensor<2>]| loss(it, Precision::F32, &targets, &[1.0; 8]);
    let (out, grads) = run(&op, &[hidden.clone(), table.clone()], &[1.0]);
    assert!(out.iter().chain(grads.iter().flatten()).all(|it| it.is_finite()));
    let uniform = head_scores(hidden, &Linear::new(table), &targets)[3];
    let log = (n_vocab as f32).ln();
    close("a uniform row", &[uniform.logprob, uniform.entropy], &[-log, log], 1e-6);
}

/// The nearest bf16, ties to even, from the definition.
fn to_bf16(x: f32) -> f32 {
    let below = f32::from_bits(x.to_bits() & 0xffff_0000);
    let above = f32::from_bits((x.to_bits() & 0xffff_0000) + 0x1_0000);
    let (down, up) = ((x - below).abs(), (above - x).abs());
    if down < up || (down == up && below.to_bits() & 0x1_0000 == 0) { below } else { above }
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|it| to_bf16(*it)).collect()
}

#[test]
fn bf16_products_are_those_of_rounded_operands() {
    for (n, n_in, n_out) in [(1, 1, 1), (3, 5, 7), (13, 33, 65), (40, 701, 31), (1100, 64, 96), (97, 32, 64)] {
        let (x_shape, w_shape) = ([n, n_in], [n_out, n_in]);
        let (x, w, dy) = (noise(8, x_shape, 1.0), noise(9, w_shape, 1.0), noise(99, [n, n_out], 1.0));
        let bf16 = |it: &[Tensor<2>]| Linear::with_precision(it[1].clone(), Precision::Bf16).apply(it[0].clone());
        let plain = |it: &[Tensor<2>]| it[0].clone().matmul(it[1].clone().transpose());
        let (out, grads) = run(&bf16, &[tensor(&x, x_shape), tensor(&w, w_shape)], &dy);
        let inputs = [tensor(&rounded(&x), x_shape), tensor(&rounded(&w), w_shape)];
        let (plain_out, plain_grads) = run(&plain, &inputs, &rounded(&dy));
        close(&format!("bf16 {n}x{n_in}x{n_out}"), &out, &plain_out, 2e-6);
        for (grad, plain_grad) in grads.iter().zip(&plain_grads) {
            close(&format!("gradient of bf16 {n}x{n_in}x{n_out}"), grad, plain_grad, 5e-6);
        }
    }
}

/// A head in bf16 is near the one in f32, forward and backward.
#[test]
fn bf16_head_is_near_the_f32_head() {
    let (n_tokens, width, n_vocab) = (101, 33, 1061);
    let targets = some_targets(n_tokens, n_vocab);
    let shapes = [[n_tokens, width], [n_vocab, width]];
    let (hidden, table) = (rounded(&noise(5, shapes[0], 0.5)), rounded(&noise(6, shapes[1], 0.5)));
    let (inputs, slopes) = ([tensor(&hidden, shapes[0]), tensor(&table, shapes[1])], some_slopes(n_tokens));
    let (out, grads) = run(&|it| loss(it, Precision::Bf16, &targets, &slopes), &inputs, &[1.0]);
    let (f32_out, f32_grads) = run(&|it| loss(it, Precision::F32, &targets, &slopes), &inputs, &[1.0]);
    close("output", &out, &f32_out, 2e-6); // the operands are bf16 already
    for (grad, f32_grad) in grads.iter().zip(&f32_grads) {
        close("gradient", grad, f32_grad, 1e-2);
    }
}

/// What a teacher with other weights stores of `n_rows` positions.
fn some_teacher([n_rows, width, n_vocab]: [usize; 3], k: usize) -> TopK {
    let scale = 2.0 * (width as f32).powf(-0.25);
    let table = Linear::new(tensor(&noise(16, [n_vocab, width], scale), [n_vocab, width]));
    head_top_k(tensor(&noise(15, [n_rows, width], scale), [n_rows, width]), &table, k)
}

/// The weighted divergence, [1, 1], from hidden states and a table.
fn distilled(it: &[Tensor<2>], teacher: &TopK, weights: &[f32]) -> Tensor<2> {
    let [hidden, table] = [0, 1].map(|at| tracked(&it[at]));
    like(distillation_loss(hidden, &Linear::new(table), teacher, weights).0.unsqueeze_dim(1), &it[0])
}

#[test]
fn distillation_and_its_derivative() {
    // As the head's sizes, with the tokens of a row in one part of the vocabulary or in several, all but one of them too.
    for (n_rows, width, n_vocab, k) in
        [(1, 1, 2, 1), (1, 4, 3, 2), (19, 24, 61, 60), (101, 12, 521, 8), (197, 7, 1031, 16), (5, 270, 2500, 50)]
    {
        let teacher = some_teacher([n_rows, width, n_vocab], k);
        let shapes = [[n_rows, width], [n_vocab, width]];
        let weights: Vec<f32> = noise(98, [n_rows, 1], 1.0);
        let fused = |it: &[Tensor<2>]| distilled(it, &teacher, &weights);
        let plain = |it: &[Tensor<2>]| {
            let each = plain::distillation(it[0].clone().matmul(it[1].clone().transpose()), &teacher);
            let weights = tensor(&weights, [n_rows, 1]);
            let weights = if each.is_autodiff() { weights.autodiff() } else { weights };
            (each.unsqueeze_dim::<2>(1) * weights).sum().unsqueeze_dim::<2>(1)
        };
        let scale = (width as f32).powf(-0.25);
        let inputs = [(noise(5, shapes[0], scale), shapes[0]), (noise(6, shapes[1], scale), shapes[1])];
        check(&format!("distillation {n_rows}x{width}x{n_vocab}, {k}"), &fused, &plain, &inputs);
    }
}

/// A student that says what the teacher says is at zero, with no slope; one that is far away or certain stays finite.
#[test]
fn distillation_ends_where_the_two_agree_and_is_finite_elsewhere() {
    let (n_rows, width, n_vocab) = (101, 24, 1061);
    let (hidden, table) = (noise(5, [n_rows, width], 1.0), noise(6, [n_vocab, width], 1.0));
    let (hidden, table) = (tensor(&hidden, [n_rows, width]), tensor(&table, [n_vocab, width]));
    let teacher = head_top_k(hidden.clone(), &Linear::new(table.clone()), 5);
    let weights = vec![1.0; n_rows];
    let op = |it: &[Tensor<2>]| distilled(it, &teacher, &weights);
    let each = |scale: f32| {
        let hidden = (hidden.clone() * scale).autodiff();
        distillation_loss(hidden, &Linear::new(table.clone()).tracked(), &teacher, &weights).1
    };
    let (_, grads) = run(&op, &[hidden.clone(), table.clone()], &[1.0]);
    close("where they agree", &each(1.0), &vec![0.0; n_rows], 5e-6);
    grads.iter().for_each(|it| close("slope where they agree", it, &vec![0.0; it.len()], 2e-5));
    for scale in [0.0, -100.0, 1000.0] {
        let (_, grads) = run(&op, &[hidden.clone() * scale, table.clone()], &[1.0]);
        assert!(each(scale).iter().all(|it| it.is_finite() && *it > -1e-4), "{scale}");
        assert!(grads.iter().flatten().all(|it| it.is_finite()), "{scale}");
    }
}

/// The likeliest tokens with the log-probabilities that the head gives them.
#[test]
fn the_likeliest_tokens_are_those_of_the_head() {
    let (n_rows, width, n_vocab, k) = (101, 24, 2061, 7);
    let table = Linear::new(tensor(&noise(6, [n_vocab, width], 1.0), [n_vocab, width]));
    let hidden = tensor(&noise(5, [n_rows, width], 1.0), [n_rows, width]);
    let likeliest = head_top_k(hidden.clone(), &table, k);
    let logits = values(table.apply(hidden.clone()));
    for (row, logits) in logits.chunks_exact(n_vocab).enumerate() {
        let mut order: Vec<u32> = (0..n_vocab as u32).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        order.truncate(k);
        order.sort_unstable();
        let (tokens, logprobs) = likeliest.at(row);
        assert_eq!(tokens, order);
        for (token, stored) in tokens.iter().zip(logprobs) {
            assert_eq!(logprob(logits, *token), *stored);
        }
    }
}

#[test]
fn on_every_instruction_set() {
    every_set::rerun("on_every_instruction_set");
}
