"""Writes the model card, README.md and a picture, of each assembled folder from what was recorded in training.

    card.py --work DIR --out weights

Figures come from WORK/metrics.jsonl and WORK/unet-*/evaluation*.json; what was not measured is said to be missing.
"""
from __future__ import annotations

import json
import pathlib
import shutil
import sys

import assemble
import common
import models
import world

TARGETS = {"noun_common": ("single noun, common", .90), "noun_rare": ("single noun, rare", .70),
           "noun": ("single noun, all", .90), "colour": ("named colour", .90),
           "coloured_noun": ("noun in a named colour", None), "both": ("two nouns both there", .75),
           "binding": ("both there and colours bound", .70), "relation": ("relation", .70),
           "relation_given_both": ("relation, where both are there", None)}
TEXT = {
    "clip": "A CLIP text encoder of {blocks} blocks, {width} wide, trained contrastively together with an image tower (kept in "
            "`judge/`, CLIPModel layout, the annotator), then frozen. Half of each batch are hard negatives of the other half: "
            "colours swapped, things swapped, another relation, noun or background.",
    "t5": "A T5 encoder of {blocks} blocks, {width} wide, trained text to text (60 % rewriting a sentence to its plain form, 40 % "
          "span corruption), then frozen. It never saw a picture. diffusers hands its attention mask on because the encoder's "
          "config says `use_attention_mask`.",
}


def read(path: pathlib.Path):
    return json.loads(path.read_text()) if path.exists() else None


def percent(value) -> str:
    return "not measured" if value is None else f"{100 * value:.0f} %"


def figure_table(figures: dict | None, ceiling: dict | None) -> list[str]:
    out = ["| figure | reached | aim | judge's ceiling: true scenes, through the VAE |", "| --- | --- | --- | --- |"]
    for key, (name, aim) in TARGETS.items():
        limit = ", ".join(percent((ceiling or {}).get(k, {}).get(key)) for k in ("true", "through_vae"))
        out.append(f"| {name} | {percent((figures or {}).get(key))} | {percent(aim) if aim else ''} | {limit} |")
    return out


def layer_table(layers: list | None) -> list[str]:
    if not layers:
        return ["Not measured yet."]
    keys = [k for k in ("noun_common", "noun_rare", "coloured_noun", "colour", "binding") if k in layers[0]]
    out = ["| layer | " + " | ".join(TARGETS[k][0] for k in keys) + " |", "| --- |" + " --- |" * len(keys)]
    for row in layers:
        cells = [f"{100 * row[k][0]:.0f} ({100 * row[k][1]:.0f}–{100 * row[k][2]:.0f})" for k in keys]
        out.append(f"| {row['layer']} | " + " | ".join(cells) + " |")
    return out


def stage_table(rows: dict, encoder: str) -> list[str]:
    def row(name, key, what, result):
        r = rows.get(key)
        return f"| {name} | {what(r)} | {r['seconds'] / 60:.0f} min | {result(r)} |" if r else f"| {name} | not recorded | | |"
    out = ["| stage | samples | processor time | result |", "| --- | --- | --- | --- |",
           row("VAE", "vae", lambda r: f"{r['samples']:,} crops and pictures", lambda r: f"{r['psnr']:.1f} dB"),
           row("decoder, tuned", "decoder", lambda r: f"{r['samples']:,} pictures", lambda r: f"{r['psnr']:.1f} dB")]
    if encoder == "clip":
        out.append(row("CLIP", "clip", lambda r: f"{r['pairs']:,} pairs", lambda r: "zero-shot on clean icons: " + ", ".join(
            f"{k.removeprefix('icons_')} {percent(v)}" for k, v in r.items() if k.startswith("icons_"))))
    else:
        out.append(row("T5", "t5", lambda r: f"{r['examples']:,} examples", lambda r: (
            f"plain form exact {percent(r['exact'])}; share of variance between nouns at the noun's token, layers 0 to "
            f"{len(r['noun_share']) - 1}: {', '.join(f'{v:.2f}' for v in r['noun_share'])}")))
    return out


def card(args, encoder: str) -> str:
    out, stage = args.out / f"emoji-{encoder}", args.work / f"unet-{encoder}"
    rows, report = assemble.measured(args), read(stage / "report.json")
    licences = read(args.work / "icon_licences.json") or {}
    layers = read(stage / "evaluation-layers.json")
    how = models.SETTINGS
    text = TEXT[encoder].format(blocks=models.TEXT_BLOCKS, width=models.WIDTH)
    lines = [
        f"# emoji-{encoder}", "",
        "A small text-to-image model of a world of emoji scenes, made for dlens: there one knows what the text encoder was "
        "taught and how often. Trained from nothing by `tools/train`; the world is procedural and seeded.", "",
        "![pictures](sheet.png)", "",
        "## Parts",
        f"- {text}",
        f"- VAE: {world.RES} x {world.RES} pixels to {models.LATENT_RES} x {models.LATENT_RES} x {models.LATENT} latents.",
        f"- UNet of 8.6 M weights, v-prediction: {report['samples']:,} samples in "
        f"{report['seconds'] / 3600:.1f} hours of one core" + (
            f"; the first {report['trunk']:,} are those of emoji-clip's denoiser, from which this one started with new keys and "
            "values of the text; the hours are its own." if "trunk" in report else "."),
        f"- Settings, in `dlens.json`: {how['sampler']}, {how['steps']} steps, guidance {how['guidance']}.", "",
        "## Data",
        f"{len(world.NOUNS)} nouns with Zipf-like frequency (`noun_frequency.json`; the {len(world.RARE)} rarest count as rare), "
        f"{len(world.TINTS)} colours, {len(world.BACKS)} backgrounds, one or two things, {len(world.RELATIONS)} relations; "
        "sentences of varied syntax. About half of the nouns are one token, at every frequency. The frequency is the text "
        "encoder's: the denoiser's scenes are drawn so that nouns come equally often.", "",
        "## Training", *stage_table(rows, encoder), "",
        "## Quality", "500 fixed prompts, 2 seeds, last layer, read by an independent judge (a small network trained on other "
        "renderings: other icon sets, sizes, places, blur).", "",
        *figure_table(read(stage / "evaluation.json"), (rows.get("judge") or {}).get("ceiling")), "",
        "## The lens", "Recognised by the judge at each layer, in percent, with 95 % bootstrap intervals over prompts" + (
            " ({sampler}, {steps} steps, guidance {guidance}).".format(**layers["how"]) if layers else "."), "",
        *layer_table(layers and layers["layers"]), "",
        "## Limits", "It knows only the words of its world, draws in one style, and shifts things by 8 pixels only. Unknown words "
        "give arbitrary pictures.", "",
        "## Licences",
        "The weights are under the project's licence. Icons seen in training: " + "; ".join(
            f"{v['title']} {v['version']} ({v['license']['title']})" for v in licences.values() if v["role"] == "world") + ".",
    ]
    picture = stage / "sheet.png"
    if picture.exists():
        shutil.copy(picture, out / "sheet.png")
    return "\n".join(lines) + "\n"


def main() -> None:
    p = common.parser(__doc__)
    p.add_argument("--out", type=pathlib.Path, required=True)
    args = p.parse_args()
    for encoder in assemble.PARTS:
        if (args.out / f"emoji-{encoder}").exists():
            (args.out / f"emoji-{encoder}" / "README.md").write_text(card(args, encoder))


if __name__ == "__main__":
    sys.exit(main())
