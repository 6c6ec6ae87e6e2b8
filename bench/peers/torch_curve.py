"""The losses of training steps in plain PyTorch: same weights, tokens and AdamW as bench/loss_curve.rs. Prints one JSON line.

usage: torch_curve.py DIR TOKENS.jsonl BATCH STEPS [--threads 1|2] [--dtype f32|f64]

In f64, norms are computed in f64, too; the model of Transformers rounds them to f32. Rotary angles stay as it has them.
"""
import argparse
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

PEAK, WARM_UP = 1e-3, 10
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dir")
parser.add_argument("tokens")
parser.add_argument("batch", type=int)
parser.add_argument("steps", type=int)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
args = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(args.threads)
if args.dtype == "f64":
    LlamaRMSNorm.forward = lambda self, x: self.weight * x * torch.rsqrt(
        x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
dtype = {"f32": torch.float32, "f64": torch.float64}[args.dtype]
model = LlamaForCausalLM.from_pretrained(args.dir, dtype=dtype, attn_implementation="sdpa").train()
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
