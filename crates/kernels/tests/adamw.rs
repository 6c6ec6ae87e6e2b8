//! The optimizer step against values computed by hand.

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::{AdamW, Moments, Muon, adamw_step, add, muon_step, square_sum};

fn one(value: f32) -> Tensor<2> {
    Tensor::from_floats([[value]], &Device::flex())
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

fn value(tensor: Tensor<2>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

#[test]
fn two_steps_by_hand() {
    let cfg = AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 };
    let (weight, moments) = (one(2.0), Moments { m: one(0.0), v: one(0.0) });
    // Step 1, gradient 0.5: both bias-corrected moments are the gradient's, so the move is lr * sign = 0.01;
    // decay first: 2 * (1 - 0.01 * 0.1) = 1.998.
    let (weight, moments) = adamw_step(weight, &[0.5], moments, &cfg, (0.01, 1, 1.0));
    assert!((value(weight.clone()) - 1.988).abs() < 1e-6);
    assert!((value(moments.m.clone()) - 0.05).abs() < 1e-7);
    assert!((value(moments.v.clone()) - 0.0025).abs() < 1e-8);
    // Step 2, gradient -1 (given as -2, halved by clipping): m = 0.045 - 0.1 = -0.055, v = 0.002475 + 0.01 = 0.012475;
    // corrected: m / 0.19 = -0.28947368, v / 0.0199 = 0.62688442; move 0.01 * 0.28947368 / 0.79176033 = 0.00365608;
    // weight 1.988 * 0.999 + 0.00365608 = 1.98966808.
    let (weight, moments) = adamw_step(weight, &[-2.0], moments, &cfg, (0.01, 2, 0.5));
    assert!((value(weight) - 1.989_668_08).abs() < 1e-6);
    assert!((value(moments.m) + 0.055).abs() < 1e-7);
    assert!((value(moments.v) - 0.012_475).abs() < 1e-7);
}

/// The update of Muon has singular values near one, times 0.2 sqrt(longer side), whatever the gradient's are; it points the
/// gradient's way, and does not care how the matrix lies.
#[test]
fn muon_moves_by_nearly_orthogonal_matrices() {
    let (lr, cfg) = (0.1_f32, Muon { momentum: 0.9, weight_decay: 0.0 });
    let values: Vec<f32> = (0..15).map(|it| ((it * 7 + 3) % 11) as f32 - 5.0).collect();
    let update = |gradient: Tensor<2>| {
        let zeros = Tensor::zeros(gradient.dims(), &Device::flex());
        let moments = Moments { m: zeros.clone(), v: zeros.clone() };
        muon_step(zeros, &host(gradient), moments, &cfg, (lr, 1.0)).0 / (-lr * 0.2 * 5.0_f32.sqrt())
    };
    let gradient = Tensor::<2>::from_data(TensorData::new(values, [3, 5]), &Device::flex());
    let wide = update(gradient.clone());
    let gram: Vec<f32> = host(wide.clone().matmul(wide.clone().transpose()));
    for (at, value) in gram.iter().enumerate() {
        let expected = if at % 4 == 0 { 1.0 } else { 0.0 };
        assert!((value - expected).abs() < 0.55, "{gram:?}");
    }
    assert!(value((wide.clone() * gradient.clone()).sum().reshape([1, 1])) > 0.0);
    let tall = update(gradient.transpose()).transpose();
    assert!(value((tall - wide).abs().max().reshape([1, 1])) < 1e-5);
}

#[test]
fn muon_keeps_a_mean_of_the_gradient_and_decays() {
    let cfg = Muon { momentum: 0.9, weight_decay: 0.5 };
    let moments = Moments { m: one(1.0), v: one(7.0) };
    // Clipped by half: the gradient is 2; m = 0.9 + 0.1 * 2 = 1.1. A 1 x 1 matrix moves by the sign, up to the tolerance of
    // the singular value, after a decay of 0.1 * 0.5.
    let (weight, moments) = muon_step(one(1.0), &[4.0], moments, &cfg, (0.1, 0.5));
    assert!((value(moments.m) - 1.1).abs() < 1e-6);
    assert_eq!(value(moments.v), 7.0);
    assert!((value(weight) - (0.95 - 0.1 * 0.2)).abs() < 0.1 * 0.2 * 0.4);
}

#[test]
fn sums_over_gradients_are_exact_however_long() {
    for n in [0, 1, 511, 512, 16_385, 100_000] {
        let x: Vec<f32> = (0..n).map(|it| ((it * 7 + 3) % 11) as f32 - 5.0).collect();
        let mut sum = x.clone();
        add(&mut sum, &x);
        assert!(sum.iter().zip(&x).all(|(sum, x)| *sum == 2.0 * x));
        assert_eq!(square_sum(&x), x.iter().map(|it| f64::from(it * it)).sum::<f64>());
    }
}
