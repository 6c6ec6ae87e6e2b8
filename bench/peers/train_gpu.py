"""One training step of a Llama-style model in PyTorch on the GPU, bf16 autocast and f32: tokens per second."""
import sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
SHAPES = {"tiny": (256, 4, 4, 4, 688, 4096, 16, 128), "small": (512, 8, 8, 8, 1376, 8192, 8, 256), "smol135": (576, 30, 9, 3, 1536, 49152, 2, 256)}
for name, (h, l, nh, nkv, ff, v, B, T) in SHAPES.items():
    for bf16 in (False, True):
        cfg = LlamaConfig(hidden_size=h, num_hidden_layers=l, num_attention_heads=nh, num_key_value_heads=nkv, intermediate_size=ff, vocab_size=v, max_position_embeddings=2048, tie_word_embeddings=True)
        cfg._attn_implementation = "sdpa"
        m = LlamaForCausalLM(cfg).cuda(); m.train()
        opt = torch.optim.AdamW(m.parameters(), lr=1e-3, fused=True)
        x = torch.randint(0, v, (B, T), device="cuda")
        ts = []
        for i in range(15):
            torch.cuda.synchronize(); t = time.time()
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16):
                loss = m(input_ids=x, labels=x).loss
            loss.backward(); opt.step(); opt.zero_grad(set_to_none=True)
            torch.cuda.synchronize(); ts.append(time.time() - t)
        md = sorted(ts[5:])[5]
        print(f"torch {name} {'bf16' if bf16 else 'f32'} {B*T/md:.0f} tok/s loss {loss.item():.3f}", flush=True)
