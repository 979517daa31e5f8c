"""UNets and decoders alone, one for each config key that the tiny models leave at its usual value:
tests/data/variants/ and tests/data/expected/{unet,vae}-variants.safetensors.

Weights have few different values and are stored gzipped, which keeps a model at about 15 kB.
"""

import gzip
import logging
import math
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save

from clip_bpe import compress
from common import DATA, EXPECTED, randn, randomise, write_json, write_tensors
from expected import decode
from tiny_models import old_attention_name

logging.getLogger("diffusers").setLevel(logging.ERROR)

FOLDER = DATA / "variants"

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

SMALL = {"act_fn": "silu", "attention_head_dim": 2, "block_out_channels": [8, 8],
         "cross_attention_dim": 6, "down_block_types": [CROSS_DOWN, "DownBlock2D"],
         "in_channels": 4, "layers_per_block": 1, "norm_num_groups": 4, "out_channels": 4,
         "sample_size": 8, "up_block_types": ["UpBlock2D", CROSS_UP]}
SINGLE = {"block_out_channels": [8], "down_block_types": [CROSS_DOWN],
          "up_block_types": [CROSS_UP]}

# name: what differs from SMALL, latents' height and width
UNETS = {
    "scale-shift": ({"resnet_time_scale_shift": "scale_shift"}, 7, 5),
    "only-cross": ({**SINGLE, "only_cross_attention": True}, 4, 6),
    "only-cross-list": ({"only_cross_attention": [True, False], "mid_block_only_cross_attention":
                         True, "down_block_types": [CROSS_DOWN] * 2,
                         "up_block_types": [CROSS_UP] * 2}, 4, 4),
    "mid-cross-off": ({**SINGLE, "only_cross_attention": True,
                       "mid_block_only_cross_attention": False}, 3, 4),
    "sdxl-blocks": ({"down_block_types": ["DownBlock2D", CROSS_DOWN, CROSS_DOWN],
                     "up_block_types": [CROSS_UP, CROSS_UP, "UpBlock2D"],
                     "block_out_channels": [4, 4, 8], "attention_head_dim": [1, 2, 4],
                     "transformer_layers_per_block": [1, 2, 3],
                     "use_linear_projection": True}, 9, 12),
    "two-transformers": ({**SINGLE, "transformer_layers_per_block": 2}, 4, 4),
    "layers-list": ({"layers_per_block": [2, 1], "block_out_channels": [4, 4], "down_block_types": [CROSS_DOWN] * 2,
                     "up_block_types": [CROSS_UP] * 2}, 5, 7),
    "time-sin-first": ({**SINGLE, "flip_sin_to_cos": False, "freq_shift": 1}, 4, 4),
    "groups-eps": ({**SINGLE, "block_out_channels": [6], "norm_num_groups": 3,
                    "norm_eps": 0.01, "attention_head_dim": 3}, 4, 5),
    "gelu": ({**SINGLE, "act_fn": "gelu"}, 4, 4),
    "mish": ({**SINGLE, "act_fn": "mish"}, 4, 4),
    "no-mid": ({"mid_block_type": None}, 6, 4),
    "plain-blocks": ({"down_block_types": ["DownBlock2D"] * 2,
                      "up_block_types": ["UpBlock2D"] * 2}, 5, 5),
    "channels": ({**SINGLE, "in_channels": 9, "out_channels": 3}, 4, 4),
    "kernels": ({**SINGLE, "conv_in_kernel": 1, "conv_out_kernel": 5}, 4, 5),
    "centre-input": ({**SINGLE, "center_input_sample": True}, 4, 4),
    "down-padding-0": ({"downsample_padding": 0}, 8, 6),
    "mid-scale": ({**SINGLE, "mid_block_scale_factor": 1.4142135}, 4, 4),
    "time-width": ({**SINGLE, "time_embedding_dim": 20}, 4, 4),
}

VAE = {"act_fn": "silu", "block_out_channels": [4, 8], "down_block_types":
       ["DownEncoderBlock2D"] * 2, "in_channels": 3, "latent_channels": 4, "layers_per_block": 1,
       "norm_num_groups": 2, "out_channels": 3, "sample_size": 16,
       "up_block_types": ["UpDecoderBlock2D"] * 2}

VAES = {
    "scale-shift-factor": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
    "no-post-quant": {"use_quant_conv": False, "use_post_quant_conv": False,
                      "scaling_factor": 1.5305, "shift_factor": 0.0609, "latent_channels": 16},
    "no-mid-attention": {"mid_block_add_attention": False},
    "old-names": {},
    "old-conv-names": {},  # the same weights, attention as 1x1 convolutions
    "three-levels": {"block_out_channels": [4, 4, 8], "down_block_types":
                     ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
                     "layers_per_block": 2},
}

TINY_VAE = {"act_fn": "relu", "decoder_block_out_channels": [4, 4, 4],
            "encoder_block_out_channels": [4, 4, 4], "in_channels": 3, "latent_channels": 4,
            "num_decoder_blocks": [1, 2, 1], "num_encoder_blocks": [1, 1, 1], "out_channels": 3}
TINY_VAES = {
    "taesd-defaults": {},
    "taesd-scaled": {"scaling_factor": 0.5, "shift_factor": 0.2, "latent_channels": 6,
                     "act_fn": "silu", "upsampling_scaling_factor": 2},
}


def coarse(model):
    """Rounds every weight to a multiple of an eighth (a quarter for large ones) of a power of two."""
    for p in model.parameters():
        if p.ndim == 0 or p.numel() == 0:
            continue
        step = 2.0 ** round(math.log2(p.detach().abs().max().item() + 1e-9)) / 8
        p.data = (p.data / step).round() * step
    return model.eval()


def store(name, model, rename=lambda name: name, reshape=lambda name, t: t):
    """Writes the weights in f16; checks that the libraries load them as the model that was run."""
    tensors = {rename(n): reshape(rename(n), p.detach().half()).contiguous()
               for n, p in model.state_dict().items()}
    for key, value in tensors.items():
        assert value.isfinite().all(), key
    compress(FOLDER / f"{name}.safetensors.gz", save(tensors, metadata={"format": "pt"}))


def check(name, model, config):
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config)
        packed = FOLDER / f"{name}.safetensors.gz"
        plain = Path(folder) / "diffusion_pytorch_model.safetensors"
        plain.write_bytes(gzip.decompress(packed.read_bytes()))
        again = type(model).from_pretrained(folder).state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, again[key].float()), f"{name}: {key}"


def full(model, config):
    return {"_class_name": type(model).__name__, "_diffusers_version": "0.42.1", **config}


def unets(index):
    tensors, seen = {}, {}
    for i, (name, (change, h, w)) in enumerate(UNETS.items()):
        config = {**SMALL, **change}
        model = UNet2DConditionModel(**config)
        shapes = str([(n, p.shape) for n, p in model.named_parameters()])
        weights, seed = seen.setdefault(shapes, (f"unet-{name}", 700 + i))
        coarse(randomise(model, seed, gains=(("attn2", 1.5), ("time_emb_proj", 2.0))))
        store(weights, model)
        check(weights, model, full(model, config))
        index.append({"name": name, "kind": "unet", "weights": weights,
                      "config": full(model, config)})
        sample = randn(800 + i, 2, config["in_channels"], h, w)
        states = randn(900 + i, 2, 5, config["cross_attention_dim"])
        timestep = 17.0 + 41 * i
        with torch.no_grad():
            out = model(sample, timestep, encoder_hidden_states=states).sample
            other = model(sample, timestep, encoder_hidden_states=states.flip(0)).sample
        print(f"{name}: output {out.std():.2f}, by the states {(out - other).std():.3f}")
        tensors |= {f"{name}.sample": sample, f"{name}.states": states,
                    f"{name}.timestep": torch.tensor([timestep]), f"{name}.output": out}
    write_tensors(EXPECTED / "unet-variants.safetensors", tensors)


def vaes(index):
    tensors = {}
    runs = [(AutoencoderKL, name, {**VAE, **change}) for name, change in VAES.items()]
    runs += [(AutoencoderTiny, name, {**TINY_VAE, **change}) for name, change in TINY_VAES.items()]
    for i, (cls, name, config) in enumerate(runs):
        same = 3 if name.startswith("old") else i
        model = coarse(randomise(cls(**config), 750 + same))
        rename = old_attention_name if name.startswith("old") else lambda n: n
        if name == "old-conv-names":  # diffusers reads these from single files only
            store(f"vae-{name}", model, rename, lambda n, t: t[..., None, None]
                  if ".attentions." in n and t.ndim == 2 else t)
        else:
            store(f"vae-{name}", model, rename)
            check(f"vae-{name}", model, full(model, config))
        index.append({"name": name, "kind": "vae", "weights": f"vae-{name}",
                      "config": full(model, config)})
        latents = randn(850 + same, 1, config["latent_channels"], 5, 3,
                        scale=2.0 if cls is AutoencoderTiny else 1.0)
        image = decode(model, latents)
        print(f"{name}: image {image.std():.2f}")
        tensors |= {f"{name}.latents": latents, f"{name}.image": image}
    write_tensors(EXPECTED / "vae-variants.safetensors", tensors)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    index = []
    unets(index)
    vaes(index)
    write_json(FOLDER / "index.json", index, indent=None)


if __name__ == "__main__":
    main()
