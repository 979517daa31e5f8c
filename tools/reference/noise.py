"""Draws of torch's CPU generator: tests/data/expected/randn.safetensors."""

import torch

from common import EXPECTED, generator, write_tensors

SEEDS = [0, 1, 42, 2**32 - 1, 2**32 + 5, 2**63 + 11]
COUNTS = [1, 2, 7, 15, 16, 17, 31, 33, 35, 140]
SEQUENCE = [3, 16, 1, 5, 20, 2, 4, 16, 7, 100]  # drawn one after the other from one generator
LONG = 16384


def main():
    tensors = {}
    for seed in SEEDS:
        for count in COUNTS:
            tensors[f"seed.{seed}.count.{count}"] = torch.randn(count, generator=generator(seed))
        g = generator(seed)
        tensors[f"seed.{seed}.sequence"] = torch.cat(
            [torch.randn(count, generator=g) for count in SEQUENCE])
    tensors["sequence.counts"] = torch.tensor(SEQUENCE)
    for count in (1000, LONG):
        draw = torch.randn(count, generator=generator(42))
        tensors[f"seed.42.count.{count}.first"] = draw[:32].clone()
        tensors[f"seed.42.count.{count}.last"] = draw[-32:].clone()
    # 640 words of the generator are used up and made anew within one draw and between two.
    g = generator(7)
    torch.randn(1000, generator=g)
    tensors["seed.7.after.1000.count.48"] = torch.randn(48, generator=g)
    assert torch.equal(torch.randn(1, 4, 7, 5, generator=generator(1)).flatten(),
                       tensors["seed.1.count.140"])
    write_tensors(EXPECTED / "randn.safetensors", tensors)


if __name__ == "__main__":
    main()
