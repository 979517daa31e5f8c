"""Runs that reuse the deep part of the UNet: tests/data/expected/MODEL-reuse.safetensors.

DeepCache (Ma et al. 2023, arXiv 2312.00858) at its shallowest skip branch (cache_branch_id 0 of the
authors' code): every Nth step is whole; the steps between run conv_in, the last layer of the last
up block, which gets what the last whole step put into it, and conv_out. Here with diffusers' own
modules, called one by one; a whole step is checked against the model's own forward.
tests/data/README.md describes the tensors.
"""

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

from common import DATA, EXPECTED, write_tensors
from expected import PROMPTS, encode, run


def layer(block, i, x, skips, temb, states):
    """Layer i of an up block: residual block, then attention if the block has one."""
    x = block.resnets[i](torch.cat([x, skips.pop()], dim=1), temb)
    if getattr(block, "has_cross_attention", False):
        x = block.attentions[i](x, encoder_hidden_states=states, return_dict=False)[0]
    return x


class Reusing:
    """A forward for `unet` that is whole in every `every`-th call, the first included."""

    def __init__(self, unet, every):
        self.unet, self.every, self.calls, self.deep = unet, every, 0, None

    def whole(self, x, temb, states):
        unet, skips = self.unet, [x]
        for block in unet.down_blocks:
            kwargs = {"encoder_hidden_states": states} if getattr(
                block, "has_cross_attention", False) else {}
            x, more = block(hidden_states=x, temb=temb, **kwargs)
            skips += more
        x = unet.mid_block(x, temb, encoder_hidden_states=states)
        for block in unet.up_blocks[:-1]:
            for i in range(len(block.resnets)):
                x = layer(block, i, x, skips, temb, states)
            for upsampler in block.upsamplers or []:
                x = upsampler(x, output_size=skips[-1].shape[2:])
        last = unet.up_blocks[-1]
        for i in range(len(last.resnets) - 1):
            x = layer(last, i, x, skips, temb, states)
        assert len(skips) == 1
        return x

    def __call__(self, sample, timestep, encoder_hidden_states=None, timestep_cond=None,
                 return_dict=False, **kwargs):
        unet, states = self.unet, encoder_hidden_states
        temb = unet.time_embedding(unet.get_time_embed(sample, timestep), timestep_cond)
        skip = unet.conv_in(sample)
        fresh = self.calls % self.every == 0
        if fresh:
            self.deep = self.whole(skip, temb, states)
        self.calls += 1
        last = unet.up_blocks[-1]
        x = layer(last, len(last.resnets) - 1, self.deep, [skip], temb, states)
        out = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
        if fresh:
            own = UNet2DConditionModel.forward(unet, sample, timestep, states,
                                               timestep_cond=timestep_cond).sample
            assert torch.equal(out, own)
        return UNet2DConditionOutput(sample=out) if return_dict else (out,)


def reused(pipe, every, *args, **options):
    """`run` draws twice, with and without a small change: each of them begins anew."""
    steps = options.get("steps", 5)
    unet = Reusing(pipe.unet, every)

    def forward(*a, **k):
        if unet.calls == steps:
            unet.calls = 0
        return unet(*a, **k)

    pipe.unet.forward = forward
    try:
        return run(pipe, *args, **options)
    finally:
        del pipe.unet.forward


def model(name, variant):
    pipe = StableDiffusionPipeline.from_pretrained(
        DATA / name, variant=variant, torch_dtype=torch.float32, safety_checker=None,
        feature_extractor=None, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    conditionings = encode(pipe, PROMPTS[0])[2]
    negative = encode(pipe, PROMPTS[2])[2][-1]
    middle, tensors = len(conditionings) // 2, {}
    whole = run(pipe, conditionings[-1], negative, "ddim", 64, 64)
    for every, sampler, width, height, k in [
            (2, "ddim", 64, 64, len(conditionings) - 1), (3, "ddim", 72, 56, middle),
            (2, "euler", 72, 56, middle), (2, "dpm++2m", 64, 64, middle),
            (5, "euler-a", 64, 64, middle), (100, "ddim", 64, 64, 1)]:
        latents = reused(pipe, every, conditionings[k], negative, sampler, width, height)
        tensors[f"reuse.{every}.{sampler}.{width}x{height}.layer.{k}.latents"] = latents
    last = tensors[f"reuse.2.ddim.64x64.layer.{len(conditionings) - 1}.latents"]
    assert torch.equal(reused(pipe, 1, conditionings[-1], negative, "ddim", 64, 64), whole)
    print(f"{name}: every second step moves the latents by",
          f"{((last - whole).std() / whole.std()).item():.3f} of their deviation")
    write_tensors(EXPECTED / f"{name}-reuse.safetensors", tensors)


if __name__ == "__main__":
    with torch.no_grad():
        model("tiny-sd1", None)
        model("tiny-sd2", "fp16")
