//! The optimizer step against values computed by hand.

use burn::Tensor;
use burn::tensor::Device;
use collimate_kernels::{AdamW, Moments, adamw_step};

fn one(value: f32) -> Tensor<2> {
    Tensor::from_floats([[value]], &Device::flex())
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
    let (weight, moments) = adamw_step(weight, one(0.5), moments, &cfg, (0.01, 1, 1.0));
    assert!((value(weight.clone()) - 1.988).abs() < 1e-6);
    assert!((value(moments.m.clone()) - 0.05).abs() < 1e-7);
    assert!((value(moments.v.clone()) - 0.0025).abs() < 1e-8);
    // Step 2, gradient -1 (given as -2, halved by clipping): m = 0.045 - 0.1 = -0.055, v = 0.002475 + 0.01 = 0.012475;
    // corrected: m / 0.19 = -0.28947368, v / 0.0199 = 0.62688442; move 0.01 * 0.28947368 / 0.79176033 = 0.00365608;
    // weight 1.988 * 0.999 + 0.00365608 = 1.98966808.
    let (weight, moments) = adamw_step(weight, one(-2.0), moments, &cfg, (0.01, 2, 0.5));
    assert!((value(weight) - 1.989_668_08).abs() < 1e-6);
    assert!((value(moments.m) + 0.055).abs() < 1e-7);
    assert!((value(moments.v) - 0.012_475).abs() < 1e-7);
}
