"""A tiny random cascade as DeepFloyd IF, and what diffusers makes with it: tests/data/if-cascade/.

    IF-I-T-v1.0                    stage I, 16 x 16: IFPipeline with T5 encoder (two shards, bf16) and
                                   spiece.model
    IF-II-T-v1.0                   stage II, to 32 x 32: IFSuperResolutionPipeline without encoder, the
                                   weights as fp16 variant
    stable-diffusion-x4-upscaler   stage III, to 128 x 128: StableDiffusionUpscalePipeline

The sides of real models are 64, 256 and 1024. expected.safetensors holds what the pipelines return,
each stage given the picture before it as it is (output_type "pt") and the same generator.
tests/data/README.md describes the tensors.
"""

import logging
import shutil
import tempfile
import warnings

import numpy as np
import sentencepiece
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler,
                       EulerDiscreteScheduler, IFPipeline, IFSuperResolutionPipeline,
                       StableDiffusionPipeline, StableDiffusionUpscalePipeline,
                       UNet2DConditionModel)
from diffusers.pipelines.deepfloyd_if import fast27_timesteps
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from common import (DATA, clip_merges, generator, randn, randomise, round_weights, text_tensor,
                    write_json, write_tensors, write_tokenizer)
from if_sampling import IF_STAGE_1, IF_STAGE_2
from if_unet import STAGE_1, STAGE_2
from t5_encoder import GAINS, Trace
from tiny_models import BETAS, MERGES, UNET_GAINS, save, text_encoder, vae

warnings.filterwarnings("ignore")
for name in ("transformers", "diffusers"):
    logging.getLogger(name).setLevel(logging.ERROR)

FOLDER = DATA / "if-cascade"
ONE, TWO, THREE = (FOLDER / name for name in
                   ("IF-I-T-v1.0", "IF-II-T-v1.0", "stable-diffusion-x4-upscaler"))

PROMPT = "  A Red CAT in the rain, oil painting; ΟΔΟΣ\n"
NEGATIVE = "blurry!"
SEED, GUIDANCE, STEPS, LENGTH = 7, 4.0, 5, 77

SAMPLERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "dpm++2m": DPMSolverMultistepScheduler,
            "euler": EulerDiscreteScheduler}

# ---- models --------------------------------------------------------------------------------------


def tokenizer(folder):
    """spiece.model with T5's ids and a few normalization rules, trained on a handful of words."""
    folder.mkdir(parents=True)
    words = ("a red blue green cat dog house in the rain on of oil painting photo blurry with hat "
             "tree river night small large ΟΔΟΣ οδος").split()
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 9)) for i in range(400)]
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/rules.tsv", "w", encoding="ascii") as rules:
            for source, target in (("\t", " "), ("\n", " "), ("\u00a0", " "), ("ﬁ", "fi")):
                rules.write(" ".join(f"{ord(c):X}" for c in source) + "\t" +
                            " ".join(f"{ord(c):X}" for c in target) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=f"{work}/t5", vocab_size=120,
            model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1,
            minloglevel=2, normalization_rule_tsv=f"{work}/rules.tsv", hard_vocab_limit=False)
        shutil.move(f"{work}/t5.model", folder / "spiece.model")
    write_json(folder / "tokenizer_config.json", {
        "eos_token": "</s>", "extra_ids": 100, "model_max_length": LENGTH, "pad_token": "<pad>",
        "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"})


def encoder(folder):
    config = {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 4, "num_heads": 4,
              "vocab_size": 256, "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu",
              "relative_attention_num_buckets": 32, "tie_word_embeddings": False}
    model = T5EncoderModel(T5Config(**config))
    model = round_weights(randomise(model, 801, gains=GAINS, embedding=1.0), torch.bfloat16)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="60KB")
    write_json(folder / "config.json", {
        "architectures": ["T5EncoderModel"], "dropout_rate": 0.1, "eos_token_id": 1,
        "is_encoder_decoder": True, "model_type": "t5", "pad_token_id": 0,
        "torch_dtype": "float16", **config})


def carry_input_through(unet, strength, noise):
    """As in tiny_models.py: gelu(x) - gelu(-x) is x, too. Only the first three channels, the noisy
    picture, are carried; the variance that is put out behind the prediction stays within [-1, 1].
    """
    c = 3
    eye = torch.eye(c)
    with torch.no_grad():
        unet.conv_in.weight[: 2 * c] *= 0.05
        unet.conv_in.weight[:c, :c, 1, 1] += eye
        unet.conv_in.weight[c : 2 * c, :c, 1, 1] -= eye
        last = unet.up_blocks[-1].resnets[-1]
        width = unet.config.block_out_channels[0]
        last.conv_shortcut.weight[: 2 * c] *= 0.1
        for i in range(2 * c):  # the skip connection is the second half of the input
            last.conv_shortcut.weight[i, -width + i, 0, 0] += 1
        unet.conv_out.weight *= noise
        unet.conv_out.weight[:c, :c, 1, 1] += strength * eye
        unet.conv_out.weight[:c, c : 2 * c, 1, 1] -= strength * eye
    return unet


def random_unet(seed, strength, noise, config, dtype):
    model = randomise(UNet2DConditionModel(**config), seed,
                      gains=(*UNET_GAINS, ("add_k_proj", 1.5), ("add_v_proj", 1.2)))
    return round_weights(carry_input_through(model, strength, noise), dtype)


def stage_1():
    tokenizer(ONE / "tokenizer")
    encoder(ONE / "text_encoder")
    config = {**STAGE_1, "sample_size": 16, "encoder_hid_dim": 32, "block_out_channels": [16, 16],
              "norm_num_groups": 8}
    write_json(ONE / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                          "_diffusers_version": "0.16.0.dev0", **config})
    save(ONE / "unet/diffusion_pytorch_model.safetensors",
         random_unet(802, 0.1, 0.15, config, torch.bfloat16), torch.bfloat16)
    write_json(ONE / "scheduler/scheduler_config.json", IF_STAGE_1)
    write_json(ONE / "model_index.json", {
        "_class_name": "IFPipeline", "_diffusers_version": "0.16.0.dev0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["deepfloyd_if", "IFSafetyChecker"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "watermarker": ["deepfloyd_if", "IFWatermarker"]})


def stage_2():
    # attention on the coarse level alone, as in the real one: it is quick
    config = {**STAGE_2, "sample_size": 32, "encoder_hid_dim": 32, "block_out_channels": [16, 16],
              "norm_num_groups": 8, "only_cross_attention": False,
              "down_block_types": STAGE_1["down_block_types"],
              "up_block_types": STAGE_1["up_block_types"]}
    write_json(TWO / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                          "_diffusers_version": "0.16.0.dev0", **config})
    save(TWO / "unet/diffusion_pytorch_model.fp16.safetensors",
         random_unet(803, 0.1, 0.15, config, torch.float16), torch.float16)
    write_json(TWO / "scheduler/scheduler_config.json", IF_STAGE_2)
    write_json(TWO / "image_noising_scheduler/scheduler_config.json",
               {k: v for k, v in IF_STAGE_2.items() if k != "variance_type"})
    write_json(TWO / "model_index.json", {
        "_class_name": "IFSuperResolutionPipeline", "_diffusers_version": "0.16.0.dev0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_noising_scheduler": ["diffusers", "DDPMScheduler"],
        "safety_checker": ["deepfloyd_if", "IFSafetyChecker"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": [None, None], "tokenizer": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "watermarker": ["deepfloyd_if", "IFWatermarker"]})


DDIM_UPSCALER = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0",
                 "beta_end": 0.02, "beta_schedule": "scaled_linear", "beta_start": 0.0001,
                 "clip_sample": False, "num_train_timesteps": 1000,
                 "prediction_type": "v_prediction", "set_alpha_to_one": False, "steps_offset": 1,
                 "skip_prk_steps": True, "trained_betas": None}
DDPM_LOW_RES = {"_class_name": "DDPMScheduler", "_diffusers_version": "0.8.0",
                "beta_end": 0.02, "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001,
                "clip_sample": True, "num_train_timesteps": 1000, "prediction_type": "epsilon",
                "trained_betas": None, "variance_type": "fixed_small"}


def stage_3():
    write_tokenizer(THREE / "tokenizer", clip_merges()[:MERGES], 16, pad="!")
    config = {"hidden_act": "gelu", "hidden_size": 16, "intermediate_size": 32,
              "max_position_embeddings": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    write_json(THREE / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], "bos_token_id": 0, "eos_token_id": 2,
        "model_type": "clip_text_model", "pad_token_id": 1, "vocab_size": 602, **config})
    save(THREE / "text_encoder/model.safetensors", text_encoder(804, torch.float16, **config),
         torch.float16)
    config = {"act_fn": "silu", "attention_head_dim": 2, "block_out_channels": [16, 16],
              "cross_attention_dim": 16, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
              "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 7, "layers_per_block": 1,
              "norm_num_groups": 8, "num_class_embeds": 128, "only_cross_attention": [False, True],
              "out_channels": 4, "sample_size": 32, "use_linear_projection": True,
              "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}
    model = randomise(UNet2DConditionModel(**config), 805, gains=UNET_GAINS)
    write_json(THREE / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                            "_diffusers_version": "0.8.0", **config})
    with torch.no_grad():
        model.conv_out.weight *= 0.5
    save(THREE / "unet/diffusion_pytorch_model.safetensors", model, torch.float16)
    config = {"act_fn": "silu", "block_out_channels": [8, 8, 8], "down_block_types":
              ["DownEncoderBlock2D"] * 3, "in_channels": 3, "latent_channels": 4,
              "layers_per_block": 1, "norm_num_groups": 4, "out_channels": 3, "sample_size": 32,
              "scaling_factor": 0.08333, "up_block_types": ["UpDecoderBlock2D"] * 3}
    write_json(THREE / "vae/config.json", {"_class_name": "AutoencoderKL",
                                           "_diffusers_version": "0.8.0", **config})
    save(THREE / "vae/diffusion_pytorch_model.safetensors", vae(806, torch.float16, **config),
         torch.float16)
    write_json(THREE / "scheduler/scheduler_config.json", DDIM_UPSCALER)
    write_json(THREE / "low_res_scheduler/scheduler_config.json", DDPM_LOW_RES)
    write_json(THREE / "model_index.json", {
        "_class_name": "StableDiffusionUpscalePipeline", "_diffusers_version": "0.8.0",
        "low_res_scheduler": ["diffusers", "DDPMScheduler"], "max_noise_level": 350,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


# ---- what diffusers makes ------------------------------------------------------------------------


def load():
    common = {"torch_dtype": torch.float32, "local_files_only": True}
    without = {"safety_checker": None, "feature_extractor": None, "watermarker": None,
               "requires_safety_checker": False}
    one = IFPipeline.from_pretrained(ONE, **common, **without)
    two = IFSuperResolutionPipeline.from_pretrained(TWO, variant="fp16", **common, **without)
    three = StableDiffusionUpscalePipeline.from_pretrained(THREE, **common)
    for pipe in (one, two, three):
        pipe.set_progress_bar_config(disable=True)
    return one, two, three


def encode(pipe, prompt):
    """ids and the conditionings of all layers: the raw states, normed once each."""
    text = pipe._text_preprocessing(prompt, clean_caption=False)
    inputs = pipe.tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True,
                            return_tensors="pt")
    e = pipe.text_encoder
    trace = Trace(e.encoder.block)
    with torch.no_grad():
        first = e.encoder.embed_tokens(inputs.input_ids)
        last = e(inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state
        trace.close()
        conditionings = [e.encoder.final_layer_norm(h) for h in [first, *trace.states]]
    assert torch.equal(conditionings[-1], last)
    assert torch.equal(last, pipe.encode_prompt(prompt, False, clean_caption=False)[0])
    return inputs.input_ids, [c.detach() for c in conditionings]


def with_sampler(pipe, sampler, config):
    """As a user of diffusers must: other samplers than ddpm take no learned variance."""
    extra = {} if sampler in (None, "ddpm") else {"variance_type": "fixed_small"}
    pipe.scheduler = (SAMPLERS[sampler] if sampler else DDIMScheduler).from_config({**config, **extra})


def run(pipes, conditioning, negative, sampler, height=16, width=16, timesteps=None,
        guidance=GUIDANCE, stages=2, change=0.0, eta=0.0):
    """Pictures of the stages, in [-1, 1]; `change` disturbs the start of the first."""
    one, two, three = pipes
    g = generator(SEED)
    states = {"prompt_embeds": conditioning, "guidance_scale": guidance, "generator": g,
              "output_type": "pt", "eta": eta}
    if guidance > 1:
        states["negative_prompt_embeds"] = negative
    steps = {"timesteps": timesteps} if timesteps else {"num_inference_steps": STEPS}
    with_sampler(one, sampler, IF_STAGE_1)
    with_sampler(two, sampler, IF_STAGE_2)
    start = IFPipeline.prepare_intermediate_images

    def disturbed(batch, channels, h, w, dtype, device, generator):
        x = start(one, batch, channels, h, w, dtype, device, generator)
        return x + change * randn(9, *x.shape)

    one.prepare_intermediate_images = disturbed
    pictures = [one(height=height, width=width, **steps, **states).images]
    if stages > 1:
        pictures.append(two(image=pictures[0], height=2 * height, width=2 * width, **steps,
                            **states).images)
    if stages > 2:
        with_sampler(three, sampler, DDIM_UPSCALER)
        pictures.append(three(prompt=PROMPT, negative_prompt=NEGATIVE if guidance > 1 else None,
                              image=pictures[1], noise_level=100, num_inference_steps=STEPS,
                              guidance_scale=guidance, generator=g, eta=eta,
                              output_type="pt").images * 2 - 1)
    return pictures


def pixels(picture):
    """As the pipelines' output_type "pil" has them."""
    image = (picture[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    return torch.from_numpy((image * 255).round().astype(np.uint8))


def keep(tensors, key, pictures, with_pixels=False):
    for i, p in enumerate(pictures):
        tensors[f"{key}.stage.{i + 1}"] = p
        if with_pixels:
            tensors[f"{key}.stage.{i + 1}.pixels"] = pixels(p)


def cascade(pipes):
    ids, conditionings = encode(pipes[0], PROMPT)
    negative_ids, others = encode(pipes[0], NEGATIVE)
    negative, L = others[-1], len(conditionings) - 1
    tensors = {"prompt": text_tensor(PROMPT), "negative": text_tensor(NEGATIVE), "ids": ids,
               "negative.ids": negative_ids}
    for k, c in enumerate(conditionings):
        tensors[f"cond.{k}"] = c
    print("ids", ids[0, :24].tolist())
    for k in (0, L // 2, L):
        for sampler in ("ddpm", "ddim", "dpm++2m", "euler"):
            if sampler != "ddpm" and k != L // 2:
                continue
            a = run(pipes, conditionings[k], negative, sampler)
            b = run(pipes, conditionings[k], negative, sampler, change=1e-3)
            growth = [((x - y).std() / 1e-3).item() for x, y in zip(a, b)]
            print(f"{sampler} layer {k}: std {[round(x.std().item(), 2) for x in a]}, "
                  f"growth {[round(x, 1) for x in growth]}", flush=True)
            assert max(growth) < 40, "a chaotic run"
            keep(tensors, f"{sampler}.layer.{k}", a, sampler == "ddpm")
    shown = [tensors[f"ddpm.layer.{k}.stage.2"] for k in (0, L // 2, L)]
    print("difference of the layers' pictures",
          [round((a - shown[-1]).std().item(), 3) for a in shown[:-1]])
    middle = conditionings[L // 2]
    keep(tensors, "wide.layer.2", run(pipes, middle, negative, "ddpm", 16, 24))
    keep(tensors, "guidance-1.layer.2", run(pipes, middle, negative, "ddpm", guidance=1.0))
    keep(tensors, "eta-1.layer.2", run(pipes, middle, negative, "ddim", eta=1.0))
    keep(tensors, "fast27.layer.2",
         run(pipes, middle, negative, "ddpm", timesteps=fast27_timesteps))
    for sampler in ("ddpm", "ddim"):
        pictures = run(pipes, middle, negative, sampler, stages=3)
        print(f"{sampler} stage 3: std {pictures[2].std():.2f}")
        tensors[f"upscaled.{sampler}.layer.2.stage.3"] = pictures[2].half()
    return tensors


def t5_in_stable_diffusion(pipes, tensors):
    """tiny-sd1 with the cascade's encoder and tokenizer, with and without the mask."""
    base = StableDiffusionPipeline.from_pretrained(
        DATA / "tiny-sd1", torch_dtype=torch.float32, safety_checker=None, feature_extractor=None,
        local_files_only=True)
    pipe = StableDiffusionPipeline(base.vae, pipes[0].text_encoder, pipes[0].tokenizer, base.unet,
                                   DDIMScheduler.from_config(base.scheduler.config), None, None,
                                   requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    for name, mask in (("no-mask", False), ("mask", True)):
        pipe.text_encoder.config.use_attention_mask = mask
        tensors[f"sd.{name}.latents"] = pipe(
            "a red cat", negative_prompt=NEGATIVE, guidance_scale=5.0, width=64, height=64,
            num_inference_steps=STEPS, generator=generator(SEED), output_type="latent").images
    print("mask makes a difference of",
          (tensors["sd.mask.latents"] - tensors["sd.no-mask.latents"]).std().item())


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    stage_1()
    stage_2()
    stage_3()
    pipes = load()
    tensors = cascade(pipes)
    t5_in_stable_diffusion(pipes, tensors)
    write_tensors(FOLDER / "expected.safetensors", tensors)


if __name__ == "__main__":
    main()
