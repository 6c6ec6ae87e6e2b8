//! Devices of cargo features compute what the processor does: `cargo test --workspace --release --features vulkan --test devices`, on a
//! machine that has the device or a driver that acts as one.
#![cfg(any(feature = "cuda", feature = "metal", feature = "vulkan"))]

#[path = "../../train/tests/tiny/mod.rs"]
mod tiny;

use burn::Tensor;
use burn::tensor::Device;
#[cfg(any(feature = "metal", feature = "vulkan"))]
use burn::tensor::DeviceKind;
use collimate_model::{Encoded, Role};
use collimate_schema::{Conversation, PromptId, Request, RequestId, Sampler, Sampling, Seed, Trace};
use collimate_train::{Adam, AdamW, Batch, DistillBatch, Rl, RlBatch, RlToken, distill_step, rl_step, score, sft_step};

/// Those that this build knows.
fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "cuda")]
        Device::cuda(0),
        #[cfg(feature = "metal")]
        Device::metal(DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        Device::vulkan(DeviceKind::DefaultDevice),
    ]
}

/// Two prompts, one of them with several samples, whose common beginning is computed once.
fn batches() -> Vec<Batch> {
    let sample = |prompt: u32, n: u32| {
        let tokens = (0..12).map(|it| (it * it + prompt) % 23).chain((0..n).map(|it| (it * 7 + n) % 23));
        Encoded { tokens: tokens.collect(), trained: (0..12 + n).map(|it| it >= 12).collect() }
    };
    let samples = [(1, 5), (1, 9), (1, 1), (2, 4)].map(|(prompt, n)| sample(prompt, n));
    let batches = Batch::split(&samples, 40);
    assert!(batches.len() > 1);
    batches
}

fn host(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("f32")
}

fn close(what: &str, left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len(), "{what}: sizes");
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        assert!((left - right).abs() <= tolerance, "{what}: element {at} is {left}, the processor says {right}");
    }
}

/// Three steps of each kind on a device; returns what they report, and the weights.
fn trained(device: &Device) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let (mut full, cfg) = (tiny::full_on(device), AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-4, weight_decay: 0.1 });
    let mut adam = Adam::new(&full, cfg, 1.0);
    let mut reports = Vec::new();
    for _ in 0..3 {
        let stats = sft_step(&mut full, &mut adam, &batches(), 1e-3).expect("a finite step");
        reports.extend([stats.loss, stats.grad_norm]);
        // A teacher of the same shape whose table is upside down.
        let mut teacher = tiny::full_on(device);
        teacher.weights.update(|it, tensor| if it.role == Role::Embedding { tensor.flip([0]) } else { tensor });
        let teacher = teacher.transformer();
        let with_teacher: Vec<_> = batches().into_iter().map(|it| DistillBatch::ask(&teacher, it, 4)).collect();
        let stats = distill_step(&mut full, &mut adam, &with_teacher, 1e-3).expect("a finite step");
        reports.extend([stats.loss, stats.grad_norm]);
        let policy = full.transformer();
        let rollouts = |batch: Batch| {
            let tokens = score(&policy, &batch).into_iter().enumerate().map(|(at, logprob)| RlToken {
                advantage: [1.0, -0.5, 2.0][at % 3],
                old: logprob,
                reference: Some(logprob + 0.3),
            });
            RlBatch { tokens: tokens.collect(), batch }
        };
        let rollouts: Vec<_> = batches().into_iter().map(rollouts).collect();
        let stats = rl_step(&mut full, &mut adam, &rollouts, &Rl { clip: 0.2, kl: 0.1 }, 1e-3).expect("a finite step");
        assert!(stats.ratio_drift < 1e-4, "{device:?}: what is scored is what is trained: {}", stats.ratio_drift);
        reports.extend([stats.loss, stats.entropy]);
    }
    (reports, full.weights.tensors().iter().map(|(name, tensor)| (name.clone(), host(tensor))).collect())
}

#[test]
fn training_steps_are_those_of_the_processor() {
    let (reports, weights) = trained(&Device::flex());
    for device in devices() {
        let (on_device, their_weights) = trained(&device);
        close(&format!("{device:?}: reports"), &on_device, &reports, 2e-3);
        for ((name, left), (_, right)) in their_weights.iter().zip(&weights) {
            close(&format!("{device:?}: `{name}`"), left, right, 2e-3);
        }
    }
}

/// The embedded model, ten tokens of the likeliest answer.
fn sampled(device: &Device) -> (Vec<u32>, Vec<f32>) {
    let model = collimate::embedded::harbor_base(device).expect("the embedded model");
    let request = Request {
        stop: Vec::new(),
        conversation: Conversation::user("how do i make lema"),
        sampling: Sampling::at(0.0, 10),
        seed: Seed(1),
        id: RequestId::new("test", &PromptId("0".to_owned())),
    };
    let completion = model.engine().sample(vec![request]).expect("a prompt").next().expect("one").1.expect("sampled");
    let Trace::Tokens { sampled, .. } = completion.trace else { panic!("the engine samples tokens") };
    sampled.iter().map(|it| (it.token, it.logprob)).unzip()
}

#[test]
fn samples_are_those_of_the_processor() {
    let (tokens, logprobs) = sampled(&Device::flex());
    for device in devices() {
        let (on_device, their_logprobs) = sampled(&device);
        assert_eq!(on_device, tokens, "{device:?}");
        close(&format!("{device:?}: log-probabilities"), &their_logprobs, &logprobs, 1e-3);
    }
}
