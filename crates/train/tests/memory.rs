//! A long run needs no more memory than a short one. Alone in its file: memory is counted per process.
#![cfg(target_os = "linux")]

mod tiny;

use collimate_model::Compute;
use collimate_train::{Adam, AdamW, Batch, Full, sft_step};
use tiny::{full, sequences};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = statm.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number of pages");
    pages * 4096
}

#[test]
fn a_thousand_steps_keep_nothing() {
    keeps_nothing(full());
    keeps_nothing(Full { compute: Compute { recompute: true, ..Compute::default() }, ..full() });
}

fn keeps_nothing(mut full: Full) {
    let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut adam = Adam::new(&full, cfg, 1.0);
    let batches = Batch::split(&sequences(), 24);
    let mut steps = |n: usize| {
        for _ in 0..n {
            sft_step(&mut full, &mut adam, &batches, 1e-3).expect("a finite step");
        }
        resident()
    };
    let (warm, end) = (steps(100), steps(900));
    let grown = end.saturating_sub(warm);
    assert!(grown < 1 << 20, "{grown} bytes more after 900 steps, {warm} before");
}
