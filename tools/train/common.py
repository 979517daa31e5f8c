"""What all stages share: arguments, compute budget, checkpoints that survive kill -9, moving averages, optimiser, log.

A stage keeps its whole state in one file, WORK/<stage>/last.pt, written to a temporary name and renamed, so an interrupted
stage goes on from its last checkpoint. Batches are drawn from generators seeded by (seed, stage, step): what a step sees does
not depend on interruptions. The budget counts processor time on a CPU (a stopped or starved process loses nothing) and
elapsed time, capped per step, on CUDA.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import pathlib
import time

import numpy as np
import torch


def parser(doc: str, **defaults) -> argparse.ArgumentParser:
    """The options that every stage understands."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, required=True, help="working folder for data, checkpoints and logs")
    p.add_argument("--minutes", type=float, default=defaults.get("minutes", 10), help="budget of this stage (processor time)")
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--checkpoint-every", type=float, default=3, help="minutes of budget between checkpoints")
    p.add_argument("--steps", type=int, default=10 ** 9, help="stop after so many steps (for tests)")
    return p


def start(args) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(args.work / "compile-cache"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def log(*words) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), *words, flush=True)


def record(args, name: str, **values) -> None:
    """Appends a line of measurements to WORK/metrics.jsonl and to the log."""
    row = dict(stage=name, when=time.strftime("%Y-%m-%dT%H:%M:%S"), **values)
    with open(args.work / "metrics.jsonl", "a") as f:
        f.write(json.dumps(row) + "\n")
    log(name, json.dumps(values))


def rng_for(args, stage: str, step: int) -> np.random.Generator:
    return np.random.default_rng([args.seed, sum(map(ord, stage)), step])


class Budget:
    """Compute spent by a stage over all its runs, in seconds."""

    def __init__(self, device: str, minutes: float, spent: float = 0.0):
        self.cpu, self.total, self.spent = device == "cpu", minutes * 60, spent
        self.mark = self._now()

    def _now(self) -> float:
        return time.process_time() if self.cpu else time.monotonic()

    def tick(self) -> float:
        now = self._now()
        self.spent += now - self.mark if self.cpu else min(now - self.mark, 30.0)
        self.mark = now
        return self.spent

    def pause(self) -> None:
        """What was done since the last tick does not count (evaluation)."""
        self.mark = self._now()

    @property
    def fraction(self) -> float:
        return min(1.0, self.spent / max(self.total, 1e-9))


def finish(args, stage: str) -> None:
    """Marks a stage as done with this budget, for `run`."""
    write_json(args.work / "done" / f"{stage}.json", dict(minutes=args.minutes))


def save_atomic(state, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + f".tmp{os.getpid()}")
    with open(temporary, "wb") as f:
        torch.save(state, f)
        f.flush()
        os.fsync(f.fileno())
    temporary.replace(path)


def load_checkpoint(path: pathlib.Path, device: str):
    if not path.exists():
        return None
    return torch.load(path, map_location=device, weights_only=False)


def write_json(path: pathlib.Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


class Ema:
    """Moving average of the weights, with a rising decay at the start."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        d = min(self.decay, (1 + step) / (10 + step))
        live = module.state_dict()
        floats = [k for k, v in live.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in floats], [live[k] for k in floats], 1 - d)

    @contextlib.contextmanager
    def swapped(self, module: torch.nn.Module):
        """Within the block the module holds the averaged weights."""
        live = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(live)


def half_type(device: str):
    """The dtype of autocast where it pays: bfloat16 on CUDA and on CPUs that multiply it natively; else None."""
    if device != "cpu":
        return torch.bfloat16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() or \
        getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if native else None


def autocast(device: str):
    dtype = half_type(device)
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast("cpu" if device == "cpu" else "cuda", dtype)


def schedule(fraction: float, step: int, warm: int = 100, decay_from: float = 0.0) -> float:
    """Factor of the learning rate: linear warm-up; level up to `decay_from` of the budget, then a cosine down to 1 %."""
    rise = min(1.0, (step + 1) / warm)
    t = max(0.0, (fraction - decay_from) / max(1e-9, 1 - decay_from))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, t))))


@torch.no_grad()
def orthogonalise(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration (quintic) towards the nearest semi-orthogonal matrix; batch of matrices [n, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    transpose = x.shape[-2] > x.shape[-1]
    if transpose:
        x = x.mT
    dtype = half_type(g.device.type)
    x = x.to(dtype) if dtype is not None else x
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.mT if transpose else x).to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (K. Jordan and others, 2024) for the inner matrices; AdamW for the rest.

    Convolutions count as matrices [out, in * kh * kw]. `lr` of a Muon group is the root mean square of the update relative to
    AdamW's (scale 0.2 * sqrt(max side)), so one learning rate serves both.
    """

    def __init__(self, groups, lr: float, betas=(0.9, 0.98), momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(groups, dict(lr=lr, betas=betas, momentum=momentum, weight_decay=weight_decay, muon=False))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            (self._muon if group["muon"] else self._adam)(params, group)

    def _muon(self, params, group):
        shapes: dict = {}
        for p in params:
            state = self.state[p]
            if "m" not in state:
                state["m"] = torch.zeros_like(p)
            shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
        mom, lr = group["momentum"], group["lr"]
        for (rows, cols), same in shapes.items():
            bufs = [self.state[p]["m"] for p in same]
            torch._foreach_lerp_(bufs, [p.grad for p in same], 1 - mom)
            looks = [torch.lerp(p.grad, m, mom).reshape(rows, cols) for p, m in zip(same, bufs)]
            updates = orthogonalise(torch.stack(looks)) * (0.2 * max(rows, cols) ** 0.5)
            for p, u in zip(same, updates):
                p.mul_(1 - lr * group["weight_decay"]).add_(u.view(p.shape), alpha=-lr)

    def _adam(self, params, group):
        for p in params:
            state = self.state[p]
            if "m" not in state:
                state.update(m=torch.zeros_like(p), v=torch.zeros_like(p), t=0)
            state["t"] += 1
        b1, b2 = group["betas"]
        ms, vs = ([self.state[p][k] for p in params] for k in ("m", "v"))
        grads, t, lr = [p.grad for p in params], self.state[params[0]]["t"], group["lr"]
        torch._foreach_lerp_(ms, grads, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, grads, grads, 1 - b2)
        den = torch._foreach_div(vs, 1 - b2 ** t)
        torch._foreach_sqrt_(den)
        torch._foreach_add_(den, 1e-8)
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_addcdiv_(params, ms, den, -lr / (1 - b1 ** t))


def optimiser(modules: dict, lr: float, weight_decay: float = 0.01, muon: bool = True) -> Muon:
    """Muon for inner matrices and convolutions; AdamW for embeddings, first and last layers, norms and biases."""
    outer = ("embed", "conv_in", "conv_out", "shared", "lm_head", "relative_attention_bias", "patch", "head", "projection",
             "add_embedding", "position")
    inner, table, vectors = [], [], []
    for module in modules.values():
        for name, p in module.named_parameters():
            if not p.requires_grad:
                continue
            if p.ndim < 2:
                vectors.append(p)
            elif not muon or any(w in name for w in outer) or min(p.shape[0], p[0].numel()) < 8:
                table.append(p)
            else:
                inner.append(p)
    groups = [dict(params=inner, muon=True, weight_decay=weight_decay), dict(params=table, weight_decay=weight_decay),
              dict(params=vectors, weight_decay=0.0)]
    return Muon([g for g in groups if g["params"]], lr=lr)


def set_lr(opt, lr: float) -> None:
    for g in opt.param_groups:
        g["lr"] = lr


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def pictures(arrays, device: str) -> torch.Tensor:
    """uint8 [H, W, 3] arrays to a float batch in [-1, 1], NCHW, channels last in memory."""
    x = torch.from_numpy(np.stack(arrays)).to(device).permute(0, 3, 1, 2)
    return x.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
