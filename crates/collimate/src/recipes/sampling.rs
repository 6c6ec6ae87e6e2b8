//! Sampling through the journal: a chunk of requests is kept whole or sampled again.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_schema::{Completion, Request, RequestId, RunFolder, Sampler};

use crate::progress::Stage;

/// Requests per chunk: what a kill may cost. Which requests share one follows from their ids alone, so that a resumed run finds
/// its chunks again.
const CHUNK: usize = 512;

/// Samples `requests`, journaled under `stage`; returns the completions by request id.
pub(super) fn sample_all(
    run: &RunFolder,
    stage: &str,
    sampler: &dyn Sampler,
    mut requests: Vec<Request>,
    bar: &Stage,
) -> anyhow::Result<BTreeMap<RequestId, Completion>> {
    requests.sort_by(|a, b| a.id.cmp(&b.id));
    let mut journal = run.journal(stage)?;
    let mut all = BTreeMap::new();
    for chunk in requests.chunks(CHUNK) {
        let key = format!("{} .. {}", chunk[0].id.0, chunk[chunk.len() - 1].id.0);
        let mut finished = 0;
        let completions = journal.chunk(&key, || {
            let mut completions = Vec::with_capacity(chunk.len());
            for completion in sampler.sample(chunk.to_vec()).with_context(|| format!("sampling for {stage}"))? {
                completions.push(completion?);
                finished += 1;
                bar.advance(1);
            }
            completions.sort_by(|a, b| a.id.cmp(&b.id));
            anyhow::Ok(completions)
        })?;
        bar.advance((completions.len() - finished) as u64);
        all.extend(completions.into_iter().map(|it| (it.id.clone(), it)));
    }
    Ok(all)
}
