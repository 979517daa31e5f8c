"""Stage `decoder`: sharpens the VAE's decoder with its encoder frozen, so latents and denoisers stay valid.

Trains decoder and post_quant_conv on the latents of whole scenes, with a little noise, as a denoiser's output has some.
Starts from WORK/vae/model; result: WORK/vae/model-tuned, which evaluation and assembly prefer. May be given more budget at
any time.
"""
from __future__ import annotations

import sys

import numpy as np
import torch
from diffusers import AutoencoderKL

import common
import train_vae
import world


def main() -> None:
    p = common.parser(__doc__, minutes=15)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--noise", type=float, default=0.08, help="in units of the scaled latents")
    args = p.parse_args()
    common.start(args)
    folder = args.work / "decoder"
    net = AutoencoderKL.from_pretrained(args.work / "vae" / "model").to(args.device).to(memory_format=torch.channels_last)
    net.encoder.requires_grad_(False), net.quant_conv.requires_grad_(False)
    weights = [q for q in net.parameters() if q.requires_grad]
    opt, ema = common.optimiser({"vae": net}, args.lr, 1e-4), common.Ema(net, 0.998)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0)
    if "net" in state:
        net.load_state_dict(state["net"]), opt.load_state_dict(state["opt"])
        ema.state = state["ema"]
    step, budget, renderer = state["step"], common.Budget(args.device, args.minutes, state["spent"]), \
        world.Renderer(args.work)
    check, scale = train_vae.validation(args.work), net.config.scaling_factor
    common.log("decoder from step", step, "psnr", round(train_vae.psnr(net, check), 2))
    running, saved = [], budget.spent

    def save():
        common.save_atomic(dict(net=net.state_dict(), opt=opt.state_dict(), ema=ema.state, step=step, spent=budget.spent),
                           folder / "last.pt")

    while budget.fraction < 1 and step < args.steps:
        rng = common.rng_for(args, "decoder", step)
        x = common.pictures([renderer.render(world.sample_scene(rng, train_vae.MIX)) for _ in range(args.batch)], args.device)
        with common.autocast(args.device):
            with torch.no_grad():
                z = net.encode(x).latent_dist.mean
            r = net.decode(z + args.noise / scale * torch.randn_like(z)).sample
        loss = train_vae.reconstruction_loss(r.float(), x)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step, 50, 0.2))
        opt.step()
        ema.update(net, step)
        running.append(loss.item())
        step += 1
        budget.tick()
        if step % 200 == 0:
            common.log(f"decoder step {step} spent {budget.spent:.0f}s loss {np.mean(running):.4f} "
                       f"{step * args.batch / budget.spent:.1f}/s")
            running = []
        if budget.spent - saved > args.checkpoint_every * 60:
            save()
            saved = budget.spent
    save()
    net.load_state_dict(ema.state)
    net.eval().to(memory_format=torch.contiguous_format).save_pretrained(args.work / "vae" / "model-tuned")
    train_vae.sheet(net, check, folder / "sheet.png")
    common.record(args, "decoder", psnr=train_vae.psnr(net, check), steps=step, samples=step * args.batch,
                  seconds=round(budget.spent))
    common.finish(args, "decoder")


if __name__ == "__main__":
    sys.exit(main())
