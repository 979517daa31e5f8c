"""dlens against transformers and diffusers on full-size models: a table of the largest differences.

    python3 conformance.py --work FOLDER [--dlens PROGRAM] [--library FILE] [--models sd15,sd21]

FOLDER gets random models of the size of Stable Diffusion 1.5 (f32, 4.3 GB) and 2.1 (f16, 2.6 GB),
which are made once and kept. The reference runs in f32. Differences are relative to the largest
value of the reference's tensor, pictures are compared in dB (PSNR). `--small` runs all of it on the
tiny models of tests/data instead, in seconds. The exit status is 1 if a limit is exceeded.
"""

import argparse
import ctypes
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler,
                       EulerAncestralDiscreteScheduler, EulerDiscreteScheduler,
                       StableDiffusionPipeline, UNet2DConditionModel)
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from common import DATA, ROOT, clip_merges, generator, randn, randomise
from common import write_json, write_tokenizer
from tiny_models import (DDIM_SD2, DOWN, PNDM_SD1, TEXT_GAINS, UNET_GAINS, UP, carry_input_through,
                         model_index, save)

warnings.filterwarnings("ignore")
for library in ("transformers", "diffusers"):
    logging.getLogger(library).setLevel(logging.ERROR)

SAMPLERS = {"ddim": DDIMScheduler, "dpm++2m": DPMSolverMultistepScheduler,
            "euler": EulerDiscreteScheduler, "euler-a": EulerAncestralDiscreteScheduler}

PROMPTS = ["a photo of an astronaut riding a horse on mars, oil painting", "",
           "Ein Bär in naïve CAFÉ's „Stil“ — 12½ 🐈‍⬛ 雨の中の猫!",
           "the quick brown fox jumps over the lazy dog, " * 12]
NEGATIVE = "blurry, low quality!"
SEED, GUIDANCE = 7, 7.5
RELATIVE_LIMIT, PSNR_LIMIT = 1e-4, 40.0

# ---- full-size models ----------------------------------------------------------------------------

SIZES = {
    "sd15": {
        "seed": 1500, "dtype": torch.float32, "scheduler": PNDM_SD1, "pad": "<|endoftext|>",
        "text": {"hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072,
                 "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768},
        "unet": {"attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64},
    },
    "sd21": {
        "seed": 2100, "dtype": torch.float16, "scheduler": DDIM_SD2, "pad": "!",
        "text": {"hidden_act": "gelu", "hidden_size": 1024, "intermediate_size": 4096,
                 "num_attention_heads": 16, "num_hidden_layers": 23, "projection_dim": 512},
        "unet": {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
                 "sample_size": 96, "upcast_attention": True, "use_linear_projection": True},
    },
}


def build(name, folder):
    """Writes a random full-size model, unless it is there already."""
    done = folder / "complete"
    if done.exists():
        return
    size = SIZES[name]
    dtype, seed = size["dtype"], size["seed"]
    note(f"making {folder}")
    scheduler = size["scheduler"]["_class_name"]
    model_index(folder, "0.10.0", scheduler, "AutoencoderKL", requires_safety_checker=False,
                safety_checker=[None, None])
    write_json(folder / "scheduler/scheduler_config.json", size["scheduler"])
    write_tokenizer(folder / "tokenizer", clip_merges(), 77, pad=size["pad"])

    config = {**size["text"], "max_position_embeddings": 77, "vocab_size": 49408,
              "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    write_json(folder / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **config})
    model = randomise(CLIPTextModel(CLIPTextConfig(**config)), seed, gains=TEXT_GAINS)
    save(folder / "text_encoder/model.safetensors", model, dtype,
         lambda n: n if n.startswith("text_model.") else "text_model." + n)

    config = {"act_fn": "silu", "block_out_channels": [320, 640, 1280, 1280],
              "down_block_types": DOWN, "in_channels": 4, "layers_per_block": 2,
              "norm_num_groups": 32, "out_channels": 4, "up_block_types": UP, **size["unet"]}
    write_json(folder / "unet/config.json", {"_class_name": "UNet2DConditionModel",
                                             "_diffusers_version": "0.10.0", **config})
    model = randomise(UNet2DConditionModel(**config), seed + 1, gains=UNET_GAINS)
    save(folder / "unet/diffusion_pytorch_model.safetensors",
         carry_input_through(model, 0.6, 0.5), dtype)

    config = {"act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
              "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3,
              "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
              "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D"] * 4}
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderKL",
                                            "_diffusers_version": "0.10.0", **config})
    model = randomise(AutoencoderKL(**config), seed + 2, gains=(("decoder.conv_out", 0.45),))
    save(folder / "vae/diffusion_pytorch_model.safetensors", model, dtype)
    done.write_text("made by tools/reference/conformance.py\n")


# ---- dlens ---------------------------------------------------------------------------------------


class Program:
    """The command-line program, by the names of its contract."""

    def __init__(self, path, model):
        self.path, self.model = path, model

    def run(self, command, *arguments):
        command = [str(self.path), command, "-m", str(self.model), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: "
                               f"{done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def padded_ids(self, prompt):
        return json.loads(self.run("tokenize", "--json", "--", prompt))["padded"]

    def encode(self, prompt, folder):
        path = Path(folder) / "states.safetensors"
        self.run("encode", "-q", "-o", path, "--", prompt)
        return load_file(path)

    def lens(self, prompt, layers, sampler, steps, side, folder):
        """{layer: (latents, picture)}"""
        out, latents = Path(folder) / "lens", Path(folder) / "latents.safetensors"
        self.run("lens", "-q", "-o", out, "--overwrite", "--latents", latents,
                 "-l", ",".join(map(str, layers)), "-s", SEED, "--steps", steps,
                 "--sampler", sampler, "--guidance", GUIDANCE, "--size", f"{side}x{side}",
                 "--negative", NEGATIVE, "--", prompt)
        final = load_file(latents)
        files = {i["layer"]: i["file"] for i in
                 json.loads((out / "manifest.json").read_text())["images"]}
        return {k: (final[f"layer.{k}.seed.{SEED}"],
                    np.asarray(Image.open(out / files[k]).convert("RGB"))) for k in layers}


class Library:
    """The few calls of libdlens that the program has no command for."""

    def __init__(self, path, model):
        self.dl = ctypes.CDLL(str(Path(path).resolve()))
        self.dl.dl_message.restype = ctypes.c_char_p
        self.dl.dl_denoise.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t,
            ctypes.c_size_t, ctypes.c_size_t, ctypes.c_double, ctypes.c_void_p, ctypes.c_size_t]
        self.dl.dl_decode.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t] * 2
        self.context, self.model = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.dl.dl_context_new(ctypes.byref(self.context)))
        self.check(self.dl.dl_model_open(self.context, os.fsencode(model),
                                         ctypes.byref(self.model)))

    def check(self, status):
        if status:
            message = self.dl.dl_message(self.context) if self.context else b"out of memory"
            raise RuntimeError(f"libdlens: status {status}: {message.decode()}")

    def denoise(self, latents, timestep, states):
        latents, states = latents.contiguous(), states.contiguous()
        out = torch.empty_like(latents)
        batch, _, h, w = latents.shape
        self.check(self.dl.dl_denoise(self.context, self.model, out.data_ptr(), latents.data_ptr(),
                                      batch, h, w, timestep, states.data_ptr(), states.shape[1]))
        return out

    def decode(self, latents, scale):
        latents = latents.contiguous()
        _, _, h, w = latents.shape
        image = torch.empty(1, 3, h * scale, w * scale)
        self.check(self.dl.dl_decode(self.context, self.model, image.data_ptr(),
                                     latents.data_ptr(), h, w))
        return image

    def close(self):
        self.dl.dl_model_close(self.model)
        self.dl.dl_context_free(self.context)


# ---- comparisons ---------------------------------------------------------------------------------

ROWS, FAILED = [], []


def note(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def row(model, what, value, good):
    ROWS.append((model, what, value, "yes" if good else "**no**"))
    if not good:
        FAILED.append(f"{model}: {what}: {value}")
    note(" | ".join(ROWS[-1]))


def relative(ours, reference):
    """The largest difference over the reference's largest value; NaN and infinity never pass."""
    difference = ((ours.float() - reference).abs().max() / reference.abs().max()).item()
    return difference if math.isfinite(difference) else math.inf


def relative_row(model, what, difference):
    row(model, what, f"{difference:.1e}", difference <= RELATIVE_LIMIT)


def psnr(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def encode(pipe, prompt):
    """ids, hidden states, conditionings."""
    ids = pipe.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt",
                         max_length=pipe.tokenizer.model_max_length).input_ids
    encoder = pipe.text_encoder
    with torch.no_grad():
        hidden = encoder(ids, output_hidden_states=True).hidden_states
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        return ids, hidden, [norm(h) for h in hidden]


def compare_ids(name, pipe, program):
    equal = sum(program.padded_ids(p) == encode(pipe, p)[0][0].tolist() for p in PROMPTS)
    row(name, "token ids", f"{equal} of {len(PROMPTS)} prompts equal", equal == len(PROMPTS))


def compare_text(name, pipe, program):
    worst = {"hidden": (0.0, 0), "cond": (0.0, 0)}
    for prompt in PROMPTS:
        _, hidden, conditionings = encode(pipe, prompt)
        with tempfile.TemporaryDirectory() as folder:
            ours = program.encode(prompt, folder)
        for kind, all_layers in (("hidden", hidden), ("cond", conditionings)):
            for k, reference in enumerate(all_layers):
                worst[kind] = max(worst[kind], (relative(ours[f"{kind}.{k}"], reference), k))
    for kind, what in (("hidden", "hidden states"), ("cond", "conditionings")):
        difference, k = worst[kind]
        relative_row(name, f"{what}, all layers (worst: {k})", difference)


def compare_unet(name, pipe, library, side):
    states = torch.cat([encode(pipe, p)[2][-1] for p in (NEGATIVE, PROMPTS[0])])
    for timestep in (981.0, 21.0):
        latents = randn(11, 2, pipe.unet.config.in_channels, side // 8, side // 8)
        with torch.no_grad():
            reference = pipe.unet(latents, timestep, encoder_hidden_states=states).sample
        ours = library.denoise(latents, timestep, states)
        relative_row(name, f"one UNet call, batch 2, {side}x{side}, t = {timestep:.0f}",
                     relative(ours, reference))


def compare_vae(name, pipe, library, side):
    latents = randn(12, 1, pipe.vae.config.latent_channels, side // 8, side // 8)
    with torch.no_grad():
        reference = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    relative_row(name, f"VAE decode, {side}x{side}",
                 relative(library.decode(latents, pipe.vae_scale_factor), reference))


def reference_picture(pipe, conditioning, negative, sampler, steps, side):
    original = pipe.scheduler
    pipe.scheduler = SAMPLERS[sampler].from_config(original.config)
    out = pipe(prompt_embeds=conditioning, negative_prompt_embeds=negative, width=side,
               height=side, guidance_scale=GUIDANCE, num_inference_steps=steps,
               generator=generator(SEED), output_type="latent").images
    pipe.scheduler = original
    with torch.no_grad():
        image = pipe.vae.decode(out / pipe.vae.config.scaling_factor).sample
    image = pipe.image_processor.postprocess(image, output_type="np")[0]
    return out, (image * 255).round().astype(np.uint8)


def compare_pictures(name, pipe, program, samplers, steps, side):
    _, _, conditionings = encode(pipe, PROMPTS[0])
    negative = encode(pipe, NEGATIVE)[2][-1]
    L = len(conditionings) - 1
    layers = [L // 2, L]
    for sampler in samplers:
        note(f"{name}: {sampler}, {steps} steps, {side}x{side}")
        references = {k: reference_picture(pipe, conditionings[k], negative, sampler, steps, side)
                      for k in layers}
        with tempfile.TemporaryDirectory() as folder:
            ours = program.lens(PROMPTS[0], layers, sampler, steps, side, folder)
        apart = psnr(references[layers[0]][1], references[L][1])
        for k in layers:
            what = "last layer" if k == L else f"layer {k}"
            like = psnr(ours[k][1], references[k][1])
            latents = relative(ours[k][0], references[k][0])
            row(name, f"picture, {sampler}, {steps} steps, {side}x{side}, {what}",
                f"{like:.1f} dB (latents {latents:.0e}; the two layers' pictures: {apart:.1f} dB)",
                like >= PSNR_LIMIT and apart < PSNR_LIMIT)


def load(folder):
    variant = "fp16" if list((folder / "vae").glob("*.fp16.safetensors")) else None
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, variant=variant, torch_dtype=torch.float32, safety_checker=None,
        feature_extractor=None, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def compare(name, folder, options):
    note(f"{name}: loading")
    pipe = load(folder)
    program, library = Program(Path(options.dlens).resolve(), folder), Library(options.library, folder)
    small = options.small
    try:
        compare_ids(name, pipe, program)
        compare_text(name, pipe, program)
        compare_unet(name, pipe, library, 64 if small else options.side)
        compare_vae(name, pipe, library, 64 if small else 512)
    finally:
        library.close()
    compare_pictures(name, pipe, program, options.samplers.split(","), options.steps,
                     64 if small else options.side)
    if not small:
        compare_pictures(name, pipe, program, ["ddim"], 2, 512)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="where the full-size models are made and kept")
    parser.add_argument("--dlens", type=Path, default=ROOT / "dlens")
    parser.add_argument("--library", type=Path, default=ROOT / "libdlens.so")
    parser.add_argument("--models", default="sd15,sd21")
    parser.add_argument("--samplers", default="ddim,dpm++2m,euler")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--small", action="store_true", help="the tiny models of tests/data")
    parser.add_argument("--build-only", action="store_true", help="only make the models")
    options = parser.parse_args()
    if not options.small and not options.work:
        parser.error("--work FOLDER or --small is needed")
    torch.set_num_threads(options.threads)
    if options.small:
        models = {name: DATA / name for name in ("tiny-sd1", "tiny-sd2")}
    else:
        models = {name: options.work / name for name in options.models.split(",")}
        for name, folder in models.items():
            build(name, folder)
    if options.build_only:
        return 0
    for name, folder in models.items():
        compare(name, folder, options)
    print("| model | what | largest difference | within limits |\n| --- | --- | --- | --- |")
    for line in ROWS:
        print("| " + " | ".join(line) + " |")
    print(f"\nLimits: {RELATIVE_LIMIT:g} of the tensor's largest value; {PSNR_LIMIT:g} dB. "
          f"torch {torch.__version__}.")
    for line in FAILED:
        note(f"failed: {line}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
