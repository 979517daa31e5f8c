"""The programs that bench/peers.py compares dlens with. Each runs in a process of its own:

    python3 bench/peer_programs.py NAME MODEL --size 512 --threads 2 --repeats 1

It loads the model, prints a line of JSON about itself when it is ready, and then for each line that
it reads one line with the seconds of each part: "text_encoder" (one prompt), "unet_step" (both
halves of guidance), "vae_decode". A part that is not timed is left out.

    torch, torch-bf16        diffusers and transformers: inference mode, fused attention, the faster
                             memory format of two, measured at the start
    openvino, openvino-bf16  the same modules converted (kept beside the model), latency hint
    sdcpp                    stable-diffusion.cpp through its Python package, flash attention; the
                             times are those of its own log
"""

import argparse
import json
import logging
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "reference"))
PROMPT = "a photo of a dog on a beach"


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def serve(about, parts, repeats):
    """parts: name -> function without arguments. What is done once only is not timed."""
    print(json.dumps(about), flush=True)
    first = True
    for _ in sys.stdin:
        for run in parts.values() if first else ():
            run()
        first = False
        print(json.dumps({name: statistics.median(timed(run) for _ in range(repeats))
                          for name, run in parts.items()}), flush=True)


def prepare(folder, side):
    """The diffusers pipeline and the inputs of one guided step."""
    import torch
    from conformance import load

    warnings.filterwarnings("ignore")
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    pipe = load(folder)
    ids = pipe.tokenizer(PROMPT, padding="max_length", return_tensors="pt",
                         max_length=pipe.tokenizer.model_max_length).input_ids
    g = torch.Generator("cpu").manual_seed(0)
    latents = torch.randn(2, pipe.unet.config.in_channels, side // 8, side // 8, generator=g)
    return pipe, ids, latents


# ---- PyTorch -------------------------------------------------------------------------------------


def torch_parts(folder, side, threads, repeats, dtype):
    import torch

    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    pipe, ids, latents = prepare(folder, side)
    dtype = getattr(torch, dtype)
    for model in (pipe.text_encoder, pipe.unet, pipe.vae):
        model.to(dtype)
    latents = latents.to(dtype)

    def fastest(model, call, inputs):
        """The call in the faster memory format, and that format's name."""
        formats = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
        seconds = {}
        for name, layout in formats.items():
            model.to(memory_format=layout)
            x = inputs.contiguous(memory_format=layout)
            call(x)
            seconds[name] = timed(lambda: call(x))
        name = min(seconds, key=seconds.get)
        model.to(memory_format=formats[name])
        x = inputs.contiguous(memory_format=formats[name])
        return (lambda: call(x)), name

    with torch.inference_mode():
        states = pipe.text_encoder(ids).last_hidden_state.repeat(2, 1, 1)
        unet, unet_format = fastest(
            pipe.unet, lambda x: pipe.unet(x, 500, encoder_hidden_states=states), latents)
        vae, vae_format = fastest(pipe.vae, lambda x: pipe.vae.decode(x), latents[:1])
        about = f"torch {torch.__version__}, UNet {unet_format}, VAE {vae_format}"
        serve({"about": about}, {
            "text_encoder": lambda: pipe.text_encoder(ids, output_hidden_states=True),
            "unet_step": unet, "vae_decode": vae}, repeats)


# ---- OpenVINO ------------------------------------------------------------------------------------


def openvino_convert(folder, side, kept):
    """Writes the three modules as OpenVINO graphs with f32 weights; in a process of its own, as it
    takes several times the memory of the model."""
    import openvino
    import torch

    pipe, ids, latents = prepare(folder, side)
    states = torch.zeros(2, ids.shape[1], pipe.unet.config.cross_attention_dim)

    class Text(torch.nn.Module):
        def forward(self, ids):
            return torch.stack(pipe.text_encoder(ids, output_hidden_states=True).hidden_states)

    class UNet(torch.nn.Module):
        def forward(self, x, t, states):
            return pipe.unet(x, t, encoder_hidden_states=states).sample

    class Decoder(torch.nn.Module):
        def forward(self, x):
            return pipe.vae.decode(x).sample

    kept.mkdir(exist_ok=True)
    for name, wrapper, module, inputs in (
            ("text_encoder", Text, pipe.text_encoder, (ids,)),
            ("unet_step", UNet, pipe.unet, (latents, torch.tensor(500.0), states)),
            ("vae_decode", Decoder, pipe.vae, (latents[:1],))):
        outer = wrapper()
        outer.inner = module
        with torch.no_grad():
            graph = openvino.convert_model(outer.eval(), example_input=inputs,
                                           input=[tuple(x.shape) for x in inputs])
        openvino.save_model(graph, kept / f"{name}.xml", compress_to_fp16=False)


def openvino_parts(folder, side, threads, repeats, precision):
    import numpy as np
    import openvino

    kept = folder.parent / f"{folder.name}-openvino-{side}"
    if not (kept / "vae_decode.xml").exists():
        child = multiprocessing.get_context("spawn").Process(target=openvino_convert,
                                                             args=(folder, side, kept))
        child.start()
        child.join()
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY"}
    rng, runs = np.random.default_rng(0), {}
    for name in ("text_encoder", "unet_step", "vae_decode"):
        model = core.compile_model(kept / f"{name}.xml", "CPU", settings)
        request = model.create_infer_request()
        inputs = [np.full(x.shape, 500, np.int64) if x.element_type.is_integral() else
                  rng.standard_normal(tuple(x.shape), np.float32) for x in model.inputs]
        runs[name] = lambda request=request, inputs=inputs: request.infer(inputs)
        runs[name]()
    serve({"about": f"openvino {openvino.__version__}, {precision}"}, runs, repeats)


# ---- stable-diffusion.cpp ------------------------------------------------------------------------

LOG = {"text_encoder": (r"computing condition graph completed, taking (\d+) ms", 1e-3),
       "unet_step": (r"sampling completed, taking ([\d.]+)s", 1.0),
       "vae_decode": (r"computing vae decode graph completed, taking ([\d.]+)s", 1.0)}


def sdcpp_parts(folder, side, threads, repeats):
    """Its log goes to the file descriptors 1 and 2, which are turned to a file meanwhile."""
    from importlib.metadata import version

    answers = os.fdopen(os.dup(1), "w")
    log = tempfile.TemporaryFile("w+")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    from stable_diffusion_cpp import StableDiffusion

    steps = repeats
    model = StableDiffusion(model_path=str(folder), n_threads=threads, wtype="f32",
                            diffusion_flash_attn=True, verbose=True)
    print(json.dumps({"about": f"stable-diffusion.cpp, package {version('stable-diffusion-cpp-python')}"}),
          file=answers, flush=True)
    for _ in sys.stdin:
        sys.stdout.flush()
        start = os.fstat(log.fileno()).st_size
        model.generate_image(prompt=PROMPT, width=side, height=side, sample_steps=steps,
                             cfg_scale=7.5, seed=0)
        sys.stdout.flush()
        log.seek(start)
        text = log.read()
        found = {name: [float(x) * unit for x in re.findall(pattern, text)]
                 for name, (pattern, unit) in LOG.items()}
        found["unet_step"] = [x / steps for x in found["unet_step"]]
        print(json.dumps({name: statistics.median(x) for name, x in found.items() if x}),
              file=answers, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PROGRAMS)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    o = parser.parse_args()
    run, *more = PROGRAMS[o.name]
    run(o.model, o.size, o.threads, o.repeats, *more)


PROGRAMS = {"torch": (torch_parts, "float32"), "torch-bf16": (torch_parts, "bfloat16"),
            "openvino": (openvino_parts, "f32"), "openvino-bf16": (openvino_parts, "bf16"),
            "sdcpp": (sdcpp_parts,)}

if __name__ == "__main__":
    main()
