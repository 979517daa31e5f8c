"""Where a denoiser should look: a loss on its cross attention, for pictures of which it is known what stands where.

A denoiser that reads a sentence about two things from all its tokens at once learns to draw both places sharply long before it
learns which thing belongs where: the same noun appears twice. The loss says so directly. With A_l [B, Q, T] the attention of
layer l, the mean over its heads, r_k [B, Q] the share of cell q that thing k covers, and S_k the tokens that name it and its
colour,

    focus = mean over l of  sum_k sum_q r_k[q] (-log sum_{t in S_k} A_l[q, t]) / sum_k sum_q r_k[q]

A query has to find its thing's tokens. It is asked of the first layer of the level with 6 x 6 cells on the way down and on
the way up, which a denoiser trained without it hardly uses; the others are free to read the rest of the sentence, such as the
background and how the things stand. Drawing needs nothing of this: the trained denoiser is a plain UNet2DConditionModel. The
idea is that of TokenCompose (arXiv 2312.03626), whose loss is taken per token, normalised over the picture, and whose regions
are found by segmenting real pictures.
"""
from __future__ import annotations

import functools

import numpy as np
import torch

import models
import world
from world import Scene

SIDE = 6                    # cells a side of the level of LAYERS
THINGS = 2
LAYERS = ("down_blocks.1.attentions.0", "up_blocks.1.attentions.0")


class Words:
    """Numbers of tokens of words: neither tokenizer joins pieces across a space."""

    def __init__(self, encoder: str, work):
        self.tokenizer = models.clip_tokenizer(work) if encoder == "clip" else models.t5_tokenizer(work)
        self.first = 1 if encoder == "clip" else 0          # tokens before the first word
        self.count = functools.lru_cache(None)(lambda word: len(self.tokenizer(word)["input_ids"]) - 1 - self.first)


def owner(words: list[str], at: int, scene: Scene) -> int:
    """The thing that word `at` names or colours, -1 for none."""
    names, colours = [t.name for t in scene.things], [t.colour for t in scene.things]
    word = words[at]
    if word in names:
        return names.index(word)
    ground = words[at + 1:at + 2] == ["background"] or words[max(at - 2, 0):at] == ["background", "is"]
    if ground or word not in world.TINTS or words[max(at - 1, 0):at] == ["not"]:
        return -1
    if words[at + 1:at + 2] and words[at + 1] in names:
        return names.index(words[at + 1])
    return colours.index(word) if colours.count(word) == 1 else -1


def spans(text: str, scene: Scene, words: Words) -> np.ndarray:
    """bool [THINGS, TOKENS]: the tokens that name or colour each thing."""
    parts, out, token = text.split(" "), np.zeros((THINGS, models.TOKENS), bool), words.first
    bare = [p.rstrip(",") for p in parts]
    for at, part in enumerate(parts):
        thing = owner(bare, at, scene)
        if thing >= 0:
            out[thing, token:token + words.count(bare[at])] = True
        token += words.count(part)
    return out


@functools.lru_cache(None)
def _shares(relation: str, boxes: tuple) -> np.ndarray:
    owners = np.full((world.RES, world.RES), -1)
    for i in world.order(relation, len(boxes)):
        x, y, size = boxes[i]
        owners[max(y, 0):y + size, max(x, 0):x + size] = i
    cell = world.RES // SIDE
    return np.stack([(owners == k).reshape(SIDE, cell, SIDE, cell).mean((1, 3)).ravel() for k in range(THINGS)])


def shares(scene: Scene) -> np.ndarray:
    """[THINGS, SIDE^2]: of each cell, the share that each thing covers."""
    return _shares(scene.relation, tuple(world.boxes(scene)))


def loss(maps, tokens: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """maps: [B, Q, T] of each of LAYERS; tokens: 0 or 1 [B, THINGS, T]; cells: [B, THINGS, Q]."""
    found = [torch.einsum("bqt,bkt->bkq", attention, tokens.to(attention.dtype)) for attention in maps]
    return torch.stack([(cells * -f.clamp_min(1e-4).log()).sum() / cells.sum().clamp_min(1) for f in found]).mean()
