"""Schedulers and samplers: tests/data/schedulers/cases.json and cases.safetensors.

A case is a scheduler_config.json, the sampler that is made from it, a number of steps, a seed and
options. As in the program, the config may be that of another class than the sampler: the reference
first makes the scheduler that the config names and then, from that one's config, the sampler, which
is what a user of diffusers does (`Sampler.from_config(pipe.scheduler.config)`).

The model's output at step i is the fixed tensor model_output[i]; noise comes from one generator with
the case's seed.
"""

import logging

import diffusers
import torch

from common import DATA, generator, randn, write_json, write_tensors
from expected import SAMPLERS
from tiny_models import DDIM_SD2, EULER_TURBO, LCM, PNDM_SD1

logging.getLogger("diffusers").setLevel(logging.ERROR)

SHAPE = (1, 4, 1, 5)  # 20 values: no multiple of 16, so the generator's tail counts
MOST = 12

V = {"prediction_type": "v_prediction"}
SAMPLE = {"prediction_type": "sample"}
ZERO_SNR = {"rescale_betas_zero_snr": True}


def spacing(name, offset):
    return {"timestep_spacing": name, "steps_offset": offset}


def without(config, *keys):
    return {k: v for k, v in config.items() if k not in keys}


# What every sampler is run with: name, config, steps, options of step().
COMMON = [
    ("sd1", PNDM_SD1, 5),
    ("sd1-12", PNDM_SD1, 12),
    ("sd1-1", PNDM_SD1, 1),
    ("sd1-2", PNDM_SD1, 2),
    ("sd1-7", PNDM_SD1, 7),
    ("sd2", DDIM_SD2, 5),
    ("turbo", EULER_TURBO, 4),
    ("lcm", LCM, 4),
    ("bare", {"_class_name": "DDIMScheduler"}, 5),  # every default
    ("bare-pndm", {"_class_name": "PNDMScheduler"}, 5),
    ("sample", {**PNDM_SD1, **SAMPLE}, 5),
    ("leading-0", {**PNDM_SD1, **spacing("leading", 0)}, 6),
    ("leading-1", {**PNDM_SD1, **spacing("leading", 1)}, 6),
    ("linspace", {**PNDM_SD1, **spacing("linspace", 0)}, 6),
    ("trailing", {**PNDM_SD1, **spacing("trailing", 0)}, 6),
    ("trailing-v", {**DDIM_SD2, **spacing("trailing", 1)}, 7),
    ("alpha-to-one", {**PNDM_SD1, "set_alpha_to_one": True, "steps_offset": 0}, 4),
    ("linear", {**PNDM_SD1, "beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}, 5),
    ("cosine", {**PNDM_SD1, "beta_schedule": "squaredcos_cap_v2"}, 5),
    ("clip", {**DDIM_SD2, "clip_sample": True, "clip_sample_range": 1.5}, 5),
    ("clip-missing", without(DDIM_SD2, "clip_sample"), 5),
    ("threshold", {**DDIM_SD2, "thresholding": True, "dynamic_thresholding_ratio": 0.9,
                   "sample_max_value": 2.0}, 5),
    ("threshold-epsilon", {**DDIM_SD2, "prediction_type": "epsilon", "thresholding": True,
                           "sample_max_value": 1.5}, 5),
    ("train-500", {**PNDM_SD1, "num_train_timesteps": 500}, 6),
    ("trained-betas", {**PNDM_SD1, "num_train_timesteps": 20,
                       "trained_betas": [0.002 * (i + 1) for i in range(20)]}, 5),
]

# What only some are run with: samplers, name, config, steps, options.
SPECIAL = [
    (["ddim", "dpm++2m", "euler", "euler-a", "lcm", "ddpm"], "zero-snr",
     {**DDIM_SD2, **ZERO_SNR, **spacing("trailing", 1)}, 5, {}),
    (["ddim", "dpm++2m", "euler", "euler-a", "lcm", "ddpm"], "zero-snr-leading",
     {**DDIM_SD2, **ZERO_SNR}, 5, {}),
    (["ddim"], "eta-0.3", PNDM_SD1, 5, {"eta": 0.3}),
    (["ddim"], "eta-1", DDIM_SD2, 6, {"eta": 1.0}),
    (["ddim"], "eta-clip", {**DDIM_SD2, "clip_sample": True}, 5, {"eta": 0.7}),
    (["dpm++2m"], "lower-order-false", {**PNDM_SD1, "lower_order_final": False}, 5, {}),
    (["dpm++2m"], "steps-20", PNDM_SD1, 20, {}),
    (["dpm++2m"], "final-sigma-min", {**PNDM_SD1, "final_sigmas_type": "sigma_min"}, 5, {}),
    (["dpm++2m"], "solver-order-1", {**PNDM_SD1, "solver_order": 1}, 5, {}),
    (["dpm++2m"], "euler-at-final", {**PNDM_SD1, "euler_at_final": True}, 5, {}),
    (["dpm++2m"], "heun", {**PNDM_SD1, "solver_type": "heun"}, 5, {}),
    (["dpm++2m", "euler"], "karras", {**PNDM_SD1, "use_karras_sigmas": True}, 5, {}),
    (["dpm++2m"], "lambda-clipped", {**PNDM_SD1, "beta_schedule": "squaredcos_cap_v2",
                                     "lambda_min_clipped": -5.1}, 6, {}),
    (["euler"], "final-sigma-min", {**PNDM_SD1, "final_sigmas_type": "sigma_min"}, 5, {}),
    (["lcm"], "steps-8", LCM, 8, {}),
    (["lcm"], "original-100", {**LCM, "original_inference_steps": 100}, 5, {}),
    (["lcm"], "timestep-scaling", {**LCM, "timestep_scaling": 4.0}, 3, {}),
    (["ddpm"], "fixed-large", {**PNDM_SD1, "variance_type": "fixed_large"}, 5, {}),
]

# Timesteps alone, for more numbers of steps.
GRIDS = [1, 2, 3, 4, 6, 7, 9, 11, 13, 15, 20, 28, 50, 99, 333, 999, 1000]


def scheduler(sampler, config):
    named = getattr(diffusers, config["_class_name"]).from_config(dict(config))
    return SAMPLERS[sampler].from_config(named.config)


def trajectory(sampler, config, steps, seed, options):
    """All that a sampler does in one run."""
    s = scheduler(sampler, config)
    s.set_timesteps(steps)
    g = generator(seed)
    x = START * s.init_noise_sigma
    states, inputs = [], []
    for i, t in enumerate(s.timesteps):
        inputs.append(s.scale_model_input(x, t))
        extra = dict(options)
        if sampler != "dpm++2m" or "sde" in s.config.algorithm_type:
            extra["generator"] = g
        x = s.step(OUTPUTS[i % MOST], t, x, **extra).prev_sample
        states.append(x)
    out = {"timesteps": s.timesteps.float(),
           "init_noise_sigma": torch.tensor([float(s.init_noise_sigma)]),
           "input.0": inputs[0], "trajectory": torch.cat(states)}
    if hasattr(s, "sigmas"):
        out["sigmas"] = torch.as_tensor(s.sigmas).float()
    return out


START = randn(600, *SHAPE)
OUTPUTS = randn(601, MOST, *SHAPE)


def main():
    cases, tensors = [], {"start": START, "model_output": OUTPUTS}
    runs = [(sampler, name, config, steps, {}) for sampler in SAMPLERS
            for name, config, steps in COMMON]
    runs += [(sampler, name, config, steps, options)
             for samplers, name, config, steps, options in SPECIAL for sampler in samplers]
    for i, (sampler, name, config, steps, options) in enumerate(runs):
        name, seed = f"{sampler}.{name}", 1000 + i
        try:
            results = trajectory(sampler, config, steps, seed, options)
        except Exception as error:  # what the library itself refuses has no reference
            print(f"{name}: left out: {type(error).__name__}: {str(error)[:140]}")
            continue
        if not all(torch.isfinite(r).all() for r in results.values()):
            print(f"{name}: not finite in the reference:",
                  [k for k, r in results.items() if not torch.isfinite(r).all()])
        cases.append({"name": name, "sampler": sampler, "steps": steps, "seed": seed, **options,
                      "config": config})
        tensors.update({f"{name}.{k}": r for k, r in results.items()})

    for name, config in (("sd1", PNDM_SD1), ("turbo", EULER_TURBO), ("lcm", LCM),
                         ("linspace", {**PNDM_SD1, **spacing("linspace", 0)})):
        for sampler in SAMPLERS:
            grid = []
            for steps in GRIDS:
                s = scheduler(sampler, config)
                try:
                    s.set_timesteps(steps)
                    grid.append(s.timesteps.float())
                except ValueError as error:  # LCM: more steps than it was distilled for
                    grid.append(torch.zeros(0))
            tensors[f"grid.{name}.{sampler}.counts"] = torch.tensor([len(t) for t in grid])
            kept = [t if len(t) <= 50 else torch.cat([t[:10], t[-10:]]) for t in grid]
            tensors[f"grid.{name}.{sampler}.timesteps"] = torch.cat(kept)
    tensors["grid.steps"] = torch.tensor(GRIDS)

    betas = {"scaled_linear": {}, "linear": {"beta_schedule": "linear"},
             "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"}, "zero_snr": ZERO_SNR}
    for name, change in betas.items():
        s = scheduler("ddim", {**DDIM_SD2, **change})
        tensors[f"alphas_cumprod.{name}"] = s.alphas_cumprod

    folder = DATA / "schedulers"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "cases.json", cases, indent=None)
    write_tensors(folder / "cases.safetensors", tensors)
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
