"""What the inexact choices do to pictures: PSNR of final pictures against those of plain f32.

    python3 bench/quality.py [--model emoji-clip] [--layers 0,4,8,12] [--seeds 3] [--dlens ./dlens] [--threads 1]

Five prompts, by default three seeds and four layers: 60 pictures, each made once plainly and once with `--precision fast`,
`--reuse` 2, 3 and 5 (20 steps of DDIM, plain and not), and from weights that `dlens convert` has written in int8 (of single
parts and of all) and bf16. PSNR over the 8-bit values of a picture, 10 log10(255^2 / mean squared difference); equal pictures
count as 100 dB. Prints, as Markdown, median, least and how many are over 35 dB, and the processor time of the whole program
against the plain run's. Needs numpy and pillow.
"""

import argparse
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ["a dog", "a cat", "a red apple", "a tree and a car", "a blue bird on a house"]
DDIM = ["--sampler", "ddim", "--steps", "20"]


def lens(options, model, out, *more):
    """Makes the pictures; the processor time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([options.dlens.resolve(), "lens", *PROMPTS, "-m", model, "-l", options.layers, "--seeds", options.seeds, "-q",
                    "-j", str(options.threads), "-o", out, *more], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def psnr(a, b):
    a, b = (np.asarray(Image.open(p).convert("RGB"), dtype=np.float64) for p in (a, b))
    error = np.mean((a - b) ** 2)
    return 10 * np.log10(255**2 / error) if error > 0 else 100.0


def compare(options, plain, other):
    names = sorted(p.relative_to(plain) for p in plain.glob("*/seed-*/layer-*.png"))
    assert len(names) == len(PROMPTS) * len(options.layers.split(",")) * int(options.seeds), f"{len(names)} pictures"
    return [psnr(plain / n, other / n) for n in names]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="emoji-clip")
    p.add_argument("--layers", default="0,4,8,12")
    p.add_argument("--seeds", default="3")
    p.add_argument("--dlens", type=Path, default=ROOT / "dlens")
    p.add_argument("--threads", type=int, default=1)
    options = p.parse_args()
    print("| | median | least | over 35 dB | processor time |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        folder, spent = Path(folder), {}

        def row(name, plain, model, *more):
            time = lens(options, model, folder / name, *more)
            values = compare(options, folder / plain, folder / name)
            print(f"| {name} | {statistics.median(values):.1f} dB | {min(values):.1f} dB | {sum(v > 35 for v in values)} of "
                  f"{len(values)} | {time / spent[plain]:.2f} |", flush=True)

        for plain, settings in (("plain", []), ("plain, 20 steps of DDIM", DDIM)):
            spent[plain] = lens(options, options.model, folder / plain, *settings)
        row("--precision fast", "plain", options.model, "--precision", "fast")
        for n in "235":
            row(f"--reuse {n}", "plain, 20 steps of DDIM", options.model, *DDIM, "--reuse", n)
        for dtype, part in (("int8", "text_encoder"), ("int8", "unet"), ("int8", "vae"), ("int8", None), ("bf16", None)):
            name = f"{dtype}, {part or 'all'}"
            model = folder / f"model-{dtype}-{part}"
            subprocess.run([options.dlens.resolve(), "convert", "-m", options.model, "-o", model, "--to", dtype,
                            *(["--parts", part] if part else [])], check=True, stdout=subprocess.DEVNULL)
            row(name, "plain", model)


if __name__ == "__main__":
    main()
