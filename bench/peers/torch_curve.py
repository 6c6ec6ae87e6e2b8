"""The losses of training steps in plain PyTorch, f32: same weights, tokens and AdamW as bench/loss_curve.rs.
Prints one JSON line.

usage: torch_curve.py DIR TOKENS.jsonl BATCH STEPS [--threads 1|2]
"""
import argparse
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import LlamaForCausalLM

PEAK, WARM_UP = 1e-3, 10
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dir")
parser.add_argument("tokens")
parser.add_argument("batch", type=int)
parser.add_argument("steps", type=int)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(args.threads)
model = LlamaForCausalLM.from_pretrained(args.dir, dtype=torch.float32, attn_implementation="sdpa").train()
parameters = list(model.parameters())
optimizer = torch.optim.AdamW(
    [
        {"params": [it for it in parameters if it.ndim == 2], "weight_decay": 0.1},
        {"params": [it for it in parameters if it.ndim != 2], "weight_decay": 0.0},
    ],
    betas=(0.9, 0.95), eps=1e-8,
)
sequences = torch.tensor([json.loads(line) for line in open(args.tokens)])
losses = []
for step in range(args.steps):
    batch = sequences[step * args.batch:(step + 1) * args.batch]
    assert len(batch) == args.batch, f"{args.tokens} ends before step {step}"
    for group in optimizer.param_groups:
        group["lr"] = PEAK * min((step + 1) / WARM_UP, 1.0)
    logits = model(input_ids=batch[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    losses.append(loss.item())
print(json.dumps({"losses": losses, "threads": args.threads}))
