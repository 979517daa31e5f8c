"""DeepFloyd IF's full sizes with random weights, for measuring memory and time: a first stage of
the sizes of IF-I-M (or L, XL) with T5-XXL in bf16, 9.5 GB, in shards as on the hub.

    if_full_size.py FOLDER [--size M] [--dtype bf16] [--blocks 24] [--tokenizer DIR]

The weights of a kind are one random block over and over, so that writing is as fast as the disk.
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from common import DATA, write_json
from if_sampling import IF_STAGE_1
from if_unet import PLAIN_DOWN, PLAIN_UP, SIMPLE_DOWN, SIMPLE_UP, STAGE_1

WIDTHS = {"M": 192, "L": 320, "XL": 704}
SHARD = 5 << 30


def t5_shapes(blocks, D=4096, F=10240, h=64, d=64, vocab=32128):
    yield "shared.weight", (vocab, D), 1.0
    for i in range(blocks):
        block = f"encoder.block.{i}.layer"
        for name in "qkv":
            yield f"{block}.0.SelfAttention.{name}.weight", (h * d, D), D**-0.5 * 0.3
        yield f"{block}.0.SelfAttention.o.weight", (D, h * d), (h * d) ** -0.5
        if i == 0:
            yield f"{block}.0.SelfAttention.relative_attention_bias.weight", (32, h), 1.0
        yield f"{block}.0.layer_norm.weight", (D,), None
        yield f"{block}.1.DenseReluDense.wi_0.weight", (F, D), D**-0.5
        yield f"{block}.1.DenseReluDense.wi_1.weight", (F, D), D**-0.5
        yield f"{block}.1.DenseReluDense.wo.weight", (D, F), F**-0.5
        yield f"{block}.1.layer_norm.weight", (D,), None
    yield "encoder.final_layer_norm.weight", (D,), None


def write_shard(path, tensors, dtype, noise):
    """A safetensors file written straight to the disk, piece by piece."""
    size, header, at = (2 if dtype == "bf16" else 4), {}, 0
    for name, shape, _ in tensors:
        count = int(np.prod(shape))
        header[name] = {"dtype": dtype.upper(), "shape": list(shape),
                        "data_offsets": [at, at + count * size]}
        at += count * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, shape, scale in tensors:
            count = int(np.prod(shape))
            values = torch.ones(len(noise)) if scale is None else noise * scale
            data = values.to(kind).view(torch.uint8).numpy().tobytes()
            for left in range(count * size, 0, -len(data)):
                out.write(data[: min(left, len(data))])


def text_encoder(folder, dtype, blocks):
    folder.mkdir(parents=True)
    noise = torch.randn(1 << 22, generator=torch.Generator().manual_seed(1))
    shards, used = [[]], 0
    for item in t5_shapes(blocks):
        bytes_of = int(np.prod(item[1])) * (2 if dtype == "bf16" else 4)
        if used + bytes_of > SHARD:
            shards.append([])
            used = 0
        shards[-1].append(item)
        used += bytes_of
    names = {}
    for i, tensors in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(folder / file, tensors, dtype, noise)
        names |= {name: file for name, _, _ in tensors}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": names})
    write_json(folder / "config.json", {
        "architectures": ["T5EncoderModel"], "d_ff": 10240, "d_kv": 64, "d_model": 4096,
        "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-06, "model_type": "t5",
        "num_heads": 64, "num_layers": blocks, "relative_attention_num_buckets": 32,
        "vocab_size": 32128})


def unet(folder, width):
    config = {**STAGE_1, "attention_head_dim": 64, "addition_embed_type_num_heads": 64,
              "block_out_channels": [width * k for k in (1, 2, 3, 4)], "layers_per_block": 3,
              "cross_attention_dim": 4 * width, "encoder_hid_dim": 4096, "norm_num_groups": 32,
              "down_block_types": [PLAIN_DOWN] + [SIMPLE_DOWN] * 3, "sample_size": 64,
              "up_block_types": [SIMPLE_UP] * 3 + [PLAIN_UP]}
    folder.mkdir(parents=True)
    torch.manual_seed(2)
    model = UNet2DConditionModel(**config)
    print(f"UNet: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")
    write_json(folder / "config.json", {"_class_name": "UNet2DConditionModel", **config})
    save_file({n: p.detach().to(torch.bfloat16).contiguous()
               for n, p in model.state_dict().items()},
              str(folder / "diffusion_pytorch_model.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=WIDTHS, default="M")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--tokenizer", type=Path,
                        default=DATA / "if-cascade/IF-I-T-v1.0/tokenizer")
    args = parser.parse_args()
    folder = args.folder
    shutil.rmtree(folder, ignore_errors=True)
    text_encoder(folder / "text_encoder", args.dtype, args.blocks)
    unet(folder / "unet", WIDTHS[args.size])
    shutil.copytree(args.tokenizer, folder / "tokenizer")
    write_json(folder / "scheduler/scheduler_config.json", IF_STAGE_1)
    write_json(folder / "model_index.json", {
        "_class_name": "IFPipeline", "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"]})


if __name__ == "__main__":
    main()
