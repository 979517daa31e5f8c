"""Stage `judge`: an independent judge of pictures, and how its answers become figures.

A small convolutional network says for each 8 x 8 cell of a picture which noun stands there (or nothing) and in which tint. It
is trained on other renderings than the denoisers: other icon sets (gradient Fluent, old Noto, Twemoji), any size and place,
jittered colours, blur and noise; it never sees the flat Fluent sprites, the world's layouts, the VAE or the bundled CLIP. How
well it reads true scenes of the world, directly and through the VAE, is measured and reported: the ceiling of all figures.
"""
from __future__ import annotations

import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image, ImageFilter

import captions
import common
import models
import world

SETS, SHARES = ("fluent-emoji", "noto-v1", "twemoji"), (0.6, 0.2, 0.2)
CELLS = world.RES // 8
NOTHING = len(world.NOUNS)                  # the class of empty cells


class Block(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm, self.act = nn.GroupNorm(8, width), nn.SiLU()
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.act(self.conv1(self.act(self.norm(x)))))


class Judge(nn.Module):
    """(B, 3, 96, 96) in [-1, 1] to noun logits (B, nouns + 1, 12, 12) and tint logits (B, 1 + tints, 12, 12)."""

    def __init__(self, width: int = 96):
        super().__init__()
        layers, channels = [], 3
        for c in (32, 64, width):
            layers += [nn.Conv2d(channels, c, 4, 2, 1), nn.GroupNorm(8, c), nn.SiLU()]
            layers += [Block(c, 1)] if c < width else []
            channels = c
        self.stem = nn.Sequential(*layers)
        self.body = nn.Sequential(*(Block(width, d) for d in (1, 2, 1, 2)))
        self.out = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 2 * width, 1), nn.SiLU())
        self.noun = nn.Conv2d(2 * width, NOTHING + 1, 1)
        self.tint = nn.Conv2d(2 * width, len(world.TINTS) + 1, 1)

    def forward(self, x):
        h = self.out(self.body(self.stem(x)))
        return self.noun(h), self.tint(h)


def training_scene(rng, renderer):
    """A picture with one or two things anywhere, and the labels of its cells."""
    if rng.random() < 0.5:
        ground = np.array(world.PLAIN, np.float32)
    else:
        ground = np.array(world.BACKS[world.BACK_NAMES[int(rng.integers(len(world.BACKS)))]], np.float32)
    image = np.empty((world.RES, world.RES, 3), np.float32)
    image[:] = np.clip(ground + rng.normal(0, 8, 3), 0, 255) / 255
    nouns = np.full((CELLS, CELLS), NOTHING)
    tints = np.zeros((CELLS, CELLS), int)
    for _ in range(1 if rng.random() < 0.4 else 2):
        style = int(rng.choice(len(SETS), p=SHARES))
        noun = int(rng.integers(len(world.NOUNS)))
        thing = world.Thing(noun, int(rng.integers(len(world.TINTS))) if rng.random() < 0.5 else -1,
                            style if renderer.present[style][noun] else 0)
        size = int(rng.choice((36, 40, 44, 48, 56, 64, 72, 80)))
        x, y = (int(v) for v in rng.integers(-6, world.RES - size + 7, 2))
        sprite = renderer.sprite(thing, size)
        renderer.paste(image, sprite, x, y)
        cover = np.zeros((world.RES, world.RES, 3), np.float32)
        renderer.paste(cover, np.repeat(sprite[..., 3:], 4, -1), x, y)
        cells = cover[..., 0].reshape(CELLS, 8, CELLS, 8).mean((1, 3)) > 0.35
        nouns[cells], tints[cells] = thing.noun, thing.tint + 1
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.6:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.0))))
    pixels = np.asarray(picture, np.float32) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
    pixels += rng.normal(0, rng.uniform(0, 10), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), nouns, tints


class Reader:
    """The trained judge's reading of pictures."""

    def __init__(self, work, device: str = "cpu"):
        self.net, self.device = Judge().to(device).eval(), device
        self.net.load_state_dict(torch.load(work / "judge" / "model.pt", map_location=device, weights_only=True))

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> list["Reading"]:
        out = []
        for part in x.split(64):
            nouns, tints = self.net(part.to(self.device))
            out += [Reading(n, t) for n, t in zip(nouns.softmax(1).cpu().numpy(), tints.softmax(1).cpu().numpy())]
        return out


class Reading:
    """What the judge sees in one picture. A thing is there if it fills the equivalent of MIN_CELLS cells."""
    MIN_CELLS = 5.0

    def __init__(self, nouns: np.ndarray, tints: np.ndarray):
        self.nouns, self.tints = nouns, tints
        self.mass = nouns[:-1].sum((1, 2))
        self.order = np.argsort(-self.mass)

    def is_single(self, noun: int) -> bool:
        return bool(self.order[0] == noun and self.mass[noun] >= max(self.MIN_CELLS, 0.5 * self.mass.sum()))

    def has_both(self, a: int, b: int) -> bool:
        return {a, b} == set(int(v) for v in self.order[:2]) and min(self.mass[a], self.mass[b]) >= self.MIN_CELLS

    def tint_of(self, noun: int | None) -> int:
        """The tint (-1: natural) of the cells of a noun, or of all things."""
        where = self.nouns[noun] if noun is not None else 1 - self.nouns[-1]
        return int((self.tints * where).sum((1, 2)).argmax()) - 1

    def centre(self, noun: int) -> np.ndarray:
        ys, xs = np.mgrid[0:CELLS, 0:CELLS]
        w = self.nouns[noun]
        return np.array([(xs * w).sum(), (ys * w).sum()]) / max(w.sum(), 1e-6)

    def relation_holds(self, a: int, relation: str, b: int) -> bool:
        if not self.has_both(a, b):
            return False
        dx, dy = self.centre(a) - self.centre(b)
        if relation == "in":
            return max(abs(dx), abs(dy)) < 3.5
        wide, tall = abs(dx) > abs(dy), abs(dy) > abs(dx)
        return bool({"and": True, "left": wide and dx < -2, "right": wide and dx > 2, "above": tall and dy < -2,
                     "below": tall and dy > 2, "on": tall and dy < -1, "under": tall and dy > 1}[relation])


def score(scene: world.Scene, reading: Reading) -> dict:
    """Figures that a scene's picture allows: 1.0 or 0.0 each."""
    a, *rest = scene.things
    out = {}
    if not rest:
        out["noun"] = reading.is_single(a.noun)
        out["noun_rare" if a.noun >= len(world.COMMON) else "noun_common"] = out["noun"]
        if a.tint >= 0:
            out["colour"] = reading.tint_of(None) == a.tint
            out["coloured_noun"] = out.pop("noun")      # recognised in an unusual colour: reported apart
            out.pop("noun_rare", None), out.pop("noun_common", None)
        return {k: float(v) for k, v in out.items()}
    b = rest[0]
    out["both"] = reading.has_both(a.noun, b.noun)
    if a.tint >= 0 and b.tint >= 0:
        out["binding"] = out["both"] and all(reading.tint_of(t.noun) == t.tint for t in (a, b))
    if scene.relation != "and":
        out["relation"] = reading.relation_holds(a.noun, scene.relation, b.noun)
        out["relation_given_both"] = out["relation"] if out["both"] else None
    return {k: float(v) for k, v in out.items() if v is not None}


def mean_scores(scores: list[dict]) -> dict:
    keys = sorted({k for s in scores for k in s})
    return {k: round(float(np.mean([s[k] for s in scores if k in s])), 4) for k in keys}


def ceiling(args, reader: Reader, count: int = 600) -> dict:
    """Figures of true scenes of the world."""
    renderer = world.Renderer(args.work)
    scenes = [s for s, _ in captions.corpus([8, 8], count, world.Mix(single=0.4, tint=0.5, back=0.1, flat_nouns=0.5))]
    pictures = common.pictures([renderer.render(s) for s in scenes], "cpu")
    out = {"true": mean_scores([score(s, r) for s, r in zip(scenes, reader(pictures))])}
    if (args.work / "vae" / "model").exists():
        vae = models.load_vae(args.work)
        with torch.no_grad():
            again = torch.cat([vae.decode(vae.encode(p).latent_dist.mean).sample for p in pictures.split(32)])
        out["through_vae"] = mean_scores([score(s, r) for s, r in zip(scenes, reader(again.clamp(-1, 1)))])
    return out


def main() -> None:
    p = common.parser(__doc__, minutes=12)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=48)
    args = p.parse_args()
    common.start(args)
    folder, net = args.work / "judge", Judge().to(args.device).to(memory_format=torch.channels_last)
    opt, ema = common.optimiser({"judge": net}, args.lr, 0.02), common.Ema(net, 0.998)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0)
    if "net" in state:
        net.load_state_dict(state["net"]), opt.load_state_dict(state["opt"])
        ema.state = state["ema"]
    step, budget, renderer = state["step"], common.Budget(args.device, args.minutes, state["spent"]), \
        world.Renderer(args.work, SETS)
    common.log("judge", common.count(net), "from step", step)
    running, saved = [], budget.spent
    while budget.fraction < 1 and step < args.steps:
        rng = common.rng_for(args, "judge", step)
        images, nouns, tints = zip(*(training_scene(rng, renderer) for _ in range(args.batch)))
        nouns, tints = (torch.from_numpy(np.stack(v)).to(args.device) for v in (nouns, tints))
        with common.autocast(args.device):
            p_noun, p_tint = net(common.pictures(images, args.device))
        what = F.cross_entropy(p_noun.float(), nouns, reduction="none")
        there = (nouns != NOTHING).float()
        loss = what.mean() + (what * there).sum() / there.sum().clamp(min=1)
        loss = loss + (F.cross_entropy(p_tint.float(), tints, reduction="none") * there).sum() / there.sum().clamp(min=1)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step, 50, 0.3))
        opt.step()
        ema.update(net, step)
        hit = ((p_noun.argmax(1) == nouns).float() * there).sum() / there.sum()
        running.append((loss.item(), hit.item()))
        step += 1
        budget.tick()
        if step % 200 == 0:
            common.log(f"judge step {step} spent {budget.spent:.0f}s loss/cells {np.round(np.mean(running, 0), 4)} "
                       f"{step * args.batch / budget.spent:.0f}/s")
            running = []
        if budget.spent - saved > args.checkpoint_every * 60 or budget.fraction >= 1:
            common.save_atomic(dict(net=net.state_dict(), opt=opt.state_dict(), ema=ema.state, step=step,
                                    spent=budget.spent), folder / "last.pt")
            saved = budget.spent
    common.save_atomic(ema.state, folder / "model.pt")
    common.record(args, "judge", samples=step * args.batch, steps=step, seconds=round(budget.spent),
                  parameters=common.count(net), ceiling=ceiling(args, Reader(args.work)))
    common.finish(args, "judge")


if __name__ == "__main__":
    sys.exit(main())
