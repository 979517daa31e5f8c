"""What the reference scripts share: seeds, random weights that test something, files.

Everything is a function of fixed seeds and runs on one thread, so the same package versions on the
same kind of machine give the same bytes.
"""

import gzip
import importlib.util
import json
import math
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DLENS_TEST_DATA", ROOT / "tests" / "data"))
EXPECTED = DATA / "expected"

START, END = "<|startoftext|>", "<|endoftext|>"


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed)


def randn(seed, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=generator(seed))


# ---- files ---------------------------------------------------------------------------------------


def write_json(path, value, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("indent", 2)
    options.setdefault("ensure_ascii", False)
    path.write_text(json.dumps(value, **options) + "\n", encoding="utf-8")


def write_tensors(path, tensors, metadata=None):
    """A safetensors file, contiguous tensors in PyTorch's order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    save_file(out, str(path), metadata=metadata)


def text_tensor(text):
    """A string as U8 tensor of its UTF-8 bytes (an empty one gets shape [0])."""
    return torch.tensor(list(text.encode("utf-8")), dtype=torch.uint8)


# ---- random weights ------------------------------------------------------------------------------


def randomise(model, seed, gain=1.0, gains=(), embedding=0.012):
    """Gives every parameter a value that a mistake would show in.

    Norms are moved away from weight 1 and bias 0, no bias is zero, matrices keep the variance of
    their input times `gain`; `gains` lists (part of a name, gain) for single kinds of layers.
    Embeddings are as small as trained CLIP's, so that the epsilon of the first norm counts.
    """
    g = generator(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=g)
        factor = next((f for part, f in gains if part in name), gain)
        if "norm" in name.split(".")[-2] or "group_norm" in name:
            value = 1 + 0.2 * noise if name.endswith("weight") else 0.2 * noise
        elif "embedding.weight" in name and p.ndim == 2:
            value = embedding * noise
        elif p.ndim == 1:
            value = 0.1 * noise
        else:
            value = noise * factor / math.sqrt(p[0].numel())
        p.data = value.to(p.dtype)
    return model.eval()


def round_weights(model, dtype):
    """Rounds all weights to what a file of this dtype holds; the model stays f32."""
    for p in model.parameters():
        p.data = p.data.to(dtype).float()
    return model


# ---- CLIP vocabularies ---------------------------------------------------------------------------


def byte_letters():
    """The byte-level alphabet of GPT-2 and CLIP: printable bytes stand for themselves, the others
    for code points from 256 on; printable ones come first in the vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


def clip_merges():
    """CLIP's 48,894 merges from the file in the open_clip_torch package."""
    package = Path(importlib.util.find_spec("open_clip").origin).parent
    with gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return lines[1 : 49152 - 256 - 2 + 1]


def clip_vocabulary(merges):
    letters = byte_letters()
    pieces = letters + [c + "</w>" for c in letters]
    pieces += ["".join(m.split()) for m in merges] + [START, END]
    return {piece: i for i, piece in enumerate(pieces)}


def special_token(content, typed, normalized=True):
    token = {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False,
             "single_word": False}
    return {"__type": "AddedToken", **token} if typed else token


def write_tokenizer(folder, merges, length, pad=END):
    """A tokenizer folder as in the Stable Diffusion repositories of 2022: vocab.json, merges.txt,
    tokenizer_config.json and special_tokens_map.json. As in Stable Diffusion 2, only the last names
    the pad token `pad`; tokenizer_config.json keeps the end of text."""
    write_json(folder / "vocab.json", clip_vocabulary(merges), indent=None, separators=(",", ":"))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "bos_token": special_token(START, True),
        "do_lower_case": True,
        "eos_token": special_token(END, True),
        "errors": "replace",
        "model_max_length": length,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": special_token(END, True),
    })
    write_json(folder / "special_tokens_map.json", {
        "bos_token": special_token(START, False),
        "eos_token": special_token(END, False),
        "pad_token": pad,
        "unk_token": special_token(END, False),
    })
