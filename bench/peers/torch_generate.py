"""Sampling in PyTorch: Transformers' `generate` with its cache, random weights. Prints one JSON line.

usage: torch_generate.py D,LAYERS,H,K,F,V BATCH PROMPT NEW f32|bf16 ROUNDS
"""
import json
import resource
import statistics
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

width, layers, heads, kv_heads, ffn, vocabulary = map(int, sys.argv[1].split(",")[:6])
batch, n_prompt, n_new = map(int, sys.argv[2:5])
bf16, rounds = sys.argv[5] == "bf16", int(sys.argv[6])

torch.manual_seed(0)
config = LlamaConfig(
    hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
    intermediate_size=ffn, vocab_size=vocabulary, max_position_embeddings=max(512, n_prompt + n_new), tie_word_embeddings=True,
)
model = LlamaForCausalLM(config).eval().to(torch.bfloat16 if bf16 else torch.float32)
prompts = torch.randint(3, vocabulary, (batch, n_prompt))


def sample():
    start = time.perf_counter()
    with torch.inference_mode():
        model.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=n_new, min_new_tokens=n_new,
            do_sample=True, pad_token_id=0,
        )
    return time.perf_counter() - start


sample()
seconds = statistics.median(sample() for _ in range(rounds))
print(json.dumps({
    "tokens_per_second": batch * n_new / seconds,
    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
