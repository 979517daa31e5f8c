"""Renders the icons of the world from the npm icon sets into one file of sprites, WORK/sprites.npz.

The sets are fetched with npm when the folder WORK/icons does not hold them yet; they are used at training time only and are
not shipped. Every sprite is cropped to its content, centred in a square and stored as uint8 RGBA, [noun, SIZE, SIZE, 4].
The licences of the sets go to WORK/icon_licences.json, which the assembled models carry along.

Roles: `world` sets make the scenes, `judge` sets train the independent judge (other drawings of the same things, and never
the flat Fluent drawings that the denoisers learn), `held out` sets are for checks only.
"""
from __future__ import annotations

import io
import json
import pathlib
import subprocess

import numpy as np
from PIL import Image

import world

SIZE = 160          # pixels a side of a stored sprite
ROLES = {
    "fluent-emoji-flat": "world", "noto": "world",
    "fluent-emoji": "judge", "noto-v1": "judge", "twemoji": "judge", "openmoji": "held out",
}


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Installs the icon packages below `folder` where they are missing; returns the folder that holds the sets."""
    base = folder / "node_modules" / "@iconify-json"
    missing = [s for s in ROLES if not (base / s / "icons.json").exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *(f"@iconify-json/{s}" for s in ROLES)],
                       cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return base


def svg_of(icons: dict, name: str) -> str | None:
    """The SVG text of an icon of an Iconify set; None if the set lacks it."""
    while name not in icons["icons"]:
        if name not in icons.get("aliases", {}):
            return None
        name = icons["aliases"][name]["parent"]
    icon = icons["icons"][name]
    w, h = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {w} {h}" width="{w}" height="{h}">{icon["body"]}</svg>')


def rasterise(svg: str) -> np.ndarray:
    """SVG text to a cropped, centred RGBA square with a margin of 2 %."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=3 * SIZE, height=3 * SIZE))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda v: 255 if v > 12 else 0).getbbox())
    scale = 0.96 * SIZE / max(image.size)
    image = image.resize([max(1, round(s * scale)) for s in image.size], Image.LANCZOS)
    square = Image.new("RGBA", (SIZE, SIZE))
    square.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(square)


def build(work: pathlib.Path) -> pathlib.Path:
    """Makes WORK/sprites.npz: an array and a mask of the nouns present for each set. Does nothing if it is there."""
    out = work / "sprites.npz"
    if out.exists():
        return out
    base, arrays, licences = fetch(work / "icons"), {}, {}
    for name, role in ROLES.items():
        icons, info, package = (json.loads((base / name / f).read_text())
                                for f in ("icons.json", "info.json", "package.json"))
        sprites = np.zeros((len(world.NOUNS), SIZE, SIZE, 4), np.uint8)
        present = np.zeros(len(world.NOUNS), bool)
        for k, noun in enumerate(world.NOUNS):
            svg = svg_of(icons, noun.icon)
            if svg:
                sprites[k], present[k] = rasterise(svg), True
        if role == "world" and not present.all():
            raise SystemExit(f"{name} lacks {[n.icon for n, p in zip(world.NOUNS, present) if not p]}")
        arrays[name], arrays[name + ".present"] = sprites, present
        licences[name] = dict(package=package["name"], version=package["version"], title=info["name"], role=role,
                              author=info["author"], license=info["license"], nouns=int(present.sum()))
    temporary = work / "sprites.tmp.npz"
    np.savez_compressed(temporary, **arrays)
    (work / "icon_licences.json").write_text(json.dumps(licences, indent=1) + "\n")
    temporary.replace(out)
    return out
