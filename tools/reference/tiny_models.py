"""The tiny random models under tests/data: tiny-sd1, tiny-sd2, tiny-lcm.

Each is a folder in diffusers layout whose files look as the real checkpoints' do: the config keys
that those have (old ones lack many), their tensor names, file names and dtypes. The functions
return nothing; expected.py loads the folders again with transformers and diffusers, so the
libraries' own loaders say what the files mean.
"""

import shutil

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from common import DATA, clip_merges, randomise, round_weights, write_json, write_tokenizer

MERGES = 88  # of CLIP's, the first ones: 512 + 88 + 2 = 602 ids
VOCABULARY = 512 + MERGES + 2

# ---- weights -------------------------------------------------------------------------------------


def carry_input_through(unet, strength, noise):
    """Lets the network pass its input on to its output, so that runs are not chaotic.

    conv_in writes x and -x into the first channels, the last skip connection hands them to the last
    resnet, and conv_out subtracts silu(-x) from silu(x), which is x. All else is added to that,
    `noise` times.
    """
    c = unet.config.in_channels
    eye = torch.eye(c)
    with torch.no_grad():
        unet.conv_in.weight[: 2 * c] *= 0.05
        unet.conv_in.weight[:c, :, 1, 1] += eye
        unet.conv_in.weight[c : 2 * c, :, 1, 1] -= eye
        last = unet.up_blocks[-1].resnets[-1]
        width = unet.config.block_out_channels[0]
        last.conv_shortcut.weight[: 2 * c] *= 0.1
        for i in range(2 * c):  # the skip connection is the second half of the input
            last.conv_shortcut.weight[i, -width + i, 0, 0] += 1
        unet.conv_out.weight *= noise
        unet.conv_out.weight[:, :c, 1, 1] += strength * eye
        unet.conv_out.weight[:, c : 2 * c, 1, 1] -= strength * eye
    return unet


UNET_GAINS = (
    ("attn2.to_q", 1.5), ("attn2.to_k", 1.5), ("attn2.to_v", 1.2), ("attn2.to_out", 0.8),
    ("to_q", 1.5), ("to_k", 1.5), ("to_out", 0.5), ("time_emb_proj", 2.0), ("ff.net.2", 0.5), ("conv2", 0.5),
)
TEXT_GAINS = (("q_proj", 1.5), ("k_proj", 1.5), ("out_proj", 0.6), ("fc2", 0.6))


def text_encoder(seed, dtype, **config):
    model = CLIPTextModel(CLIPTextConfig(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=2,
                                         pad_token_id=1, **config))
    return round_weights(randomise(model, seed, gains=TEXT_GAINS), dtype)


def unet(seed, dtype, strength=0.6, noise=0.5, **config):
    model = randomise(UNet2DConditionModel(**config), seed, gains=UNET_GAINS)
    return round_weights(carry_input_through(model, strength, noise), dtype)


def vae(seed, dtype, **config):
    model = randomise(AutoencoderKL(**config), seed, gains=(("decoder.conv_out", 0.45),))
    return round_weights(model, dtype)


def save(path, model, dtype, rename=lambda name: name, extra=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {rename(n): p.detach().to(dtype).contiguous() for n, p in model.state_dict().items()
               if not n.endswith("position_ids")}
    tensors.update(extra or {})
    save_file(tensors, str(path), metadata={"format": "pt"})


# ---- configs as in the real repositories ---------------------------------------------------------

BETAS = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085}

PNDM_SD1 = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **BETAS,
            "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
            "steps_offset": 1, "trained_betas": None, "clip_sample": False}

DDIM_SD2 = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", **BETAS,
            "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
            "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
            "trained_betas": None}

EULER_TURBO = {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0.dev0",
               **BETAS, "clip_sample": False, "interpolation_type": "linear",
               "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0,
               "set_alpha_to_one": False, "sigma_max": None, "sigma_min": None,
               "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "trailing",
               "timestep_type": "discrete", "trained_betas": None, "use_karras_sigmas": False}

LCM = {"_class_name": "LCMScheduler", "_diffusers_version": "0.22.0.dev0", **BETAS,
       "clip_sample": False, "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995,
       "num_train_timesteps": 1000, "original_inference_steps": 50, "prediction_type": "epsilon",
       "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "set_alpha_to_one": True,
       "steps_offset": 1, "thresholding": False, "timestep_spacing": "leading",
       "trained_betas": None}


def model_index(folder, version, scheduler, vae_class, pipeline="StableDiffusionPipeline", **extra):
    write_json(folder / "model_index.json", {
        "_class_name": pipeline,
        "_diffusers_version": version,
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        **extra,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", vae_class],
    })


# ---- tiny-sd1: as Stable Diffusion 1.5 in 2022 ---------------------------------------------------

DOWN = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
UP = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3


def old_attention_name(name):
    """VAE attention as diffusers named it before 0.18."""
    if ".attentions." in name:
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"),
                         ("to_out.0", "proj_attn")):
            name = name.replace(f".{new}.", f".{old}.")
    return name


def tiny_sd1():
    folder = DATA / "tiny-sd1"
    shutil.rmtree(folder, ignore_errors=True)
    model_index(folder, "0.6.0", "PNDMScheduler", "AutoencoderKL",
                safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    write_json(folder / "scheduler/scheduler_config.json", PNDM_SD1)
    write_tokenizer(folder / "tokenizer", clip_merges()[:MERGES], 77)

    text = {"attention_dropout": 0.0, "hidden_act": "quick_gelu", "hidden_size": 32,
            "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 64,
            "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "num_attention_heads": 2,
            "num_hidden_layers": 4, "projection_dim": 32}
    write_json(folder / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], **text, "bos_token_id": 0, "dropout": 0.0,
        "eos_token_id": 2, "model_type": "clip_text_model", "pad_token_id": 1,
        "torch_dtype": "float32", "transformers_version": "4.22.0.dev0",
        "vocab_size": VOCABULARY})
    save(folder / "text_encoder/model.safetensors", text_encoder(101, torch.float32, **text),
         torch.float32,
         lambda name: name if name.startswith("text_model.") else "text_model." + name,
         {"text_model.embeddings.position_ids": torch.arange(77)[None]})

    config = {"act_fn": "silu", "attention_head_dim": 2, "block_out_channels": [12, 12, 12, 24],
              "center_input_sample": False, "cross_attention_dim": 32, "down_block_types": DOWN,
              "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4,
              "layers_per_block": 1, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
              "norm_num_groups": 4, "out_channels": 4, "sample_size": 8, "up_block_types": UP}
    write_json(folder / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                             "_diffusers_version": "0.6.0", **config})
    save(folder / "unet/diffusion_pytorch_model.safetensors",
         unet(102, torch.float32, **config), torch.float32)

    config = {"act_fn": "silu", "block_out_channels": [8, 8, 8, 8],
              "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3,
              "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 4,
              "out_channels": 3, "sample_size": 64, "up_block_types": ["UpDecoderBlock2D"] * 4}
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderKL",
                                            "_diffusers_version": "0.6.0", **config})
    save(folder / "vae/diffusion_pytorch_model.safetensors", vae(103, torch.float32, **config),
         torch.float32, old_attention_name)


# ---- tiny-sd2: as Stable Diffusion 2.1, f16, new names -------------------------------------------


def tokenizer_json_only(folder, length):
    """tokenizer.json as transformers 5 writes it from the old files of Stable Diffusion 2."""
    from transformers import CLIPTokenizer

    old = folder.parent / "tokenizer-old"
    write_tokenizer(old, clip_merges()[:MERGES], length, pad="!")
    CLIPTokenizer.from_pretrained(old).save_pretrained(folder)
    shutil.copy(old / "special_tokens_map.json", folder / "special_tokens_map.json")
    shutil.copy(old / "tokenizer_config.json", folder / "tokenizer_config.json")
    shutil.rmtree(old)


def tiny_sd2():
    folder = DATA / "tiny-sd2"
    shutil.rmtree(folder, ignore_errors=True)
    model_index(folder, "0.8.0", "DDIMScheduler", "AutoencoderKL", requires_safety_checker=False,
                safety_checker=[None, None])
    write_json(folder / "scheduler/scheduler_config.json", DDIM_SD2)
    tokenizer_json_only(folder / "tokenizer", 24)

    text = {"attention_dropout": 0.0, "hidden_act": "gelu", "hidden_size": 40,
            "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 80,
            "layer_norm_eps": 1e-05, "max_position_embeddings": 24, "num_attention_heads": 5,
            "num_hidden_layers": 5, "projection_dim": 20}
    write_json(folder / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], **text, "bos_token_id": 0, "dropout": 0.0,
        "eos_token_id": 2, "model_type": "clip_text_model", "pad_token_id": 1, "dtype": "float16",
        "transformers_version": "5.23.0", "vocab_size": VOCABULARY})
    save(folder / "text_encoder/model.fp16.safetensors", text_encoder(201, torch.float16, **text),
         torch.float16, lambda name: name.removeprefix("text_model."))

    config = {"act_fn": "silu", "attention_head_dim": [1, 2, 2, 3],
              "block_out_channels": [12, 12, 12, 24], "center_input_sample": False,
              "cross_attention_dim": 40, "down_block_types": DOWN, "downsample_padding": 1,
              "dual_cross_attention": False, "flip_sin_to_cos": True, "freq_shift": 0,
              "in_channels": 4, "layers_per_block": 1, "mid_block_scale_factor": 1,
              "norm_eps": 1e-05, "norm_num_groups": 4, "num_class_embeds": None,
              "only_cross_attention": False, "out_channels": 4, "sample_size": 8,
              "up_block_types": UP, "upcast_attention": True, "use_linear_projection": True}
    model = unet(202, torch.float16, **config)
    model.half().save_pretrained(folder / "unet", variant="fp16", max_shard_size="200KB")
    write_json(folder / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                             "_diffusers_version": "0.10.0.dev0", **config})

    config = {"act_fn": "silu", "block_out_channels": [8, 8, 8, 8],
              "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3,
              "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 4,
              "out_channels": 3, "sample_size": 64, "scaling_factor": 0.18215,
              "up_block_types": ["UpDecoderBlock2D"] * 4}
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderKL",
                                            "_diffusers_version": "0.10.0.dev0", **config})
    save(folder / "vae/diffusion_pytorch_model.fp16.safetensors",
         vae(203, torch.float16, **config), torch.float16)


# ---- tiny-lcm: as LCM_Dreamshaper_v7 with TAESD, bf16 --------------------------------------------


def tiny_lcm():
    folder = DATA / "tiny-lcm"
    shutil.rmtree(folder, ignore_errors=True)
    model_index(folder, "0.22.0.dev0", "LCMScheduler", "AutoencoderTiny",
                pipeline="LatentConsistencyModelPipeline", requires_safety_checker=True,
                safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    write_json(folder / "scheduler/scheduler_config.json", LCM)
    write_tokenizer(folder / "tokenizer", clip_merges()[:MERGES], 16)

    text = {"hidden_act": "quick_gelu", "hidden_size": 32, "intermediate_size": 64,
            "max_position_embeddings": 16, "num_attention_heads": 4, "num_hidden_layers": 2,
            "projection_dim": 32}
    write_json(folder / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], **text, "bos_token_id": 0, "eos_token_id": 2,
        "model_type": "clip_text_model", "pad_token_id": 1, "vocab_size": VOCABULARY})
    save(folder / "text_encoder/model.safetensors", text_encoder(301, torch.bfloat16, **text),
         torch.bfloat16,
         lambda name: name if name.startswith("text_model.") else "text_model." + name)

    config = {"act_fn": "silu", "attention_head_dim": 2, "block_out_channels": [12, 16],
              "cross_attention_dim": 32,
              "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "in_channels": 4,
              "layers_per_block": 1, "norm_num_groups": 4, "out_channels": 4, "sample_size": 8,
              "time_cond_proj_dim": 20, "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}
    write_json(folder / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                             "_diffusers_version": "0.22.0.dev0", **config})
    save(folder / "unet/diffusion_pytorch_model.safetensors",
         unet(302, torch.bfloat16, strength=1.4, noise=0.2, **config), torch.bfloat16)

    config = {"act_fn": "relu", "decoder_block_out_channels": [8, 8, 8, 8],
              "encoder_block_out_channels": [8, 8, 8, 8], "force_upcast": False, "in_channels": 3,
              "latent_channels": 4, "latent_magnitude": 3, "latent_shift": 0.5,
              "num_decoder_blocks": [2, 1, 1, 1], "num_encoder_blocks": [1, 1, 1, 1],
              "out_channels": 3, "scaling_factor": 1.0, "upsampling_scaling_factor": 2}
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderTiny",
                                            "_diffusers_version": "0.22.0.dev0", **config})
    model = randomise(AutoencoderTiny(**config), 303, gain=1.2)
    with torch.no_grad():  # keeps the pictures inside the range of 8-bit pixels
        model.decoder.layers[-1].weight *= 0.1
        model.decoder.layers[-1].bias += 0.5
    round_weights(model, torch.bfloat16)
    save(folder / "vae/diffusion_pytorch_model.safetensors", model, torch.bfloat16)


if __name__ == "__main__":
    tiny_sd1()
    tiny_sd2()
    tiny_lcm()
