"""Stages `unet-clip` and `unet-t5`: the latent denoiser on frozen text states.

v-prediction, 10 % caption dropout, averaged weights, stratified timesteps of which three in four lie in the noisier half: there
the text decides what is drawn (README.md shows by how much). Easy scenes come first: plain single things, then colours and
backgrounds, at last mostly two things. The learning rate is level and falls only in the last part of the budget, so a finished
stage goes on when its budget is raised. Every --evaluate-every minutes the averaged weights are written to WORK/<stage>/model
and judged on a small fixed set of prompts, with a sheet of pictures (WORK/<stage>/sheet.png).

Most of what a denoiser learns are the pictures, which both models share: after TRUNK samples `unet-clip` leaves its weights
in WORK/unet-clip/trunk, and `unet-t5` starts from them (--init) with new keys and values for the text.
"""
from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import NamedTuple

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D

import common
import encode
import focus
import models

TRUNK = 500_000         # samples after which the weights are left for the other denoiser
ADAPT = 200             # steps in which a denoiser that starts from a trunk learns its new keys and values only
EVEN = 0.02             # added to the mean squares of the text states along their axes (in CLIP at most 28, the 72nd 0.02)
TEXT = re.compile(r"attn2\.to_[kv]\.weight$")


class TrainingAttention:
    """Attention as plain matrix products with an f32 softmax: on a CPU faster backwards than the fused kernels. Appends the
    mean over the heads of what it attends to [B, Q, T] to `maps`, where there is one: as a function of its own queries' and
    keys' weights only. Through the states a loss on it would pull at all layers below, and drawing suffers."""

    maps: list | None = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        b, t, c = hidden_states.shape
        heads = lambda x: x.view(b, -1, attn.heads, c // attn.heads).transpose(1, 2)
        k, v = heads(attn.to_k(context)), heads(attn.to_v(context))
        weights = lambda q: ((q @ k.transpose(-1, -2)).float() * (c // attn.heads) ** -0.5).softmax(-1)
        if self.maps is not None:
            self.maps.append(weights(heads(attn.to_q(hidden_states.detach()))).mean(1))
        out = (weights(heads(attn.to_q(hidden_states))).to(v.dtype) @ v).transpose(1, 2).reshape(b, t, c)
        return attn.to_out[0](out)


class Chunk(NamedTuple):
    """What is known of SCENES scenes."""
    latents: np.ndarray         # [SCENES, LATENT, side, side]
    states: np.ndarray          # [SCENES, CAPTIONS, TOKENS, WIDTH]
    weights: np.ndarray         # [SCENES]: how often each is drawn
    tokens: np.ndarray          # [SCENES, CAPTIONS, THINGS, TOKENS]: the words of each thing
    cells: np.ndarray           # [SCENES, THINGS, cells]: the share that each thing covers


class Chunks:
    """Latents and states of the chunks that are complete on disk, by kind; looks again for new ones now and then.

    Scenes are drawn so that every noun comes equally often: how often a noun was seen is then a fact about the text encoder
    alone, and what the lens shows of common and rare nouns is the encoder's doing.

    States c come whitened, as c P with P = (E[c c^T] + EVEN)^(-1/2): CLIP's states tell 64 nouns apart in some twenty directions,
    the next forty are a tenth as long, and a denoiser learns along short directions slowly. `plain` turns its keys and values
    for whitened states into those for plain ones, W P; `whitened` turns them back.
    """

    def __init__(self, args):
        self.data, self.part, self.found, self.seed = args.work / "data", args.encoder, {}, args.seed
        self.empty = torch.from_numpy(np.load(self.data / f"empty-{args.encoder}.npy").astype(np.float32)).to(args.device)
        self.device, self.words = args.device, focus.Words(args.encoder, args.work)
        self.refresh()
        some = [self.found[c].states[::100, 0].reshape(-1, models.WIDTH) for c in sorted(self.found)]
        rows = np.concatenate(some).astype(np.float64)
        lengths, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        root = np.sqrt(lengths + EVEN)
        self.P, self.inverse = (torch.from_numpy(axes * f @ axes.T).float().to(args.device) for f in (1 / root, root))
        self.empty = self.empty @ self.P

    def plain(self, weights: dict) -> dict:
        return {k: v @ self.P if TEXT.search(k) else v for k, v in weights.items()}

    def whitened(self, weights: dict) -> dict:
        return {k: v @ self.inverse if TEXT.search(k) else v for k, v in weights.items()}

    def refresh(self) -> None:
        for path in sorted(self.data.glob("*-latents.npy")):
            match = re.fullmatch(r"(\d+)-latents", path.stem)
            states = match and self.data / f"{match[1]}-{self.part}.npy"
            if states and states.exists() and int(match[1]) not in self.found:
                self.found[int(match[1])] = self.read(int(match[1]), path, states)
        self.kinds: dict = {}
        for chunk in sorted(self.found):
            self.kinds.setdefault(encode.kind_of(chunk), []).append(chunk)
        self.sums = {k: np.cumsum(np.concatenate([self.found[c].weights for c in chunks])) for k, chunks in self.kinds.items()}

    def read(self, number: int, latents, states) -> Chunk:
        said = json.loads((self.data / f"{number:03d}-scenes.json").read_text())["captions"]
        scenes = encode.scenes_of(self.seed, number)[0]
        tokens = [[focus.spans(text, scene, self.words) for text in texts] for texts, scene in zip(said, scenes)]
        return Chunk(np.load(latents, mmap_mode="r"), np.load(states, mmap_mode="r"), encode.drawing(number, scenes),
                     np.array(tokens), np.stack([focus.shares(s) for s in scenes]))

    def batch(self, rng, size: int, shares: dict):
        kinds = [k for k in shares if k in self.kinds]
        weights = np.array([shares[k] for k in kinds])
        counts = rng.multinomial(size, weights / weights.sum())
        rows = []
        for kind, n in zip(kinds, counts):
            scenes = np.searchsorted(self.sums[kind], rng.random(n) * self.sums[kind][-1], side="right")
            for scene, j in zip(scenes, rng.integers(0, encode.CAPTIONS, n)):
                chunk, at = self.found[self.kinds[kind][scene // encode.SCENES]], scene % encode.SCENES
                rows.append((chunk.latents[at], chunk.states[at, j], chunk.tokens[at, j], chunk.cells[at]))
        order = rng.permutation(size)
        x, c, tokens, cells = (torch.from_numpy(np.stack(column)[order].astype(np.float32)).to(self.device)
                               for column in zip(*rows))
        return x.contiguous(memory_format=torch.channels_last), c @ self.P, tokens, cells


def shares(samples: int) -> dict:
    """Kinds of scenes by what was seen so far."""
    points = ((0, (.65, .30, .05)), (60e3, (.40, .35, .25)), (150e3, (.20, .35, .45)),
              (220e3, (.07, .23, .70)))
    values = [np.interp(samples, [p[0] for p in points], [p[1][k] for p in points]) for k in range(3)]
    return dict(zip(("plain", "single", "pair"), values))


def loss_of(predict, x, c, tokens, cells, empty, alphas, g):
    """The v-prediction loss of a batch, timesteps drawn with a density that grows linearly with them, and that of focus.py."""
    size = len(x)
    drop = torch.rand(size, generator=g) < 0.1
    c = torch.where(drop.to(c.device)[:, None, None], empty, c)
    t = (((torch.arange(size) + torch.rand(size, generator=g)) / size).sqrt() * 1000).long().clamp(0, 999)
    a = alphas[t].view(-1, 1, 1, 1).to(x.device)
    noise = torch.randn(x.shape, generator=g).to(x.device)
    noisy = (a.sqrt() * x + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    v, maps = predict(noisy, t.to(x.device), c)
    return ((v.float() - (a.sqrt() * noise - (1 - a).sqrt() * x)).square().mean(),
            focus.loss(maps, tokens, torch.where(drop.to(x.device)[:, None, None], 0.0, cells)))


def double(module, inputs):
    """What an Upsample2D does before its convolution, by copies. torch.compile (2.13, on a CPU) turns F.interpolate's gradient for
    bfloat16 in channels-last order into zeros, silently: everything below the highest level would stay as it is."""
    x = inputs[0]
    b, c, h, w = x.shape
    x = x[:, :, :, None, :, None].expand(b, c, h, 2, w, 2).reshape(b, c, 2 * h, 2 * w)
    return x.contiguous(memory_format=torch.channels_last), *inputs[1:]


def prepare(net) -> list[TrainingAttention]:
    """Makes attention and enlargement fit to be trained; the processors of focus.LAYERS."""
    net.set_attn_processor({name: TrainingAttention() for name in net.attn_processors})
    for module in net.modules():
        if isinstance(module, Upsample2D) and module.interpolate:
            module.interpolate = False
            module.register_forward_pre_hook(double)
    return [p for name, p in net.attn_processors.items() if name.startswith(focus.LAYERS) and ".attn2." in name]


def predictor(net, args):
    """The denoiser as a function that also returns the attention that focus.py looks at, compiled where that works (about 1.4
    times as fast; needs a C++ compiler on a CPU) and has the gradients that it has without."""
    looking = prepare(net)

    def plain(x, t, c):
        maps: list = []
        for processor in looking:
            processor.maps = maps
        return net(x, t, c).sample, maps

    if args.no_compile:
        return plain
    try:
        compiled = torch.compile(plain)
        g = torch.Generator().manual_seed(0)
        x = torch.randn(args.batch, models.LATENT, models.LATENT_RES, models.LATENT_RES, generator=g)
        c = torch.randn(args.batch, models.TOKENS, models.WIDTH, generator=g).to(args.device)
        x = x.to(args.device).contiguous(memory_format=torch.channels_last)
        t = torch.full((args.batch,), 500, device=args.device)
        right, found = gradients(net, plain, x, t, c), gradients(net, compiled, x, t, c, common.autocast(args.device))
        wrong = [name for (name, _), a, b in zip(net.named_parameters(), right, found) if (a - b).norm() > 0.5 * a.norm()]
        if not wrong:
            return compiled
        common.log("not compiled: other gradients of", *wrong[:5], "and more" if wrong[5:] else "")
    except Exception as error:      # whatever goes wrong in compiling, training goes on without
        common.log("not compiled:", type(error).__name__, str(error)[:200])
    return plain


def gradients(net, f, x, t, c, precision=contextlib.nullcontext()) -> list:
    with precision:
        v, maps = f(x, t, c)
    (v.float().square().mean() + sum(m.square().mean() for m in maps)).backward()
    out = [p.grad for p in net.parameters()]
    net.zero_grad(set_to_none=True)
    return out


def export(net, weights: dict, folder, name="model") -> None:
    copy = UNet2DConditionModel.from_config(net.config)
    copy.load_state_dict(weights)
    copy.save_pretrained(folder / name)


def start_from_trunk(net, work, stage: str) -> int:
    """Loads the other denoiser's trunk, with new keys and values of the text; the samples it has seen."""
    net.load_state_dict(UNet2DConditionModel.from_pretrained(work / stage / "trunk").state_dict())
    for name, module in net.named_modules():
        if TEXT.search(f"{name}.weight"):
            module.reset_parameters()
    return json.loads((work / "done" / "trunk.json").read_text())["samples"]


def main() -> None:
    p = common.parser(__doc__, minutes=120)
    p.add_argument("--encoder", choices=("clip", "t5"), default="clip")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=96)
    p.add_argument("--decay-from", type=float, default=0.7, help="share of the budget after which the learning rate falls")
    p.add_argument("--evaluate-every", type=float, default=20, help="minutes of budget between evaluations; 0: never")
    p.add_argument("--focus", type=float, default=0.05, help="weight of the loss on cross attention")
    p.add_argument("--init", help="stage whose trunk to start from (keys and values of the text are new)")
    p.add_argument("--no-compile", action="store_true")
    args = p.parse_args()
    common.start(args)
    stage = f"unet-{args.encoder}"
    folder, chunks = args.work / stage, Chunks(args)
    net = models.unet().to(args.device).to(memory_format=torch.channels_last)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0, samples=0)
    if args.init and "net" not in state:
        state["trunk"] = state["samples"] = start_from_trunk(net, args.work, args.init)
    opt, ema = common.optimiser({"unet": net}, args.lr, 0.01), common.Ema(net, 0.995)
    if "net" in state:
        net.load_state_dict(chunks.whitened(state["net"]))
        ema.state = chunks.whitened(state["ema"])
        if state.get("opt"):
            opt.load_state_dict(state["opt"])
    predict = predictor(net, args)
    step, samples, budget = state["step"], state["samples"], common.Budget(args.device, args.minutes, state["spent"])
    fresh = 0 if state.get("opt") else step         # a new optimiser warms up
    alphas = models.scheduler().alphas_cumprod
    common.log(stage, "parameters", common.count(net), "chunks", {k: len(v) for k, v in chunks.kinds.items()}, "from step", step)
    running, saved, judged, mark = [], budget.spent, budget.spent, (budget.spent, samples)

    def save():
        average, trunk = chunks.plain(ema.state), {k: state[k] for k in ("trunk",) if k in state}
        common.save_atomic(dict(net=chunks.plain(net.state_dict()), opt=opt.state_dict(), ema=average, step=step,
                                samples=samples, spent=budget.spent, **trunk), folder / "last.pt")
        export(net, average, folder)
        common.write_json(folder / "report.json", dict(step=step, samples=samples, seconds=round(budget.spent), **trunk))

    def judge():
        import evaluate
        evaluate.periodic(args, args.encoder, samples)

    while budget.fraction < 1 and step < args.steps:
        rng = common.rng_for(args, stage, step)
        batch = chunks.batch(rng, args.batch, shares(samples))
        g = torch.Generator().manual_seed(int(rng.integers(2 ** 31)))
        with common.autocast(args.device):
            loss, looks = loss_of(predict, *batch, chunks.empty, alphas, g)
        opt.zero_grad(set_to_none=True)
        (loss + args.focus * looks).backward()
        if "trunk" in state and step < ADAPT:
            for name, weight in net.named_parameters():
                weight.grad = weight.grad if TEXT.search(name) else None
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step - fresh, 100, args.decay_from))
        opt.step()
        ema.update(net, step)
        running.append((loss.item(), looks.item()))
        step, samples = step + 1, samples + args.batch
        budget.tick()
        if args.encoder == "clip" and samples >= TRUNK > samples - args.batch:
            export(net, chunks.plain(ema.state), folder, "trunk")
            common.write_json(args.work / "done" / "trunk.json", dict(samples=samples, minutes=args.minutes))
        if step % 100 == 0:
            rate = (samples - mark[1]) / max(1e-9, budget.spent - mark[0])
            mark = (budget.spent, samples)
            common.log(f"{stage} step {step} samples {samples} spent {budget.spent:.0f}s loss {np.mean(running, 0).round(4)} "
                       f"{rate:.1f}/s chunks {len(chunks.found)}")
            running = []
            chunks.refresh()
        if budget.spent - saved > args.checkpoint_every * 60:
            save()
            saved = budget.spent
        if args.evaluate_every and budget.spent - judged > args.evaluate_every * 60:
            save()
            judge()
            budget.pause()
            saved = judged = budget.spent
    save()
    if args.evaluate_every:
        judge()
    common.record(args, f"{stage}-end", **json.loads((folder / "report.json").read_text()))
    common.finish(args, stage)


if __name__ == "__main__":
    sys.exit(main())
