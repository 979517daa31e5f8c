"""Figures and sheets of a trained denoiser: 500 fixed prompts, read by the independent judge.

    evaluate.py --work DIR --encoder clip                 all prompts, two seeds, last layer
    evaluate.py --work DIR --encoder clip --layers        every layer of the encoder, with bootstrap intervals
    evaluate.py --work DIR --encoder clip --samplers      samplers, steps and guidance on a fifth of the prompts

Writes WORK/unet-<encoder>/evaluation*.json. The start noise of a prompt is that of torch.manual_seed(seed), as in the
pipelines and in dlens. `periodic` is the small check that training runs by itself.
"""
from __future__ import annotations

import sys

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image, ImageDraw

import captions
import common
import judge
import models
import world
from world import Scene, Thing

SAMPLER, STEPS, GUIDANCE = (models.SETTINGS[key] for key in ("sampler", "steps", "guidance"))
SHEET = ("a dog", "a cat", "a horse", "a tree", "a flamingo", "a sloth", "an otter", "a kangaroo", "a red dog", "a blue apple",
         "a red dog and a white cat", "a dog and a cat", "a cat above a car", "a bird on a house",
         "a blue bear on a yellow background", "a fish in a boat")


def prompts() -> list[tuple[Scene, str]]:
    """The 500 fixed prompts and what they mean: 128 single, 112 coloured, 90 two things, 90 two coloured, 80 relations."""
    rng, out = np.random.default_rng(20240305), []
    draw = lambda n: [int(v) for v in rng.choice(len(world.NOUNS), n, replace=False, p=world.NOUN_P)]
    for k in range(len(world.NOUNS)):
        scene = Scene([Thing(k)])
        out += [(scene, captions.phrase(Thing(k))), (scene, "a picture of " + captions.phrase(Thing(k)))]
    for tint in range(len(world.TINTS)):
        out += [(Scene([Thing(k, tint)]), captions.phrase(Thing(k, tint))) for k in draw(14)]
    for i in range(260):
        a, b = (Thing(k) for k in draw(2))
        relation = "and" if i < 180 else ("left", "right", "above", "below", "on", "under", "in")[i % 7]
        if 90 <= i < 180:
            a.tint, b.tint = (int(v) for v in rng.choice(len(world.TINTS), 2, replace=False))
        words = {"and": "and", "left": "to the left of", "right": "to the right of"}.get(relation, relation)
        out.append((Scene([a, b], relation), f"{captions.phrase(a)} {words} {captions.phrase(b)}"))
    return out


def scheduler_of(name: str):
    """`ddim`; `dpm++2m`, DPM-Solver++(2M), or `dpm++2m-trailing`, with its last steps nearer to the end."""
    config = models.scheduler().config
    if name == "ddim":
        return DDIMScheduler.from_config(config)
    return DPMSolverMultistepScheduler.from_config(config, timestep_spacing="trailing" if name.endswith("-trailing") else "leading")


class Painter:
    """Denoiser and decoder of a stage; paints pictures of given conditionings."""

    def __init__(self, work, encoder: str, device: str = "cpu"):
        self.device, self.text = device, models.TextEncoder(encoder, work, device)
        self.unet = UNet2DConditionModel.from_pretrained(work / f"unet-{encoder}" / "model").to(device).eval()
        self.unet.to(memory_format=torch.channels_last)
        self.vae = models.load_vae(work).to(device)
        self.empty = self.text([""])

    @torch.no_grad()
    def paint(self, states, seeds, steps=STEPS, guidance=GUIDANCE, sampler=SAMPLER, batch=50) -> torch.Tensor:
        """states (n, TOKENS, WIDTH), a seed for each; pictures in [-1, 1] on the CPU."""
        return torch.cat([self._paint(states[i:i + batch], seeds[i:i + batch], steps, guidance, sampler)
                          for i in range(0, len(states), batch)])

    def _paint(self, states, seeds, steps, guidance, sampler):
        shape = (1, models.LATENT, models.LATENT_RES, models.LATENT_RES)
        x = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]).to(self.device)
        both = torch.cat([self.empty.expand(len(x), -1, -1), states])
        scheduler = scheduler_of(sampler)
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            with common.autocast(self.device):
                blank, told = self.unet(torch.cat([x, x]), t, both).sample.float().chunk(2)
            x = scheduler.step(blank + guidance * (told - blank), t, x).prev_sample
        x = x / self.vae.config.scaling_factor
        return torch.cat([self.vae.decode(p).sample.clamp(-1, 1).cpu() for p in x.split(25)])


def to_image(x: torch.Tensor) -> Image.Image:
    return Image.fromarray(((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def save_sheet(rows: list[tuple[str, torch.Tensor]], path) -> None:
    """A row of pictures for each label."""
    side, margin = world.RES, 210
    sheet = Image.new("RGB", (margin + max(len(r) for _, r in rows) * (side + 4), len(rows) * (side + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (label, row) in enumerate(rows):
        for i in range(0, len(label), 34):
            draw.text((4, y * (side + 4) + 8 + 12 * (i // 34)), label[i:i + 34], fill="black")
        for x, picture in enumerate(row):
            sheet.paste(to_image(picture), (margin + x * (side + 4), y * (side + 4)))
    temporary = path.with_name("tmp-" + path.name)
    sheet.save(temporary)
    temporary.replace(path)


def figures(work, painter, chosen, seeds, **how) -> dict:
    reader, scores = judge.Reader(work), []
    states = painter.text([t for _, t in chosen])
    for seed in seeds:
        pictures = painter.paint(states, [seed] * len(chosen), **how)
        scores += [judge.score(scene, r) for (scene, _), r in zip(chosen, reader(pictures))]
    return judge.mean_scores(scores)


def sheet(work, painter, encoder: str, seeds=(0, 1, 2, 3, 4)) -> None:
    states = painter.text(SHEET)
    pictures = painter.paint(states.repeat_interleave(len(seeds), 0), list(seeds) * len(SHEET))
    save_sheet(list(zip(SHEET, pictures.split(len(seeds)))), work / f"unet-{encoder}" / "sheet.png")


def periodic(args, encoder: str, samples: int) -> None:
    """A quarter of the prompts, one seed, and the sheet; nothing where the judge is not trained yet."""
    painter = Painter(args.work, encoder, args.device)
    sheet(args.work, painter, encoder, (0, 1, 2))
    if (args.work / "judge" / "model.pt").exists():
        common.record(args, f"unet-{encoder}-check", samples=samples, **figures(args.work, painter, prompts()[::4], [0]))


def interval(values, draws: int = 2000) -> list[float]:
    """Mean and 95 % bootstrap interval over prompts."""
    values = np.asarray(values, float)
    means = np.random.default_rng(0).choice(values, (draws, len(values))).mean(1)
    return [round(float(v), 3) for v in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


def layer_curves(args, painter) -> dict:
    """Single nouns and colours by layer (seed 0): mean and interval, and a sheet of some prompts by layer."""
    reader = judge.Reader(args.work)
    chosen = [(s, t) for s, t in prompts()[:240:2]] + prompts()[330:420:3]
    layers = painter.text.layers([t for _, t in chosen])
    out = []
    for k, states in enumerate(layers):
        scores = [judge.score(s, r) for (s, _), r in zip(chosen, reader(painter.paint(states, [0] * len(chosen))))]
        keys = sorted({key for s in scores for key in s})
        out.append(dict(layer=k, **{key: interval([s[key] for s in scores if key in s]) for key in keys}))
        common.log(f"layer {k}", {key: v[0] for key, v in out[-1].items() if key != "layer"})
    states = torch.stack(painter.text.layers(SHEET), 1).flatten(0, 1)
    pictures = painter.paint(states, [0] * len(states))
    save_sheet(list(zip(SHEET, pictures.split(len(layers)))), args.work / f"unet-{args.encoder}" / "sheet-layers.png")
    return dict(how=models.SETTINGS, layers=out)


def main() -> None:
    p = common.parser(__doc__)
    p.add_argument("--encoder", choices=("clip", "t5"), default="clip")
    p.add_argument("--layers", action="store_true")
    p.add_argument("--samplers", action="store_true")
    p.add_argument("--every", type=int, default=1, help="use each N-th prompt")
    p.add_argument("--seeds", type=int, default=2)
    args = p.parse_args()
    common.start(args)
    painter, folder = Painter(args.work, args.encoder, args.device), args.work / f"unet-{args.encoder}"
    if args.layers:
        result, name = layer_curves(args, painter), "evaluation-layers.json"
    elif args.samplers:
        name, rows = "evaluation-samplers.json", []
        for sampler in ("ddim", "dpm++2m", "dpm++2m-trailing"):
            for steps in (10, 15, 20, 30):
                for guidance in ((1.5, 2.5, 4.0) if steps == 20 else (4.0,)):
                    how = dict(sampler=sampler, steps=steps, guidance=guidance)
                    rows.append(dict(how, **figures(args.work, painter, prompts()[::5], [0], **how)))
                    common.log(rows[-1])
        result = dict(rows=rows)
    else:
        result, name = figures(args.work, painter, prompts()[::args.every], list(range(args.seeds))), "evaluation.json"
        sheet(args.work, painter, args.encoder)
    common.write_json(folder / name, result)
    common.record(args, f"{args.encoder}-{name}", **result)


if __name__ == "__main__":
    sys.exit(main())
