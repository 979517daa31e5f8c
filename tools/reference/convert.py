"""Numbers rounded by torch: tests/data/convert/rounded.safetensors.

`--load DIR...` instead loads converted models in diffusers and makes a picture with each, by hand.
"""

import sys

import torch

from common import DATA, generator, write_tensors


def edges():
    """Around what 16-bit floats can hold: ties, smallest and largest numbers, zeros, infinities."""
    values = [0.0, -0.0, 1.0, -1.0, 65504.0, 65519.996, 65520.0, -65520.0, 1e5, 3e38, -3e38,
              3.3895314e38, 3.3961776e38, 3.4028235e38, float("inf"), float("-inf")]
    for exponent in range(-27, 17):  # one and a half steps around powers of two
        unit = 2.0**exponent
        for step in (2.0**-8, 2.0**-9, 2.0**-11, 2.0**-12):
            for k in (0, 1, 3):
                values += [unit * (1 + k * step), -unit * (1 + k * step) * (1 + 2.0**-22)]
    for k in range(9):  # below f16's smallest
        values += [k * 2.0**-25, (k + 0.5) * 2.0**-25, -k * 2.0**-26]
    values += [2.0**-140, -(2.0**-149), 2.0**-133 * 1.5]
    return torch.tensor(values, dtype=torch.float32)


def rounded():
    spread = torch.randn(2000, generator=generator(1))
    x = torch.cat([edges(), spread * torch.exp2(spread.flip(0) * 8)])
    # A row of one large value, one of zeros, one whose values lie on ties.
    w = torch.randn(24, 40, generator=generator(2)) * torch.logspace(-6, 3, 24)[:, None]
    w[3] = 0
    w[4] *= 1e-42
    w[5, 1:] *= 1e-3
    w[6] = (torch.arange(40) - 20) / 2
    w[6, 0] = 127
    scale = w.abs().amax(1) / 127
    q = torch.where(scale[:, None] > 0, torch.round(w / scale[:, None]), 0).clamp(-127, 127)
    write_tensors(DATA / "convert" / "rounded.safetensors", {
        "x": x, "x.f16": x.half(), "x.bf16": x.bfloat16(),
        "w": w, "w.q": q.to(torch.int8), "w.s": scale})
    print(f"{x.numel()} numbers, {w.numel()} weights")


def load(folders):
    from diffusers import DiffusionPipeline

    for folder in folders:
        pipe = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32,
                                                 safety_checker=None)
        dtypes = {n: str(next(m.parameters()).dtype) for n, m in pipe.components.items()
                  if isinstance(m, torch.nn.Module)}
        image = pipe("a dog", num_inference_steps=3, generator=generator(0),
                     output_type="np").images[0]
        print(folder, type(pipe).__name__, dtypes, f"mean {image.mean():.6f} std {image.std():.6f}")


if __name__ == "__main__":
    load(sys.argv[2:]) if sys.argv[1:2] == ["--load"] else rounded()
