"""A training step of the same shape in PyTorch: Transformers' Llama, SDPA, fused AdamW. Prints one JSON line.

usage: torch_train.py D,LAYERS,H,K,F,V,BATCH,TOKENS f32|bf16 ROUNDS
"""
import json
import resource
import statistics
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

width, layers, heads, kv_heads, ffn, vocabulary, batch, tokens = map(int, sys.argv[1].split(","))
bf16, rounds = sys.argv[2] == "bf16", int(sys.argv[3])

torch.manual_seed(0)
config = LlamaConfig(
    hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
    intermediate_size=ffn, vocab_size=vocabulary, max_position_embeddings=max(512, tokens + 1), tie_word_embeddings=True,
    attn_implementation="sdpa",
)
model = LlamaForCausalLM(config).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
# One token more than is counted: the last one is a target only, as in `collimate bench train`.
inputs = torch.randint(0, vocabulary, (batch, tokens + 1))


def step():
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(input_ids=inputs[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), inputs[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - start


step()
seconds = statistics.median(step() for _ in range(rounds))
print(json.dumps({
    "tokens_per_second": batch * tokens / seconds,
    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
