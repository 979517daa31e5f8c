"""Puts the trained parts together as genuine Hugging Face folders in f16, and takes them apart again to go on training.

    assemble.py --work DIR --out weights                 writes weights/emoji-clip, weights/emoji-t5 (what is trained)
    assemble.py --work DIR --restore weights             an empty working folder from assembled models
    assemble.py --work DIR --check weights/emoji-clip [--dlens ./dlens]    diffusers loads it and paints; who else does the same

Each folder has StableDiffusionPipeline's layout. training.json says how far the denoiser is and what was measured: with it
`--restore` makes a state from which all stages go on (the averaged weights stand in for the live ones; the optimiser starts
afresh, which its warm-up covers).
"""
from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, T5EncoderModel

import common
import models

PARTS = {"clip": ("CLIPTextModel", "CLIPTokenizer"), "t5": ("T5EncoderModel", "T5Tokenizer")}


def model_index(encoder: str) -> dict:
    text, tokenizer = PARTS[encoder]
    return {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "feature_extractor": [None, None],
            "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
            "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", text],
            "tokenizer": ["transformers", tokenizer], "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"]}


def text_model(args, encoder: str):
    if encoder == "t5":
        model = T5EncoderModel.from_pretrained(args.work / "t5" / "model")
        model.config.use_attention_mask = True          # then diffusers' pipeline hands the mask on, as in training
        return model
    whole = CLIPModel.from_pretrained(args.work / "clip" / "model")
    model = CLIPTextModel(whole.config.text_config)
    weights = {k: v for k, v in whole.state_dict().items() if k.startswith("text_model.")}
    if not any(k.startswith("text_model.") for k in model.state_dict()):
        weights = {k.removeprefix("text_model."): v for k, v in weights.items()}
    model.load_state_dict(weights)
    return model


def measured(args) -> dict:
    """The last record of every stage."""
    rows, path = {}, args.work / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        rows[row.pop("stage")] = row
    return rows


def assemble(args, encoder: str) -> None:
    stage, out = args.work / f"unet-{encoder}", args.out / f"emoji-{encoder}"
    if not (stage / "model" / "config.json").exists():
        common.log(f"{stage.name} is not trained yet")
        return
    parts = dict(vae=models.load_vae(args.work), text_encoder=text_model(args, encoder),
                 unet=UNet2DConditionModel.from_pretrained(stage / "model"))
    if encoder == "clip":
        parts["judge"] = CLIPModel.from_pretrained(args.work / "clip" / "model")
    for name, part in parts.items():
        part.half().save_pretrained(out / name)
        config = json.loads((out / name / "config.json").read_text())
        config.pop("_name_or_path", None)       # a folder of the machine that trained it
        common.write_json(out / name / "config.json", config)
    models.scheduler().save_pretrained(out / "scheduler")
    shutil.copytree(args.work / f"tokenizer-{encoder}", out / "tokenizer", dirs_exist_ok=True)
    if encoder == "clip":
        for name in ("preprocessor_config.json", "processor_config.json"):
            if (args.work / "clip" / "model" / name).exists():
                shutil.copy(args.work / "clip" / "model" / name, out / "judge")
        shutil.copytree(args.work / "tokenizer-clip", out / "judge", dirs_exist_ok=True)
    for name in ("noun_frequency.json", "icon_licences.json"):
        shutil.copy(args.work / name, out)
    common.write_json(out / "model_index.json", model_index(encoder))
    common.write_json(out / "dlens.json", models.SETTINGS)
    done = {p.stem: json.loads(p.read_text()) for p in sorted((args.work / "done").glob("*.json"))}
    common.write_json(out / "training.json", dict(denoiser=json.loads((stage / "report.json").read_text()), done=done,
                                                  measured=measured(args)))
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    common.log(f"{out.name}: {size / 1e6:.1f} MB")


def restore(args) -> None:
    """Working folder from assembled models: what is frozen as it is, denoisers with their averaged weights, and the figures."""
    rows: dict = {}
    for encoder in PARTS:
        source = args.restore / f"emoji-{encoder}"
        if not source.exists():
            continue
        AutoencoderKL.from_pretrained(source / "vae").float().save_pretrained(args.work / "vae" / "model")
        whole = CLIPModel.from_pretrained(source / "judge") if encoder == "clip" else \
            T5EncoderModel.from_pretrained(source / "text_encoder")
        whole.float().save_pretrained(args.work / encoder / "model")
        if encoder == "clip":
            shutil.copy(source / "judge" / "preprocessor_config.json", args.work / "clip" / "model")
        shutil.copytree(source / "tokenizer", args.work / f"tokenizer-{encoder}", dirs_exist_ok=True)
        shutil.copy(source / "noun_frequency.json", args.work)
        facts = json.loads((source / "training.json").read_text())
        rows.update(facts["measured"])
        net = UNet2DConditionModel.from_pretrained(source / "unet").float()
        net.save_pretrained(args.work / f"unet-{encoder}" / "model")
        report, weights = facts["denoiser"], net.state_dict()
        common.write_json(args.work / f"unet-{encoder}" / "report.json", report)
        trunk = {k: report[k] for k in ("trunk",) if k in report}
        common.save_atomic(dict(net=weights, ema=weights, step=report["step"], samples=report["samples"],
                                spent=float(report["seconds"]), **trunk), args.work / f"unet-{encoder}" / "last.pt")
        if encoder == "clip":           # an emoji-t5 that is not there yet may start from it
            net.save_pretrained(args.work / "unet-clip" / "trunk")
            common.write_json(args.work / "done" / "trunk.json", dict(samples=report["samples"], minutes=0))
        for stage in ("vae", "tokenizers", encoder, "decoder"):
            if stage in facts["done"]:
                common.write_json(args.work / "done" / f"{stage}.json", facts["done"][stage])
        common.log(f"restored {source.name}: {report['samples']} samples")
    (args.work / "metrics.jsonl").write_text("".join(json.dumps(dict(stage=k, **v)) + "\n" for k, v in rows.items()))


def psnr(a, b) -> float:
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-20)))


def check(args) -> None:
    """diffusers loads the folder; its pictures against dlens's (over 40 dB wanted) and, where the working folder is there,
    against those of the training's own loop."""
    from diffusers import StableDiffusionPipeline
    import evaluate
    encoder, how = args.check.name.split("-")[-1], models.SETTINGS
    pipe = StableDiffusionPipeline.from_pretrained(args.check, torch_dtype=torch.float32)
    pipe.scheduler = evaluate.scheduler_of(how["sampler"])
    pipe.set_progress_bar_config(disable=True)
    trained = (args.work / f"unet-{encoder}" / "model" / "config.json").exists()
    painter = evaluate.Painter(args.work, encoder) if trained else None
    for seed, prompt in enumerate(("a dog", "a red dog and a white cat", "a kangaroo")):
        picture = pipe(prompt, num_inference_steps=how["steps"], guidance_scale=how["guidance"],
                       generator=torch.Generator().manual_seed(seed), output_type="np").images[0]
        if args.dlens:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "own.png"
                subprocess.run([args.dlens.resolve(), "generate", prompt, "-m", args.check, "-s", str(seed), "-o", path, "-q"],
                               check=True, stdout=subprocess.DEVNULL)
                own = np.asarray(Image.open(path).convert("RGB"), np.float64) / 255
            common.log(f"{args.check.name}, '{prompt}': {psnr(picture, own):.1f} dB between diffusers and dlens")
        if painter:
            own = painter.paint(painter.text([prompt]), [seed], how["steps"], how["guidance"])[0].permute(1, 2, 0).numpy() / 2 + 0.5
            common.log(f"{args.check.name}, '{prompt}': {psnr(picture, own):.1f} dB between diffusers and the training's loop "
                       "(f16 weights here, bfloat16 there)")


def main() -> None:
    p = common.parser(__doc__)
    p.add_argument("--out", type=pathlib.Path)
    p.add_argument("--restore", type=pathlib.Path)
    p.add_argument("--check", type=pathlib.Path)
    p.add_argument("--dlens", type=pathlib.Path, help="the program whose pictures --check also compares")
    args = p.parse_args()
    common.start(args)
    if args.restore:
        restore(args)
    if args.out:
        for encoder in PARTS:
            assemble(args, encoder)
        common.finish(args, "assemble")
    if args.check:
        check(args)


if __name__ == "__main__":
    sys.exit(main())
