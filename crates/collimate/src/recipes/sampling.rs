//! Sampling through the journal: every completion is kept as it finishes, so that a kill costs those in flight and no other.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_schema::{Completion, Request, RequestId, RunFolder, Sampler};

use crate::progress::Stage;

/// Samples `requests`, journaled under `stage`; returns the completions by request id.
pub(super) fn sample_all(
    run: &RunFolder,
    stage: &str,
    sampler: &dyn Sampler,
    requests: Vec<Request>,
    bar: &Stage,
) -> anyhow::Result<BTreeMap<RequestId, Completion>> {
    let mut journal = run.journal(stage)?;
    let mut all = BTreeMap::new();
    let mut missing = Vec::new();
    for request in requests {
        match journal.get(&request.id.0)? {
            Some(completion) => all.insert(request.id, completion).map_or((), drop),
            None => missing.push(request),
        }
    }
    bar.advance(all.len() as u64);
    for completion in sampler.sample(missing).with_context(|| format!("sampling for {stage}"))? {
        let completion = completion?;
        journal.keep(&completion.id.0, &completion)?;
        bar.advance(1);
        all.insert(completion.id.clone(), completion);
    }
    Ok(all)
}
