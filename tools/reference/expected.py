"""What transformers and diffusers compute with the tiny models: tests/data/expected/MODEL-*.

Every model folder is loaded by the libraries' own loaders, in f32. For each model:
  MODEL-text.safetensors   ids, hidden states, conditionings, pooled vectors
  MODEL-unet.safetensors   calls of the UNet, one of them with the output of every block
  MODEL-vae.safetensors    decoded latents
  MODEL-e2e.safetensors    whole runs of the pipeline: final latents and 8-bit pixels
tests/data/README.md describes the tensors.
"""

import logging
import warnings

import torch
from diffusers import (AutoencoderKL, AutoencoderTiny, DDIMScheduler, DDPMScheduler,
                       DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
                       EulerDiscreteScheduler, LatentConsistencyModelPipeline, LCMScheduler,
                       StableDiffusionPipeline)

from common import DATA, EXPECTED, generator, randn, text_tensor, write_json, write_tensors
from tiny_models import EULER_TURBO

warnings.filterwarnings("ignore")
for name in ("transformers", "diffusers"):
    logging.getLogger(name).setLevel(logging.ERROR)

SAMPLERS = {
    "ddim": DDIMScheduler, "dpm++2m": DPMSolverMultistepScheduler, "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler, "lcm": LCMScheduler, "ddpm": DDPMScheduler,
}

PROMPTS = [
    "a red cat in the rain, oil painting",
    "",
    "blurry!",
    "Ein Bär trägt 12 Äpfel; naïve CAFÉ's  \t “quotes” — ½ Ⅷ",
    "雨の中の猫 🐈‍⬛👩🏽‍🚀 नमस्ते ไทย",
    "<|startoftext|>the <|endoftext|>end<|ENDOFTEXT|> <|StartOfText|> !!",
    "İSTANBUL ΣΑΣ cafe\u0301 \u00a0\u2003x\u200by\u0085z",
    "the quick brown fox jumps over the lazy dog, " * 12,
]
# Every layer is kept of the first prompt, the last conditioning of the first three.

SEED, GUIDANCE, STEPS = 7, 7.5, 5


# ---- text ----------------------------------------------------------------------------------------


def encode(pipe, prompt):
    """ids, all hidden states, their conditionings (final layer norm on each), pooled."""
    tokenizer = pipe.tokenizer
    ids = tokenizer(prompt, padding="max_length", truncation=True,
                    max_length=tokenizer.model_max_length, return_tensors="pt").input_ids
    encoder = pipe.text_encoder
    with torch.no_grad():
        out = encoder(ids, output_hidden_states=True)
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        conditionings = [norm(h) for h in out.hidden_states]
    assert torch.equal(conditionings[-1], out.last_hidden_state)
    return ids, out.hidden_states, conditionings, out.pooler_output


class Skipped(torch.nn.Module):
    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


def text(pipe, name):
    tensors = {}
    for p, prompt in enumerate(PROMPTS):
        ids, hidden, conditionings, pooled = encode(pipe, prompt)
        key = f"prompt.{p}."
        tensors[key + "text"] = text_tensor(prompt)
        tensors[key + "ids"] = ids
        tensors[key + "pooled"] = pooled
        if p < 3:
            tensors[f"{key}cond.{len(hidden) - 1}"] = conditionings[-1]
        if p == 0:
            for k, (h, c) in enumerate(zip(hidden, conditionings)):
                tensors[f"{key}hidden.{k}"] = h
                tensors[f"{key}cond.{k}"] = c
    layers = getattr(pipe.text_encoder, "text_model", pipe.text_encoder).encoder.layers
    kept, layers[1] = layers[1], Skipped()  # --skip-layer 2
    _, hidden, _, _ = encode(pipe, PROMPTS[0])
    layers[1] = kept
    for k in range(2, len(hidden)):
        tensors[f"skip.2.prompt.0.hidden.{k}"] = hidden[k]
    write_tensors(EXPECTED / f"{name}-text.safetensors", tensors)


# ---- UNet ----------------------------------------------------------------------------------------


def traced(unet, tensors, prefix):
    """Hooks that keep what each part of the UNet returns."""
    parts = [("conv_in", unet.conv_in), ("time_embedding", unet.time_embedding)]
    parts += [(f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)]
    parts += [("mid_block", unet.mid_block)]
    parts += [(f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks)]
    parts += [("conv_norm_out", unet.conv_norm_out), ("conv_out", unet.conv_out)]

    def keep(part):
        def hook(_, __, out):
            tensors[f"{prefix}{part}"] = (out[0] if isinstance(out, tuple) else out).clone()
        return hook

    return [module.register_forward_hook(keep(part)) for part, module in parts]


def unet_calls(pipe, name):
    unet = pipe.unet
    conditionings = encode(pipe, PROMPTS[0])[2]
    states = torch.cat([conditionings[1], conditionings[-1]])
    tensors = {"states": states}
    extra = {}
    if unet.config.time_cond_proj_dim:
        guidance = torch.tensor([GUIDANCE - 1, 2.0])
        embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
            None, guidance, embedding_dim=unet.config.time_cond_proj_dim)
        tensors["guidance_scale"] = guidance + 1
        tensors["timestep_cond"] = embedding
        extra = {"timestep_cond": embedding}
    # call name: batch, height, width, timestep
    calls = {"square": (2, 8, 8, 981), "odd": (2, 7, 9, 501), "fraction": (2, 8, 4, 120.6875),
             "tiny": (2, 1, 3, 0)}
    with torch.no_grad():
        for i, (call, (batch, h, w, timestep)) in enumerate(calls.items()):
            sample = randn(400 + i, batch, unet.config.in_channels, h, w)
            hooks = traced(unet, tensors, "odd.block.") if call == "odd" else []
            out = unet(sample, timestep, encoder_hidden_states=states, **extra).sample
            for hook in hooks:
                hook.remove()
            tensors[f"{call}.sample"] = sample
            tensors[f"{call}.timestep"] = torch.tensor([float(timestep)])
            tensors[f"{call}.output"] = out
    write_tensors(EXPECTED / f"{name}-unet.safetensors", tensors)


# ---- VAE -----------------------------------------------------------------------------------------


def decode(vae, latents):
    """Latents as the sampler leaves them, to an image in about [-1, 1]."""
    config = vae.config
    latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0)
    with torch.no_grad():
        return vae.decode(latents).sample


def vae_calls(pipe, name):
    tensors = {}
    for i, (h, w) in enumerate([(8, 8), (5, 3)]):
        scale = pipe.vae.config.scaling_factor
        latents = randn(500 + i, 1, pipe.vae.config.latent_channels, h, w)
        latents *= 1.0 if scale < 1 else 2.0
        tensors[f"{h}x{w}.latents"] = latents
        tensors[f"{h}x{w}.image"] = decode(pipe.vae, latents)
    write_tensors(EXPECTED / f"{name}-vae.safetensors", tensors)


# ---- whole runs ----------------------------------------------------------------------------------


def pixels(pipe, latents):
    image = pipe.image_processor.postprocess(decode(pipe.vae, latents), output_type="np")
    return torch.from_numpy((image[0] * 255).round().astype("uint8"))


def run(pipe, conditioning, negative, sampler, width, height, steps=STEPS, guidance=GUIDANCE,
        trace=None, **options):
    """One run from seed SEED; also says how much it multiplies a small change of its start."""
    original = pipe.scheduler
    pipe.scheduler = SAMPLERS[sampler].from_config(original.config)
    shape = (1, pipe.unet.config.in_channels, height // 8, width // 8)

    def keep(_, __, ___, values):
        if trace is not None:
            trace.append(values["latents"].clone())
        return values

    def go(change):
        g = generator(SEED)
        start = torch.randn(shape, generator=g) + change * randn(9, *shape)
        extra = dict(options)
        if not isinstance(pipe, LatentConsistencyModelPipeline):
            extra["negative_prompt_embeds"] = negative
        return pipe(prompt_embeds=conditioning, guidance_scale=guidance, num_inference_steps=steps,
                    width=width, height=height, latents=start, generator=g, output_type="latent",
                    callback_on_step_end=None if change else keep, **extra).images

    latents, other = go(0.0), go(1e-3)
    growth = ((latents - other).std() / latents.std() / 1e-3).item()
    pipe.scheduler = original
    assert growth < 15, f"{sampler}: a chaotic run (growth {growth})"
    return latents


def psnr(a, b):
    return -10 * torch.log10(((a.float() - b.float()) / 255).square().mean().clamp_min(1e-10)).item()


def whole_runs(pipe, name, runs, steps=STEPS):
    """runs: (layers, sampler, width, height, keep pixels)"""
    conditionings = encode(pipe, PROMPTS[0])[2]
    negative = encode(pipe, PROMPTS[2])[2][-1]
    L = len(conditionings) - 1
    tensors, shown = {}, {}
    for layers, sampler, width, height, with_pixels in runs:
        for k in layers:
            trace = []
            latents = run(pipe, conditionings[k], negative, sampler, width, height, steps=steps,
                          trace=trace)
            key = f"{sampler}.{width}x{height}.layer.{k}."
            tensors[key + "latents"] = latents
            shown[key] = pixels(pipe, latents)
            if with_pixels:
                tensors[key + "pixels"] = shown[key]
            if k == L and width != height:
                tensors[key + "steps"] = torch.cat(trace)
    same = [v for k, v in shown.items() if k.startswith(f"{runs[0][1]}.64x64")]
    print(f"{name}: PSNR of the layers' pictures to the last layer's:",
          [round(psnr(p, same[-1]), 1) for p in same[:-1]])
    return tensors, conditionings, negative


def stable_diffusion(name, variant):
    pipe = StableDiffusionPipeline.from_pretrained(
        DATA / name, variant=variant, torch_dtype=torch.float32, safety_checker=None,
        feature_extractor=None, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    text(pipe, name)
    unet_calls(pipe, name)
    vae_calls(pipe, name)
    L = pipe.text_encoder.config.num_hidden_layers
    some = [0, L // 2, L]
    tensors, conditionings, negative = whole_runs(pipe, name, [
        (some, "ddim", 64, 64, True), ([L // 2, L], "dpm++2m", 64, 64, True),
        ([L // 2, L], "euler", 64, 64, True), ([L // 2], "euler-a", 64, 64, False),
        ([L // 2], "ddpm", 64, 64, False), ([L // 2], "lcm", 64, 64, False),
        ([1, L], "ddim", 72, 56, True), ([1, L], "dpm++2m", 72, 56, False),
        ([1, L], "euler", 72, 56, False), ([1, L], "euler-a", 72, 56, False)])

    # What the user types must give the last layer's picture.
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    latents = pipe(PROMPTS[0], negative_prompt=PROMPTS[2], guidance_scale=GUIDANCE, width=64,
                   height=64, num_inference_steps=STEPS, generator=generator(SEED),
                   output_type="latent").images
    assert torch.equal(latents, tensors[f"ddim.64x64.layer.{L}.latents"])

    # One of a kind: no guidance, eta, the raw hidden state, an empty negative prompt, 20 steps.
    middle, raw = conditionings[L // 2], encode(pipe, PROMPTS[0])[1]
    empty = encode(pipe, "")[2][-1]
    one = {
        "guidance-1": (middle, negative, {"guidance": 1.0}),
        "guidance-3": (middle, negative, {"guidance": 3.0}),
        "eta-0.5": (middle, negative, {"eta": 0.5}),
        "norm-none": (raw[1], negative, {}),
        "negative-empty": (middle, empty, {}),
        "steps-20": (middle, negative, {"steps": 20}),
        "steps-1": (middle, negative, {"steps": 1}),
    }
    for key, (conditioning, other, options) in one.items():
        tensors[f"{key}.latents"] = run(pipe, conditioning, other, "ddim", 64, 64, **options)
    write_tensors(EXPECTED / f"{name}-e2e.safetensors", tensors)
    return pipe, conditionings, negative


def turbo(pipe, conditionings, negative):
    """tiny-sd1 with SD-Turbo's scheduler_config.json: no guidance, 1 and 4 steps."""
    write_json(DATA / "scheduler-turbo/scheduler_config.json", EULER_TURBO)
    pipe.scheduler = EulerDiscreteScheduler.from_config(EULER_TURBO)
    tensors = {}
    for steps in (1, 4):
        for k in (2, len(conditionings) - 1):
            latents = run(pipe, conditionings[k], negative, "euler", 64, 64, steps=steps,
                          guidance=0.0)
            tensors[f"euler.64x64.steps.{steps}.layer.{k}.latents"] = latents
    write_tensors(EXPECTED / "tiny-turbo-e2e.safetensors", tensors)


def consistency():
    name = "tiny-lcm"
    pipe = LatentConsistencyModelPipeline.from_pretrained(
        DATA / name, torch_dtype=torch.float32, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    text(pipe, name)
    unet_calls(pipe, name)
    vae_calls(pipe, name)
    tensors, _, _ = whole_runs(pipe, name, [
        ([0, 1, 2], "lcm", 64, 64, True), ([1, 2], "lcm", 72, 56, False)], steps=4)
    write_tensors(EXPECTED / f"{name}-e2e.safetensors", tensors)


if __name__ == "__main__":
    first = stable_diffusion("tiny-sd1", None)
    turbo(*first)
    stable_diffusion("tiny-sd2", "fp16")
    consistency()
