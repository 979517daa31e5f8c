"""Other ways of looking at the tiny models, by PyTorch with hooks: tests/data/explain/.

MODEL.safetensors, for tiny-sd1, tiny-sd2 (CLIP) and if-cascade (T5, keys of text and picture
joined). n tokens of PROMPT without padding, G groups of tokens, L blocks, k = 5 pieces:

    prompt U8                      the text
    heat.K [G, h, w]               layer K's picture: see src/lens/heat.h, here with the classic
                                   attention processors of diffusers, whose scores are recorded
    group [T] I64                  the group of each token
    attention.K [heads, n, n]      K = 1...L: transformers' output_attentions
    units.K [n, F]                 what the last matrix of the feed-forward layer is given
    first.K [n, D]                 the block's input behind its own first norm
    nearest.ids [L+1, n, k] I64, nearest.cosine [L+1, n, k]
    cosine, cka [L+1, L+1]
"""

import logging
import warnings

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, IFPipeline, StableDiffusionPipeline
from diffusers.models.attention_processor import (Attention, AttnAddedKVProcessor, AttnProcessor)

from common import DATA, generator, text_tensor, write_tensors

warnings.filterwarnings("ignore")
for name in ("transformers", "diffusers"):
    logging.getLogger(name).setLevel(logging.ERROR)

PROMPT, SEED, STEPS, PIECES = "a red dog, and the white hat", 7, 3, 5


# ---- the UNet's attention to the text ------------------------------------------------------------


class Recorder:
    """Keeps the probabilities of every attention to the text, (calls, heads, P, T) of the positive
    half; those of the middle block are left out, as DAAM does."""

    def __init__(self, unet, tokens):
        self.tokens, self.maps = tokens, {}
        added = any(isinstance(p, AttnAddedKVProcessor) or "AddedKV" in type(p).__name__
                    for p in unet.attn_processors.values())
        unet.set_attn_processor(AttnAddedKVProcessor() if added else AttnProcessor())
        self.names = {m: n for n, m in unet.named_modules() if isinstance(m, Attention)
                      and (added or n.endswith("attn2")) and not n.startswith("mid_block")}
        self.original = Attention.get_attention_scores
        Attention.get_attention_scores = self.recording()

    def recording(self):
        recorder = self

        def scores(module, query, key, attention_mask=None):
            p = recorder.original(module, query, key, attention_mask)
            if module in recorder.names:
                batch = p.shape[0] // module.heads
                heads = p.reshape(batch, module.heads, *p.shape[1:])[-1]
                recorder.maps.setdefault(recorder.names[module], []).append(
                    heads[:, :, : recorder.tokens].double())
            return p

        return scores

    def close(self):
        Attention.get_attention_scores = self.original

    def heat(self, group, h, w):
        sizes, side = {}, (h, w)
        for _ in range(6):
            sizes[side[0] * side[1]] = side
            side = ((side[0] + 1) // 2, (side[1] + 1) // 2)
        G, total = int(group.max()) + 1, []
        for maps in self.maps.values():
            p = torch.stack(maps).mean(0)  # (heads, P, T)
            image = p.transpose(1, 2).reshape(*p.shape[::2], *sizes[p.shape[1]])
            total.extend(F.interpolate(image, size=(h, w), mode="bicubic").clamp(min=0))
        tokens = torch.stack(total).mean(0)
        return torch.stack([tokens[group == g].mean(0) for g in range(G)]).float()


# ---- words ---------------------------------------------------------------------------------------


def groups(pieces, total):
    """Of CLIP's or sentencepiece's pieces, the first and last of CLIP and the last of T5 special."""
    clip = any(p.endswith("</w>") for p in pieces)
    group, word = [], -1
    start, end = (1 if clip else 0), len(pieces) - 1
    begins = True
    for p in pieces[start:end]:
        if (begins if clip else p.startswith("\u2581")):
            word += 1
        begins = p.endswith("</w>")
        group.append(word)
    if clip:
        word += 1
        group.insert(0, word)
    group.append(word + 1)
    group += [word + 2] * (total - len(group))
    return torch.tensor(group)


# ---- the text encoder ----------------------------------------------------------------------------


def similarity(states):
    S = len(states)
    cosine, cka = torch.zeros(S, S), torch.zeros(S, S)
    for i, a in enumerate(states):
        for j, b in enumerate(states):
            cosine[i, j] = F.cosine_similarity(a, b, dim=-1).mean()
            x, y = a - a.mean(0), b - b.mean(0)
            cka[i, j] = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    return cosine, cka


def encoder_parts(encoder):
    """Blocks' first norms, the last matrices of their feed-forward layers, final norm, embeddings."""
    if hasattr(encoder, "shared"):
        blocks = encoder.encoder.block
        return ([b.layer[0].layer_norm for b in blocks],
                [b.layer[1].DenseReluDense.wo for b in blocks], encoder.encoder.final_layer_norm,
                encoder.get_input_embeddings().weight)
    inner = getattr(encoder, "text_model", encoder)
    blocks = inner.encoder.layers
    return ([b.layer_norm1 for b in blocks], [b.mlp.fc2 for b in blocks], inner.final_layer_norm,
            encoder.get_input_embeddings().weight)


def readings(encoder, ids, mask, n, vocabulary):
    encoder.set_attn_implementation("eager")
    firsts, lasts, norm, table = encoder_parts(encoder)
    inputs, outputs, units = [], [], []
    hooks = [m.register_forward_hook(lambda _m, a, o: (inputs.append(a[0]), outputs.append(o)) and None)
             for m in firsts]
    hooks += [m.register_forward_hook(lambda _m, a, _o: units.append(a[0]) and None) for m in lasts]
    hooks.append(norm.register_forward_hook(lambda _m, a, _o: inputs.append(a[0]) and None))
    with torch.no_grad():
        out = encoder(ids, attention_mask=mask, output_attentions=True)
        for hook in hooks:
            hook.remove()
        states = [norm(h)[0, :n].double() for h in inputs]
        table = table.double().detach()
        unit_table = F.normalize(table, dim=-1)
        unit_table[vocabulary:] = 0
        near = [torch.topk(F.normalize(s, dim=-1) @ unit_table.T, PIECES) for s in states]
    tensors = {}
    for k, (a, u, f) in enumerate(zip(out.attentions, units, outputs), 1):
        tensors[f"attention.{k}"] = a[0, :, :n, :n]
        tensors[f"units.{k}"] = u[0, :n]
        tensors[f"first.{k}"] = f[0, :n]
    tensors["nearest.ids"] = torch.stack([t.indices for t in near])
    tensors["nearest.cosine"] = torch.stack([t.values for t in near]).float()
    tensors["cosine"], tensors["cka"] = similarity(states)
    return tensors, [norm(h) for h in inputs]


# ---- models --------------------------------------------------------------------------------------


def stable_diffusion(name, variant, sizes):
    pipe = StableDiffusionPipeline.from_pretrained(
        DATA / name, variant=variant, torch_dtype=torch.float32, safety_checker=None,
        feature_extractor=None, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    t, (width, height) = pipe.tokenizer, sizes
    pieces = t.convert_ids_to_tokens(t(PROMPT).input_ids)
    ids = t(PROMPT, padding="max_length", max_length=t.model_max_length, return_tensors="pt").input_ids
    group = groups(pieces, ids.shape[1])
    tensors, conditionings = readings(pipe.text_encoder, ids, None, len(pieces), len(t))
    for k in (1, len(conditionings) - 1):
        recorder = Recorder(pipe.unet, ids.shape[1])
        pipe(prompt_embeds=conditionings[k].detach(), negative_prompt="", guidance_scale=5.0,
             num_inference_steps=STEPS, width=width, height=height, generator=generator(SEED),
             output_type="latent")
        tensors[f"heat.{k}"] = recorder.heat(group, height // 8, width // 8)
        recorder.close()
    print(name, pieces, len(recorder.maps), "attentions, sum of a map",
          (tensors["heat.1"] * group.bincount()[:, None, None]).sum(0).mean().item())
    write_tensors(DATA / f"explain/{name}.safetensors",
                  {"prompt": text_tensor(PROMPT), "group": group, **tensors})


def deepfloyd():
    pipe = IFPipeline.from_pretrained(
        DATA / "if-cascade/IF-I-T-v1.0", torch_dtype=torch.float32, local_files_only=True,
        safety_checker=None, feature_extractor=None, watermarker=None,
        requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    t, T = pipe.tokenizer, 77
    pieces = t.convert_ids_to_tokens(t(PROMPT).input_ids)
    inputs = t(PROMPT, padding="max_length", max_length=T, return_tensors="pt")
    group = groups(pieces, T)
    tensors, conditionings = readings(pipe.text_encoder, inputs.input_ids, inputs.attention_mask,
                                      len(pieces), len(t))
    negative, _ = pipe.encode_prompt("", False, clean_caption=False)
    for k in (1, len(conditionings) - 1):
        recorder = Recorder(pipe.unet, T)
        pipe(prompt_embeds=conditionings[k].detach(), negative_prompt_embeds=negative,
             guidance_scale=4.0, num_inference_steps=STEPS, width=24, height=16,
             generator=generator(SEED), output_type="pt")
        tensors[f"heat.{k}"] = recorder.heat(group, 16, 24)
        recorder.close()
    print("if-cascade", pieces, len(recorder.maps), "attentions, sum of a map",
          (tensors["heat.1"] * group.bincount()[:, None, None]).sum(0).mean().item())
    write_tensors(DATA / "explain/if-cascade.safetensors",
                  {"prompt": text_tensor(PROMPT), "group": group, **tensors})


if __name__ == "__main__":
    stable_diffusion("tiny-sd1", None, (72, 56))
    stable_diffusion("tiny-sd2", "fp16", (64, 64))
    deepfloyd()
