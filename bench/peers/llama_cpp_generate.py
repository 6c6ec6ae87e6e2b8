"""Sampling in llama.cpp: every sequence in one batch, temperature 1. Prints one JSON line.

usage: llama_cpp_generate.py DIR BATCH PROMPT NEW f32|f16|bf16 ROUNDS
       llama_cpp_generate.py DIR --check

DIR is a checkpoint such as make_model.py writes; it is converted to GGUF first, in a process of its own. Python (gguf,
llama-cpp-python) only fills batches; the new tokens count, over prompts and all. Everything but the precision is llama.cpp's default,
flash attention too. `--check` compares greedy tokens and logits with Transformers, in f32; without flash attention, which rounds.
Random weights say one word for ever: assets/harbor-base is the better DIR for it.
"""
import ctypes
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2


def write_gguf(directory, path, precision):
    import gguf
    import numpy
    from safetensors.torch import load_file

    config = json.loads(pathlib.Path(directory, "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    dtype = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16}[precision]
    file_type = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16, "bf16": gguf.LlamaFileType.MOSTLY_BF16}[precision]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(file_type)
    writer.add_tokenizer_model("no_vocab")

    def interleaved(weight, n):
        # Transformers turns a head's first half against its second, llama.cpp neighbours.
        rows, columns = weight.shape
        return weight.reshape(n, 2, rows // n // 2, columns).swapaxes(1, 2).reshape(rows, columns)

    names = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }
    for name, weight in load_file(pathlib.Path(directory, "model.safetensors")).items():
        weight = weight.float().numpy()
        name = name.removeprefix("model.").removesuffix(".weight")
        if name.startswith("layers."):
            _, layer, name = name.split(".", 2)
            if name == "self_attn.q_proj":
                weight = interleaved(weight, heads)
            if name == "self_attn.k_proj":
                weight = interleaved(weight, kv_heads)
            name = f"blk.{layer}.{names[name]}"
        else:
            name = {"embed_tokens": "token_embd", "norm": "output_norm"}[name]
        of = dtype if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(numpy.ascontiguousarray(weight), of), raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Llama:
    """A model with room for `n` sequences of `length`."""

    # Positions of one call to decode, prompts only: llama.cpp's own default.
    POSITIONS = 2048

    def __init__(self, path, n, length, precision, greedy=False):
        import llama_cpp as c

        self.c = c
        # Kept: the library calls it for as long as it lives.
        self.quiet = c.llama_log_callback(lambda level, text, _: sys.stderr.write(text.decode()) if level == 4 else None)
        c.llama_log_set(self.quiet, ctypes.c_void_p(0))
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(str(path).encode(), c.llama_model_default_params())
        assert self.model, f"llama.cpp cannot load {path}"
        params = c.llama_context_default_params()
        params.n_ctx, params.n_seq_max = n * length, n
        params.n_batch = max(self.POSITIONS, length)
        params.n_threads = params.n_threads_batch = THREADS
        params.kv_unified = False
        if greedy:
            params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if precision == "f32":
            params.type_k = params.type_v = c.GGML_TYPE_F32
        self.context = c.llama_init_from_model(self.model, params)
        assert self.context, "llama.cpp cannot make a context"
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(max(params.n_batch, n), 0, 1)
        self.sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
        if greedy:
            c.llama_sampler_chain_add(self.sampler, c.llama_sampler_init_greedy())
        else:
            c.llama_sampler_chain_add(self.sampler, c.llama_sampler_init_temp(1.0))
            c.llama_sampler_chain_add(self.sampler, c.llama_sampler_init_dist(0))

    def logits(self, at):
        return self.c.llama_get_logits_ith(self.context, at)[: self.vocabulary]

    def decode(self, entries):
        """Entries are token, position, sequence, is_last; returns the next token of each sequence that has its last here."""
        batch, lasts = self.batch, []
        batch.n_tokens = len(entries)
        for at, (token, position, sequence, is_last) in enumerate(entries):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
            batch.seq_id[at][0], batch.logits[at] = sequence, is_last
            if is_last:
                lasts.append((at, sequence))
        failed = self.c.llama_decode(self.context, batch)
        assert not failed, f"llama_decode returned {failed}"
        return {sequence: self.c.llama_sampler_sample(self.sampler, self.context, at) for at, sequence in lasts}

    def sample(self, prompts, n_new):
        """`n_new` tokens after each prompt; prompts have one length."""
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), False)
        length, together = len(prompts[0]), max(1, self.POSITIONS // len(prompts[0]))
        sampled = [[] for _ in prompts]

        def take(entries):
            for sequence, token in self.decode(entries).items():
                sampled[sequence].append(token)

        for start in range(0, len(prompts), together):
            rows = enumerate(prompts[start:start + together], start)
            take([(token, at, row, at + 1 == length) for row, prompt in rows for at, token in enumerate(prompt)])
        for position in range(length, length + n_new - 1):
            take([(tokens[-1], position, row, True) for row, tokens in enumerate(sampled)])
        return sampled


def random_prompts(directory, n, length):
    import numpy

    vocabulary = json.loads(pathlib.Path(directory, "config.json").read_text())["vocab_size"]
    return numpy.random.default_rng(0).integers(3, vocabulary, (n, length)).tolist()


def measure(directory, path, batch, n_prompt, n_new, precision, rounds):
    prompts = random_prompts(directory, batch, n_prompt)
    llama = Llama(path, batch, n_prompt + n_new, precision)

    def seconds():
        start = time.perf_counter()
        sampled = llama.sample(prompts, n_new)
        assert all(len(it) == n_new for it in sampled)
        return time.perf_counter() - start

    seconds()
    return {
        "tokens_per_second": batch * n_new / statistics.median(seconds() for _ in range(rounds)),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def check(directory, path, n=4, n_prompt=24, n_new=12):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import LlamaForCausalLM

    prompts = random_prompts(directory, n, n_prompt)
    llama = Llama(path, n, n_prompt + n_new, "f32", greedy=True)
    sampled = llama.sample(prompts, n_new)
    # The logits of the last step, whose batch holds one token of each sequence.
    logits = torch.tensor([llama.logits(row) for row in range(n)])
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    sequences = torch.tensor([prompt + new for prompt, new in zip(prompts, sampled)])
    with torch.inference_mode():
        expected = model(input_ids=sequences[:, :-1]).logits[:, n_prompt - 1:]
    agree = (expected.argmax(-1) == sequences[:, n_prompt:]).sum().item()
    largest, difference = (it.abs().max().item() for it in (expected[:, -1], logits - expected[:, -1]))
    report = {
        "greedy_tokens": n * n_new, "agree": agree, "distinct": len(set(sum(sampled, []))),
        "largest_logit": largest, "largest_logit_difference": difference,
    }
    return report, agree == n * n_new and difference < 1e-4 * largest


def main():
    if sys.argv[1] == "--convert":
        write_gguf(*sys.argv[2:])
        return
    directory, rest = sys.argv[1], sys.argv[2:]
    precision = "f32" if rest == ["--check"] else rest[3]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.gguf")
        subprocess.run([sys.executable, __file__, "--convert", directory, path, precision], check=True, stdout=sys.stderr)
        if rest == ["--check"]:
            report, passed = check(directory, path)
        else:
            report, passed = measure(directory, path, *map(int, rest[:3]), precision, int(rest[4])), True
    print(json.dumps(report), flush=True)
    if not passed:
        sys.exit("llama.cpp and Transformers disagree")


if __name__ == "__main__":
    main()
