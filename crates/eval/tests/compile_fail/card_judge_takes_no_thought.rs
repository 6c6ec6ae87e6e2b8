use collimate_eval::judge::{Reading, CardJudge};
use collimate_schema::{Brief, Conversation, Request, Seed, Thought};

fn ask(judge: &CardJudge<'_>, reading: Reading<'_>, it: (&Conversation, &Thought), brief: &Brief) -> Request {
    judge.request(reading, it.0, it.1, brief, Seed(0))
}

fn main() {}
