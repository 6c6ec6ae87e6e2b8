//! Asking a model through the journal: every completion is kept as it finishes, so that a kill costs those in flight and no
//! other. The journal answers by what was asked (who, what, how, with which randomness), never by a name.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_run::Journal;
use collimate_schema::{Completion, Failure, Request, RequestId, Sampler};

use super::site::Site;
use crate::progress::Stage;

/// What came of a request.
pub(crate) type Reply = Result<Completion, Failure>;

/// The journal of a stage's replies, open for as long as the stage asks.
pub(crate) struct Replies {
    stage: String,
    journal: Journal,
}

impl Replies {
    /// Opens or creates the journal of `stage`.
    pub(crate) fn open(site: Site<'_>, stage: &str) -> anyhow::Result<Replies> {
        let stage = site.at(stage);
        Ok(Replies { journal: site.run.journal(&stage)?, stage })
    }

    /// The replies to `requests`, in their order. A failure that may pass ends the stage, which resumes where it was; one that
    /// will not is a reply.
    pub(crate) fn ask(
        &mut self,
        sampler: &dyn Sampler,
        requests: Vec<Request>,
        bar: &Stage,
    ) -> anyhow::Result<Vec<Reply>> {
        let by = sampler.by();
        let mut replies: Vec<Option<Reply>> = Vec::with_capacity(requests.len());
        let mut missing = Vec::new();
        let mut places: BTreeMap<RequestId, (usize, String)> = BTreeMap::new();
        for (place, request) in requests.into_iter().enumerate() {
            let key = request.hash(&by).0;
            let known = self.journal.get(&key)?;
            if known.is_none() {
                places.insert(request.id.clone(), (place, key));
                missing.push(request);
            }
            replies.push(known);
        }
        bar.advance((replies.len() - missing.len()) as u64);
        let asking = || format!("sampling for {}", self.stage);
        for (id, reply) in sampler.sample(missing).with_context(asking)? {
            if let Err(failure) = &reply
                && failure.ends_the_stage()
            {
                return Err(anyhow::Error::new(failure.clone()).context(format!("{}: request `{id}`", self.stage)));
            }
            let (place, key) = places.get(&id).with_context(|| format!("{}: nobody asked `{id}`", self.stage))?;
            self.journal.keep(key, &reply)?;
            replies[*place] = Some(reply);
            bar.advance(1);
        }
        replies.into_iter().collect::<Option<_>>().with_context(|| format!("{}: a request got no reply", self.stage))
    }
}

/// The replies to all `requests` of a stage, in their order.
pub(crate) fn ask(
    site: Site<'_>,
    stage: &str,
    sampler: &dyn Sampler,
    requests: Vec<Request>,
    bar: &Stage,
) -> anyhow::Result<Vec<Reply>> {
    Replies::open(site, stage)?.ask(sampler, requests, bar)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use collimate_run::RunFolder;
    use collimate_schema::{Conversation, Parsed, PromptId, Sampling, Scripted, Seed};

    use super::*;
    use crate::progress::Progress;

    fn request(said: &str, seed: u64) -> Request {
        let id = RequestId::new("ask", &PromptId("p1".to_owned()));
        Request { seed: Seed(seed), ..Request::new(id, Conversation::user(said), Sampling::greedy(4), Seed(0)) }
    }

    #[test]
    fn the_journal_answers_what_was_asked_and_nothing_else_by_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::open(folder.path().join("run"), "test", &()).expect("a new folder");
        let progress = Progress::hidden();
        let site = Site { run: &run, part: "", progress: &progress };
        let n_asked = AtomicUsize::new(0);
        let echo = |name: &str| {
            Scripted::new(name.to_owned(), |request: &Request| {
                n_asked.fetch_add(1, Ordering::Relaxed);
                Parsed::of("", request.conversation.last_user())
            })
        };
        let said = |sampler: &dyn Sampler, request: Request| {
            let bar = progress.stage("ask", 1);
            let replies = ask(site, "ask", sampler, vec![request], &bar).expect("a reply");
            replies[0].as_ref().expect("a completion").parsed.turn().expect("a turn").answer.0.clone()
        };
        assert_eq!(said(&echo("a"), request("how", 1)), "how");
        assert_eq!(said(&echo("a"), request("how", 1)), "how");
        assert_eq!(n_asked.load(Ordering::Relaxed), 1, "it is in the journal");
        assert_eq!(said(&echo("a"), request("why", 1)), "why", "the same name, another prompt");
        assert_eq!(said(&echo("b"), request("how", 1)), "how");
        assert_eq!(said(&echo("a"), request("how", 2)), "how");
        assert_eq!(n_asked.load(Ordering::Relaxed), 4, "another model, another seed");
    }

    #[test]
    fn what_may_pass_is_asked_again_and_what_will_not_is_a_reply() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::open(folder.path().join("run"), "test", &()).expect("a new folder");
        let progress = Progress::hidden();
        let site = Site { run: &run, part: "", progress: &progress };
        let ask_for = |failure: Failure| {
            let sampler = Scripted::failing("a", move |_| Err(failure.clone()));
            ask(site, "ask", &sampler, vec![request("how", 1)], &progress.stage("ask", 1))
        };
        let error = ask_for(Failure::Unavailable("busy".to_owned())).expect_err("it may pass").to_string();
        assert_eq!(error, "ask: request `ask/p1`");
        let refused = Failure::Refused("no".to_owned());
        assert_eq!(ask_for(refused.clone()).expect("a reply"), [Err(refused.clone())]);
        assert_eq!(ask_for(Failure::Unavailable("busy".to_owned())).expect("in the journal"), [Err(refused)]);
    }
}
