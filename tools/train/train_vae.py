"""Stage `vae`: AutoencoderKL, 96 x 96 x 3 pixels to 12 x 12 latents.

Loss: L1, squared error and the L1 of horizontal and vertical differences at full and half size (edges), a small KL term.
The first 3/4 of the budget goes to 48 x 48 crops that hold content (more steps per second, less empty ground), the rest to
whole pictures, as the mid-block attention and the group norms must see them. Result: WORK/vae/model (averaged weights, with
the scaling factor measured).
"""
from __future__ import annotations

import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import captions
import common
import models
import world

MIX = world.Mix(single=0.55, tint=0.5, back=0.25, flat_nouns=0.4)
CROP = 48


def batch(args, renderer, step: int, whole: bool) -> torch.Tensor:
    rng = common.rng_for(args, "vae", step)
    out, size = [], args.whole_batch if whole else args.batch
    while len(out) < size:
        image = renderer.render(world.sample_scene(rng, MIX))
        if whole:
            out.append(image)
            continue
        for _ in range(2):
            y, x = 8 * rng.integers(0, (world.RES - CROP) // 8 + 1, 2)
            crop = image[y:y + CROP, x:x + CROP]
            if crop.reshape(-1, 3).std(0).max() > 12:
                out.append(crop)
    return common.pictures(out[:size], args.device)


def edges(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def reconstruction_loss(r, x):
    loss = (r - x).abs().mean() + 0.5 * (r - x).square().mean()
    for scale, weight in ((1, 0.5), (2, 0.5)):
        p, q = (F.avg_pool2d(v, scale) if scale > 1 else v for v in (r, x))
        loss = loss + weight * sum((a - b).abs().mean() for a, b in zip(edges(p), edges(q)))
    return loss


def validation(work, count: int = 96):
    renderer = world.Renderer(work)
    return common.pictures([renderer.render(s) for s, _ in captions.corpus([9, 9], count)], "cpu")


@torch.no_grad()
def psnr(net, x) -> float:
    device = next(net.parameters()).device
    errors = [((net(p.to(device)).sample.clamp(-1, 1) - p.to(device)) / 2).square().mean((1, 2, 3)) for p in x.split(16)]
    return -10 * torch.log10(torch.cat(errors).mean()).item()


def sheet(net, x, path) -> None:
    device = next(net.parameters()).device
    with torch.no_grad():
        r = net(x[:24].to(device)).sample.clamp(-1, 1).cpu()
    rows = torch.cat([torch.cat(list(torch.cat([x[i:i + 12], r[i:i + 12]], 2)), 2) for i in (0, 12)], 1)
    Image.fromarray(((rows + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(path)


def main() -> None:
    p = common.parser(__doc__, minutes=25)
    p.add_argument("--latent", type=int, default=models.LATENT)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--whole-batch", type=int, default=8)
    p.add_argument("--kl", type=float, default=1e-3)
    p.add_argument("--adamw", action="store_true", help="AdamW for all weights")
    p.add_argument("--name", default="vae")
    args = p.parse_args()
    common.start(args)
    folder = args.work / args.name
    net = models.vae(args.latent).to(args.device).to(memory_format=torch.channels_last)
    opt, ema = common.optimiser({"vae": net}, args.lr, 1e-4, muon=not args.adamw), common.Ema(net, 0.998)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0, samples=0)
    if "net" in state:
        net.load_state_dict(state["net"]), opt.load_state_dict(state["opt"])
        ema.state = state["ema"]
    step, samples = state["step"], state["samples"]
    budget, renderer, check = common.Budget(args.device, args.minutes, state["spent"]), world.Renderer(args.work), None
    check = validation(args.work)
    common.log("vae parameters", common.count(net), "from step", step)
    running, saved = [], budget.spent

    def save():
        common.save_atomic(dict(net=net.state_dict(), opt=opt.state_dict(), ema=ema.state, step=step, samples=samples,
                                spent=budget.spent), folder / "last.pt")

    while budget.fraction < 1 and step < args.steps:
        x = batch(args, renderer, step, budget.fraction > 0.75)
        with common.autocast(args.device):
            d = net.encode(x).latent_dist
            r = net.decode(d.sample()).sample
        loss = reconstruction_loss(r.float(), x) + args.kl * d.kl().float().mean() / d.mean[0].numel()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step, 50))
        opt.step()
        ema.update(net, step)
        running.append(loss.item())
        step, samples = step + 1, samples + len(x)
        budget.tick()
        if step % 500 == 0:
            with ema.swapped(net):
                quality = psnr(net, check)
            budget.pause()
            common.log(f"vae step {step} spent {budget.spent:.0f}s loss {np.mean(running):.4f} psnr {quality:.2f} "
                       f"{samples / budget.spent:.1f}/s")
            running = []
        if budget.spent - saved > args.checkpoint_every * 60:
            save()
            saved = budget.spent
    save()
    net.load_state_dict(ema.state)
    net.eval()
    with torch.no_grad():
        z = torch.cat([net.encode(p.to(args.device)).latent_dist.mean for p in check.split(16)])
    net.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    net.to(memory_format=torch.contiguous_format).save_pretrained(folder / "model")
    sheet(net, check, folder / "sheet.png")
    common.record(args, args.name, psnr=psnr(net, check), samples=samples, steps=step, seconds=round(budget.spent),
                  parameters=common.count(net), latent_std=[round(v, 3) for v in z.std((0, 2, 3)).tolist()])
    common.finish(args, args.name)


if __name__ == "__main__":
    sys.exit(main())
