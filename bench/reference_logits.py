"""Logits that the transformer's tests compare with, from Transformers (CPU, f32).

reference_logits.py --write DIR   a tiny random Llama checkpoint, token ids and their logits (crates/model/tests/data)

`parity` compares with Transformers itself, every family of models.
"""
import argparse
import json
import pathlib

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def logits_of(model, rows):
    """[[..., V] per row], each row run alone, so that nothing is padded."""
    with torch.no_grad():
        return [model(input_ids=torch.tensor([row])).logits[0] for row in rows]


def write(folder):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=4,
        intermediate_size=40, vocab_size=61, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, attention_bias=False, mlp_bias=False,
    )
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():  # far from the initial values, where mistakes hide
            weight.copy_(torch.randn_like(weight) * 0.3 + (1.0 if "norm" in name else 0.0))
    rows = [[0, 5, 17, 17, 42, 60, 3], [0, 9], [0] + [(7 * i * i + 3 * i) % 61 for i in range(1, 20)]]
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    logits = [[[round(x, 6) for x in position] for position in row.tolist()] for row in logits_of(model, rows)]
    (folder / "tokens.json").write_text(json.dumps(rows))
    (folder / "logits.json").write_text(json.dumps(logits))
    print("bytes:", sum(it.stat().st_size for it in folder.iterdir()))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--write", type=pathlib.Path, metavar="DIR", required=True)
write(parser.parse_args().write)
