"""A GRPO step in TRL: 2 prompts of 8 rollouts, up to 64 tokens each; sampled, rewarded, learnt from. Prints one JSON line.

usage: trl_grpo.py DIR STEPS [f32|bf16]

DIR is a checkpoint, such as make_model.py writes. Prompt, batch, rewards and rate are those of `collimate bench rl`; the first
step warms up and is not counted. Tokens are those that were sampled, over the whole step.
"""
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

WARM_UP = 1
directory, steps = sys.argv[1], int(sys.argv[2]) + WARM_UP
bf16 = sys.argv[3:] == ["bf16"]
rewarded, seconds = [], []


def reward(completion_ids, **_):
    rewarded.append(sum(map(len, completion_ids)))
    return [float(len(ids) % 7 + ids[-1] % 7 + at % 2) for at, ids in enumerate(completion_ids)]


class Clock(TrainerCallback):
    def on_train_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        now = time.perf_counter()
        seconds.append(now - self.start)
        self.start = now


torch.set_num_threads(2)
prompt = [{"role": "user", "content": "tell me about the old harbor wall"}]
with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(sys.stderr):
    trainer = GRPOTrainer(
        model=directory,
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": [prompt] * 2 * steps}),
        callbacks=[Clock()],
        args=GRPOConfig(
            output_dir=out, max_steps=steps, per_device_train_batch_size=16, num_generations=8, max_completion_length=64,
            beta=0.0, learning_rate=1e-5, max_grad_norm=1.0, use_cpu=True, bf16=bf16, gradient_checkpointing=False,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=0,
        ),
    )
    trainer.train()

assert len(rewarded) == len(seconds) == steps, (rewarded, seconds)
print(json.dumps({
    "tokens_per_second": statistics.median(n / s for n, s in list(zip(rewarded, seconds))[WARM_UP:]),
    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "steps": steps - WARM_UP,
    "tokens_per_step": statistics.median(rewarded[WARM_UP:]),
}))
