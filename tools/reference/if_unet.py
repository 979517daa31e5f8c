"""UNets with DeepFloyd IF's blocks, as small as they get: tests/data/if/.

Both stages' configs with the keys that the real ones have, the x4 upscaler's table of noise levels,
and what the keys of these blocks can be set to otherwise. Weights are stored as variants.py does.
"""

import shutil

import torch
from diffusers import UNet2DConditionModel

import variants
from common import DATA, randn, randomise, write_json, write_tensors

FOLDER = DATA / "if"

SIMPLE_DOWN, SIMPLE_UP = "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D"
PLAIN_DOWN, PLAIN_UP = "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"

# IF-I: text-only attention nowhere, learned variance (6 channels out)
STAGE_1 = {"act_fn": "gelu", "addition_embed_type": "text", "addition_embed_type_num_heads": 4,
           "attention_head_dim": 4, "block_out_channels": [8, 16], "center_input_sample": False,
           "class_embed_type": None, "cross_attention_dim": 32,
           "cross_attention_norm": "group_norm", "down_block_types": [PLAIN_DOWN, SIMPLE_DOWN],
           "downsample_padding": 1, "encoder_hid_dim": 12, "encoder_hid_dim_type": "text_proj",
           "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 3, "layers_per_block": 1,
           "mid_block_only_cross_attention": None, "mid_block_scale_factor": 1.4142135623730951,
           "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "norm_eps": 1e-05,
           "norm_num_groups": 4, "num_class_embeds": None, "only_cross_attention": False,
           "out_channels": 6, "resnet_out_scale_factor": 1.4142135623730951,
           "resnet_skip_time_act": True, "resnet_time_scale_shift": "scale_shift",
           "sample_size": 8, "time_embedding_act_fn": "gelu", "time_embedding_type": "positional",
           "up_block_types": [SIMPLE_UP, PLAIN_UP], "use_linear_projection": False}

# IF-II: the enlarged picture as three more channels, its noise level, text-only attention in a
# level and in the middle; encoder_hid_dim_type left out, as in the first configs
STAGE_2 = {**{k: v for k, v in STAGE_1.items() if k != "encoder_hid_dim_type"},
           "class_embed_type": "timestep", "in_channels": 6, "only_cross_attention": [False, True],
           "mid_block_only_cross_attention": True, "down_block_types": [SIMPLE_DOWN] * 2,
           "up_block_types": [SIMPLE_UP] * 2, "block_out_channels": [8, 8]}

# name: config, height, width
MODELS = {
    "stage-1": (STAGE_1, 8, 8),
    "stage-1-odd-batch": (STAGE_1, 4, 6),
    "stage-2": (STAGE_2, 6, 8),
    "no-text-norm": ({**STAGE_1, "cross_attention_norm": None, "addition_embed_type": None,
                      "encoder_hid_dim": None, "encoder_hid_dim_type": None,
                      "cross_attention_dim": 6, "resnet_skip_time_act": False,
                      "resnet_time_scale_shift": "default", "only_cross_attention": True,
                      "block_out_channels": [4, 8]}, 4, 4),
    "head-dims": ({**STAGE_1, "attention_head_dim": [2, 4], "block_out_channels": [8, 8],
                   "down_block_types": [SIMPLE_DOWN] * 2, "up_block_types": [SIMPLE_UP] * 2,
                   "layers_per_block": [2, 1], "addition_embed_type": None}, 6, 4),
    "text-without-projection": ({**STAGE_1, "encoder_hid_dim": None, "encoder_hid_dim_type": None,
                                 "block_out_channels": [4, 8]}, 4, 4),
    "upscaler-table": ({**variants.SMALL, "num_class_embeds": 10, "block_out_channels": [8],
                        "down_block_types": [variants.CROSS_DOWN], "in_channels": 7,
                        "up_block_types": [variants.CROSS_UP]}, 4, 5),
}


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    variants.FOLDER = FOLDER
    index, tensors, seen = [], {}, {}
    for i, (name, (config, h, w)) in enumerate(MODELS.items()):
        model = UNet2DConditionModel(**config)
        shapes = str([(n, p.shape) for n, p in model.named_parameters()])
        weights, seed = seen.setdefault(shapes, (name, 1700 + i))
        variants.coarse(randomise(model, seed, gains=(("time_emb_proj", 2.0),)))
        variants.store(weights, model)
        full = variants.full(model, config)
        variants.check(weights, model, full)
        index.append({"name": name, "kind": "unet", "weights": weights, "config": full})

        batch = 3 if "batch" in name else 2
        width = config.get("encoder_hid_dim") or config["cross_attention_dim"]
        sample = randn(1800 + i, batch, config["in_channels"], h, w)
        states = randn(1900 + i, batch, 5, width)
        timestep = 9.0 + 111 * i
        labels = None
        if config.get("class_embed_type") or config.get("num_class_embeds"):
            labels = torch.tensor([7.0, 3.0])
            tensors[f"{name}.class_labels"] = labels
        if config.get("num_class_embeds"):
            labels = labels.long()
        with torch.no_grad():
            out = model(sample, timestep, encoder_hidden_states=states, class_labels=labels).sample
            other = model(sample, timestep, encoder_hidden_states=states.flip(0),
                          class_labels=labels).sample
            exact = model.double()(sample.double(), timestep, states.double(), class_labels=labels)
        print(f"{name}: output {out.std():.2f}, by the states {(out - other).std():.3f}, "
              f"f32 - f64 {(out - exact.sample).abs().max() / out.abs().max():.1e}")
        tensors |= {f"{name}.sample": sample, f"{name}.states": states,
                    f"{name}.timestep": torch.tensor([timestep]), f"{name}.output": out}
    write_tensors(FOLDER / "expected.safetensors", tensors)
    write_json(FOLDER / "index.json", index, indent=None)


if __name__ == "__main__":
    main()
