"""Tiny random T5 encoders and what transformers computes with them: tests/data/t5/.

    v1.0: ReLU, f32, the embedding stored as encoder.embed_tokens.weight
    v1.1: gated GELU, bf16, as shared.weight, in shards, heads whose width is not D / h

expected.safetensors of each holds ids [B, T] I64 and mask [B, T] I64 (the second text is shorter);
hidden.K [B, T, D], K = 0…L, all raw; cond.K after the final norm; skip.2.hidden.K, K = 3…L, with
block 2 (of 1…L) left out; and long.ids [1, 150] with long.hidden.L alone, for the distances beyond
relative_attention_max_distance.
"""

import shutil

import torch
from transformers import T5Config, T5EncoderModel

from common import DATA, generator, randomise, round_weights, write_json, write_tensors

FOLDER = DATA / "t5"
GAINS = (("relative_attention_bias", 3.0), ("SelfAttention.q", 0.6), ("SelfAttention.k", 0.6),
         ("SelfAttention.o", 0.8), (".wo", 0.8))


class Trace:
    """Keeps the output of every block, raw."""

    def __init__(self, blocks):
        self.states = []
        self.handles = [b.register_forward_hook(self.keep) for b in blocks]

    def keep(self, _module, _args, out):
        self.states.append((out[0] if isinstance(out, tuple) else out).detach())

    def close(self):
        for handle in self.handles:
            handle.remove()


class Skipped(torch.nn.Module):
    def forward(self, hidden_states, _mask=None, position_bias=None, *_args, **_kwargs):
        return hidden_states, position_bias, None


def all_states(model, ids, mask):
    trace = Trace(model.encoder.block)
    with torch.no_grad():
        first = model.encoder.embed_tokens(ids)
        last = model(ids, attention_mask=mask).last_hidden_state
    trace.close()
    norm = model.encoder.final_layer_norm
    states = [first.detach(), *trace.states]
    assert torch.equal(norm(states[-1]), last)
    return states, [norm(s).detach() for s in states]


def expected(model, length):
    ids = torch.randint(3, model.config.vocab_size, (2, length), generator=generator(5))
    mask = torch.ones_like(ids)
    mask[1, length // 3 :] = 0
    ids[1, length // 3 - 1], ids[1, length // 3 :] = 1, 0
    tensors = {"ids": ids, "mask": mask}
    states, conditionings = all_states(model, ids, mask)
    for k, (h, c) in enumerate(zip(states, conditionings)):
        tensors[f"hidden.{k}"], tensors[f"cond.{k}"] = h, c
    kept, model.encoder.block[1] = model.encoder.block[1], Skipped()
    states, _ = all_states(model, ids, mask)
    model.encoder.block[1] = kept
    for k in range(3, len(states)):
        tensors[f"skip.2.hidden.{k}"] = states[k]
    ids = torch.randint(3, model.config.vocab_size, (1, 150), generator=generator(6))
    states, _ = all_states(model, ids, torch.ones_like(ids))
    tensors["long.ids"], tensors["long.hidden.L"] = ids, states[-1]
    return tensors


def one(name, seed, dtype, config, length, shard=None, rename=None):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model = T5EncoderModel(T5Config(**config))
    model = round_weights(randomise(model, seed, gains=GAINS, embedding=1.0), dtype)
    tensors = expected(model, length)
    if shard:
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    else:
        weights = {n: p for n, p in model.state_dict().items() if n != "encoder.embed_tokens.weight"}
        write_tensors(folder / "model.safetensors",
                      {(rename or {}).get(n, n): p.to(dtype) for n, p in weights.items()})
    write_json(folder / "config.json", {
        "architectures": ["T5EncoderModel"], "dropout_rate": 0.1, "eos_token_id": 1,
        "is_encoder_decoder": True, "model_type": "t5", "pad_token_id": 0, **config})
    write_tensors(folder / "expected.safetensors", tensors)


def main():
    one("v1.0", 501, torch.float32, {
        "d_model": 24, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 3, "vocab_size": 90,
        "layer_norm_epsilon": 1e-06, "relative_attention_num_buckets": 32,
        "feed_forward_proj": "relu"}, 40,
        rename={"shared.weight": "encoder.embed_tokens.weight"})
    one("v1.1", 502, torch.bfloat16, {
        "d_model": 32, "d_kv": 6, "d_ff": 40, "num_layers": 4, "num_heads": 4, "vocab_size": 120,
        "layer_norm_epsilon": 1e-06, "relative_attention_num_buckets": 16,
        "relative_attention_max_distance": 40, "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False}, 21, shard="24KB")


if __name__ == "__main__":
    main()
