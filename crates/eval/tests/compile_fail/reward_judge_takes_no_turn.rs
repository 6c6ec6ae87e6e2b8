use collimate_eval::judge::{Reading, RewardJudge};
use collimate_schema::{Brief, Conversation, Request, Seed, Turn};

fn ask(judge: &RewardJudge<'_>, reading: Reading<'_>, it: (&Conversation, &Turn), brief: &Brief) -> Request {
    judge.request(reading, it.0, it.1, brief, Seed(0))
}

fn main() {}
