"""Stage `encode`: seeded chunks of scenes as frozen latents and frozen text states, computed once for all denoiser steps.

Chunk N is WORK/data/NNN-scenes.json (kind, captions), NNN-latents.npy (posterior mean times the scaling factor, f16) and
NNN-clip.npy, NNN-t5.npy (last state as a pipeline makes it, f16, CAPTIONS sentences a scene). Chunks of three kinds: plain
single things, single things with colours and backgrounds, two things. Every file appears under its name only when whole, so
a denoiser may train on what is there while more is made. What is encoded depends on the part: --part latents|clip|t5.
"""
from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import torch
from diffusers import AutoencoderKL

import captions
import common
import models
import world

SCENES, CAPTIONS = 3000, 2
MIDDLE = (1, 1, 0)          # Scene.place
KINDS = {
    "plain": world.Mix(single=1.0, tint=0.0, back=0.0, flat_nouns=0.2),
    "single": world.Mix(single=1.0, tint=0.65, back=0.3, flat_nouns=0.15),
    "pair": world.Mix(single=0.0, tint=0.65, back=0.12, flat_nouns=0.1),
}
PATTERN = ("plain", "single", "pair", "pair", "single", "pair", "pair", "pair")     # kind of chunk N: PATTERN[N % 8]


def kind_of(chunk: int) -> str:
    return PATTERN[chunk % len(PATTERN)]


def scenes_of(seed: int, chunk: int):
    """The scenes of a chunk, and the generator that draws their sentences next. Two things stand in the middle place of their
    layout: the sentence then says all about the picture, and what there is to learn is what is drawn."""
    rng, mix = np.random.default_rng([seed, 2403, chunk]), KINDS[kind_of(chunk)]
    scenes = [world.sample_scene(rng, mix) for _ in range(SCENES)]
    return [dataclasses.replace(s, place=MIDDLE) if s.relation else s for s in scenes], rng


def drawing(chunk: int, scenes: list) -> np.ndarray:
    """Weights with which the denoisers draw a chunk's scenes: every noun equally often (of two things: nearly), and one thing
    only in its larger size, which leaves 4 of 13 places to learn."""
    share = KINDS[kind_of(chunk)].flat_nouns
    frequency = (1 - share) * world.NOUN_P + share / len(world.NOUNS)
    return np.array([np.mean([1 / frequency[t.noun] for t in s.things]) if s.relation or world.boxes(s)[0][2] == 72 else 0.0
                     for s in scenes])


def save_array(path, array) -> None:
    temporary = path.with_name(path.stem + ".tmp.npy")
    np.save(temporary, array)
    temporary.replace(path)


@torch.no_grad()
def latents(args, vae, renderer, scenes):
    out = []
    for i in range(0, len(scenes), 10):         # few at a time stay in a core's cache: 0.63 of the time of 50
        x = common.pictures([renderer.render(s) for s in scenes[i:i + 10]], args.device)
        out.append((vae.encode(x).latent_dist.mean * vae.config.scaling_factor).half().cpu().numpy())
    return np.concatenate(out)


def main() -> None:
    p = common.parser(__doc__)
    p.add_argument("--part", choices=("latents", "clip", "t5"), required=True)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--chunks", type=int, default=8)
    p.add_argument("--stage", default="encode", help="the name under which the stage is marked as done")
    args = p.parse_args()
    common.start(args)
    data = args.work / "data"
    data.mkdir(exist_ok=True)
    if args.part == "latents":
        vae = AutoencoderKL.from_pretrained(args.work / "vae" / "model").to(args.device).eval()
        vae.to(memory_format=torch.channels_last)
        renderer = world.Renderer(args.work)
    else:
        encoder = models.TextEncoder(args.part, args.work, args.device)
        empty = data / f"empty-{args.part}.npy"
        if not empty.exists():
            save_array(empty, encoder([""])[0].half().cpu().numpy())
    for chunk in range(args.first, args.first + args.chunks):
        path = data / f"{chunk:03d}-{args.part}.npy"
        if path.exists():
            continue
        scenes, rng = scenes_of(args.seed, chunk)
        texts = [[captions.caption(s, rng) for _ in range(CAPTIONS)] for s in scenes]
        if args.part == "latents":
            array = latents(args, vae, renderer, scenes)
            common.write_json(data / f"{chunk:03d}-scenes.json", dict(kind=kind_of(chunk), captions=texts))
        else:
            flat = [t for pair in texts for t in pair]
            array = np.concatenate([encoder(flat[i:i + 25]).half().cpu().numpy() for i in range(0, len(flat), 25)])
            array = array.reshape(SCENES, CAPTIONS, *array.shape[1:])
        save_array(path, array)
        common.log("encoded", args.part, chunk, kind_of(chunk), array.shape, f"std {array.astype(np.float32).std():.3f}")
    common.finish(args, args.stage)


if __name__ == "__main__":
    sys.exit(main())
