"""Sampling of pixel cascades: learned variances, thresholding and lists of timesteps, as DeepFloyd
IF's pipelines use them: tests/data/schedulers/if.json and if.safetensors.

As in schedulers.py the model's output at step i is the fixed tensor model_output[i], here with the
variance behind the prediction (6 channels for 3); noise comes from one generator with the case's
seed.
"""

import logging

import torch
from diffusers.pipelines.deepfloyd_if import timesteps as lists

from common import DATA, generator, randn, write_json, write_tensors
from schedulers import MOST, scheduler

logging.getLogger("diffusers").setLevel(logging.ERROR)

SHAPE = (1, 3, 2, 5)  # three channels: DPM-Solver cuts the variance off behind the third

NAMES = ("fast27", "smart27", "smart50", "smart100", "smart185", "super27", "super40", "super100")

IF_STAGE_1 = {
    "_class_name": "DDPMScheduler", "_diffusers_version": "0.15.0.dev0", "beta_end": 0.02,
    "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "clip_sample": True,
    "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.95, "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.5, "thresholding": True,
    "trained_betas": None, "variance_type": "learned_range",
}
IF_STAGE_2 = {**IF_STAGE_1, "sample_max_value": 1.0, "clip_sample": True}
FREE = {**IF_STAGE_1, "thresholding": False, "clip_sample": False, "beta_schedule": "linear"}

# name, sampler, config, steps or list
CASES = [
    ("stage-1", "ddpm", IF_STAGE_1, 6),
    ("stage-1-50", "ddpm", IF_STAGE_1, 50),
    ("stage-2", "ddpm", IF_STAGE_2, 6),
    ("free", "ddpm", FREE, 6),
    ("learned", "ddpm", {**FREE, "variance_type": "learned"}, 6),
    ("fixed-small", "ddpm", {**IF_STAGE_1, "variance_type": "fixed_small"}, 6),
    ("fixed-small-log", "ddpm", {**IF_STAGE_1, "variance_type": "fixed_small_log"}, 6),
    ("fixed-large", "ddpm", {**FREE, "variance_type": "fixed_large"}, 6),
    ("one-step", "ddpm", FREE, 1),
    ("ddim", "ddim", IF_STAGE_1, 6),
    ("dpm", "dpm++2m", IF_STAGE_1, 6),
    ("dpm-20", "dpm++2m", IF_STAGE_2, 20),
    ("fast27", "ddpm", IF_STAGE_1, "fast27"),
    ("super40", "ddpm", IF_STAGE_2, "super40"),
    ("free-smart27", "ddpm", FREE, "smart27"),
    ("free-two", "ddpm", FREE, [700, 3]),
    ("free-one", "ddpm", FREE, [0]),
    ("dpm-super27", "dpm++2m", IF_STAGE_1, "super27"),
    ("dpm-four", "dpm++2m", FREE, [999, 500, 20, 4]),
    ("euler-fast27", "euler", FREE, "fast27"),
    ("lcm-three", "lcm", {**FREE, "_class_name": "LCMScheduler"}, [999, 400, 7]),
]


def numbers(name):
    return getattr(lists, f"{name}_timesteps")


def trajectory(sampler, config, steps, seed):
    s = scheduler(sampler, config)
    if isinstance(steps, int):
        s.set_timesteps(steps)
    else:
        s.set_timesteps(timesteps=numbers(steps) if isinstance(steps, str) else steps)
    channels = SHAPE[1]
    learned = sampler == "ddpm" and s.config.variance_type in ("learned", "learned_range")
    g = generator(seed)
    x = START * s.init_noise_sigma
    states = []
    for i, t in enumerate(s.timesteps):
        s.scale_model_input(x, t)
        out = OUTPUTS[i % MOST]
        extra = {} if sampler == "dpm++2m" else {"generator": g}
        x = s.step(out if learned else out[:, :channels], t, x, **extra).prev_sample
        states.append(x)
    return {"timesteps": s.timesteps.float(), "trajectory": torch.cat(states)}


START = randn(610, *SHAPE)
# variances of mostly -1 to 1, some beyond; positive where they are taken as they are
OUTPUTS = torch.cat([randn(611, MOST, *SHAPE), randn(612, MOST, *SHAPE, scale=0.7).abs()], dim=2)


def main():
    cases, tensors = [], {"start": START, "model_output": OUTPUTS}
    for name in NAMES:
        tensors[f"list.{name}"] = torch.tensor(numbers(name))
    for i, (name, sampler, config, steps) in enumerate(CASES):
        seed = 2000 + i
        results = trajectory(sampler, config, steps, seed)
        assert all(torch.isfinite(r).all() for r in results.values()), name
        key = {int: "steps", str: "list", list: "timesteps"}[type(steps)]
        cases.append({"name": name, "sampler": sampler, key: steps, "seed": seed, "config": config})
        tensors.update({f"{name}.{k}": r for k, r in results.items()})
    write_json(DATA / "schedulers" / "if.json", cases, indent=None)
    write_tensors(DATA / "schedulers" / "if.safetensors", tensors)


if __name__ == "__main__":
    main()
