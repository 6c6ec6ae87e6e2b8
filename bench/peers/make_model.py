"""Writes a checkpoint of random weights that collimate, Transformers, TRL and `llama_cpp.py` all load.

usage: make_model.py D,LAYERS,H,K,F,V DIR

Weights are normal with a standard deviation of 0.02, seed 0; norms are ones; the head is tied. The tokenizer is Harbor's
(assets/harbor-base). Its vocabulary is smaller than most shapes': words that no text is cut into fill it up to V, and the
control tokens keep their place at its end.
"""
import json
import pathlib
import shutil
import sys

import numpy
from safetensors.numpy import save_file

HARBOR = pathlib.Path(__file__).resolve().parents[2] / "assets/harbor-base"


def tokenizer(size):
    file = json.loads((HARBOR / "tokenizer.json").read_text())
    words, controls = file["model"]["vocab"], file["added_tokens"]
    assert size >= len(words) + len(controls), f"V is {size}: Harbor's tokenizer alone has {len(words) + len(controls)} tokens"
    # The pre-tokenizer cuts at `<` and `>`: text cannot reach these.
    for index in range(size - len(words) - len(controls)):
        words[f"<{index}>"] = len(words)
    for index, control in enumerate(controls):
        control["id"] = len(words) + index
    return file, {control["content"]: control["id"] for control in controls}


def weights(width, layers, heads, kv_heads, ffn, vocabulary):
    rng = numpy.random.default_rng(0)
    head = width // heads

    def normal(*shape):
        values = rng.standard_normal(shape, dtype=numpy.float32)
        return numpy.multiply(values, numpy.float32(0.02), out=values)

    ones = lambda: numpy.ones(width, numpy.float32)
    tensors = {"model.embed_tokens.weight": normal(vocabulary, width), "model.norm.weight": ones()}
    for layer in range(layers):
        for name, rows, columns in [
            ("self_attn.q_proj", heads * head, width),
            ("self_attn.k_proj", kv_heads * head, width),
            ("self_attn.v_proj", kv_heads * head, width),
            ("self_attn.o_proj", width, heads * head),
            ("mlp.gate_proj", ffn, width),
            ("mlp.up_proj", ffn, width),
            ("mlp.down_proj", width, ffn),
        ]:
            tensors[f"model.layers.{layer}.{name}.weight"] = normal(rows, columns)
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = ones()
        tensors[f"model.layers.{layer}.post_attention_layernorm.weight"] = ones()
    return tensors


def main():
    sizes = [int(it) for it in sys.argv[1].split(",")[:6]]
    width, layers, heads, kv_heads, ffn, vocabulary = sizes
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    tokens, ids = tokenizer(vocabulary)
    bos, end, pad = (ids[name] for name in ("<|bos|>", "<|end|>", "<|pad|>"))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": width // heads, "intermediate_size": ffn,
        "vocab_size": vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
        "bos_token_id": bos, "eos_token_id": end,
    }
    sampling = {"bos_token_id": bos, "eos_token_id": end, "pad_token_id": pad, "do_sample": True, "temperature": 1.0}
    written = {
        "config.json": config,
        "generation_config.json": sampling,
        "tokenizer.json": tokens,
        "tokenizer_config.json": json.loads((HARBOR / "tokenizer_config.json").read_text()) | {"model_max_length": 2048},
    }
    for name, content in written.items():
        (out / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    shutil.copy(HARBOR / "special_tokens_map.json", out)
    save_file(weights(*sizes), out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
