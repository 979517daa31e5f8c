"""dlens against PyTorch (diffusers, transformers) on the same machine in the same run.

    python3 bench/peers.py --work FOLDER [--threads 2] [--rounds 3] [--size 512]

Times the text encoder (one prompt), one guided UNet step (batch 2) and the VAE decoder of a random
f32 model of the size of Stable Diffusion 1.5, which is made in FOLDER if it is not there. The two
take turns, so that a machine whose speed drifts is fair to both: each round is a run of
`dlens bench --json` and a turn of a PyTorch process that stays loaded. PyTorch runs in inference
mode with its fused attention, in the faster of its two memory formats (measured at the start).
Prints medians over the rounds, their ratios with the smallest and largest of a round, and memory.
Needs the packages of tools/reference/requirements.txt; `--small` runs on tests/data/tiny-sd1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "reference"))

PARTS = {"text_encoder": "text encoder, 1 prompt", "unet_step": "guided UNet step, batch 2",
         "vae_decode": "VAE decode"}


# ---- the PyTorch process -------------------------------------------------------------------------


def worker(folder, side, threads, repeats):
    """Loads the model, prints a line when ready, then one line of timings for each line read."""
    import logging
    import warnings

    import torch

    warnings.filterwarnings("ignore")
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    from conformance import load

    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    pipe = load(Path(folder))
    ids = pipe.tokenizer("a photo of a dog on a beach", padding="max_length", return_tensors="pt",
                         max_length=pipe.tokenizer.model_max_length).input_ids
    g = torch.Generator("cpu").manual_seed(0)
    latents = torch.randn(2, pipe.unet.config.in_channels, side // 8, side // 8, generator=g)

    def text_encoder():
        return pipe.text_encoder(ids, output_hidden_states=True)

    states = text_encoder().last_hidden_state.detach().repeat(2, 1, 1)
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

    def timed(run):
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def part(model, call, inputs):
        """The call in the faster memory format."""
        best = None
        for name, layout in formats.items():
            model.to(memory_format=layout)
            x = inputs.contiguous(memory_format=layout)
            call(x)
            seconds = timed(lambda: call(x))
            if best is None or seconds < best[0]:
                best = (seconds, name, layout)
        _, name, layout = best
        model.to(memory_format=layout)
        x = inputs.contiguous(memory_format=layout)
        return (lambda: call(x)), name

    with torch.inference_mode():
        unet, unet_format = part(
            pipe.unet, lambda x: pipe.unet(x, 500, encoder_hidden_states=states), latents)
        vae, vae_format = part(pipe.vae, lambda x: pipe.vae.decode(x), latents[:1])
        text_encoder()
        print(json.dumps({"torch": torch.__version__, "unet": unet_format, "vae": vae_format}),
              flush=True)
        for _ in sys.stdin:
            runs = {"text_encoder": text_encoder, "unet_step": unet, "vae_decode": vae}
            print(json.dumps({name: statistics.median(timed(run) for _ in range(repeats))
                              for name, run in runs.items()}), flush=True)


# ---- both sides ----------------------------------------------------------------------------------


class Watch:
    """Follows a process's memory: the peak of all that is resident and of what is no file's page."""

    def __init__(self, pid):
        self.pid, self.peak, self.stop = pid, {"VmHWM": 0, "RssAnon": 0}, threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while not self.stop.wait(0.02):
            try:
                lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            except OSError:
                return
            for line in lines:
                key, _, value = line.partition(":")
                if key in self.peak:
                    self.peak[key] = max(self.peak[key], int(value.split()[0]))

    def result(self):
        self.stop.set()
        self.thread.join()
        return self.peak


def run_dlens(program, folder, side, threads, repeats):
    command = [str(program), "bench", "-m", str(folder), "-j", str(threads), "--size",
               f"{side}x{side}", "--repeats", str(repeats), "--parts", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    watch = Watch(process.pid)
    out, _ = process.communicate()
    memory = watch.result()
    if process.returncode:
        raise SystemExit(f"peers: {' '.join(command)}: exit status {process.returncode}")
    return json.loads(out), memory


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def compare(options, folder, side):
    here = [sys.executable, __file__, "--worker", str(folder), "--size", str(side), "--threads",
            str(options.threads), "--repeats", str(options.repeats)]
    peer = subprocess.Popen(here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watch = Watch(peer.pid)
    about = peer.stdout.readline()
    if not about:
        raise SystemExit("peers: the PyTorch process did not start")
    about = json.loads(about)
    ours, theirs, memory = [], [], {"VmHWM": 0, "RssAnon": 0}
    for i in range(options.rounds):
        out, peak = run_dlens(options.dlens.resolve(), folder, side, options.threads, options.repeats)
        memory = {key: max(memory[key], peak[key]) for key in memory}
        ours.append({name: out[name]["seconds"] for name in PARTS})
        peer.stdin.write("again\n")
        peer.stdin.flush()
        theirs.append(json.loads(peer.stdout.readline()))
        print(f"round {i + 1}: dlens {ours[-1]}, PyTorch {theirs[-1]}", file=sys.stderr)
    peer.stdin.close()
    peer.wait()
    report(options, side, out, about, ours, theirs, memory, watch.result())


def report(options, side, out, about, ours, theirs, memory, peer_memory):
    print(f"{processor()}, {options.threads} threads, {side}x{side}, f32; dlens {out['version']}; "
          f"torch {about['torch']} (UNet {about['unet']}, VAE {about['vae']}); medians of "
          f"{options.rounds} rounds of {options.repeats}.\n")
    print("| part | dlens | PyTorch | ratio | of single rounds |\n| --- | --- | --- | --- | --- |")
    for name, what in PARTS.items():
        a, b = [r[name] for r in ours], [r[name] for r in theirs]
        ratios = [x / y for x, y in zip(a, b)]
        a, b = statistics.median(a), statistics.median(b)
        print(f"| {what} | {a:.3f} s | {b:.3f} s | {a / b:.2f} | "
              f"{min(ratios):.2f} to {max(ratios):.2f} |")
    for key, what in (("VmHWM", "peak resident memory"), ("RssAnon", "of it no file pages")):
        a, b = memory[key] * 1024e-9, peer_memory[key] * 1024e-9  # from KiB
        print(f"| {what} | {a:.2f} GB | {b:.2f} GB | {a / b:.2f} | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="where the model is made and kept (4.3 GB)")
    parser.add_argument("--dlens", type=Path, default=ROOT / "dlens")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--small", action="store_true", help="tests/data/tiny-sd1 at 64x64")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.size, options.threads, options.repeats)
    if options.small:
        return compare(options, ROOT / "tests/data/tiny-sd1", 64)
    if not options.work:
        parser.error("--work FOLDER or --small is needed")
    if not (options.work / "sd15" / "complete").exists():  # in a process of its own: its memory
        subprocess.run([sys.executable, str(ROOT / "tools/reference/conformance.py"), "--work",
                        str(options.work), "--models", "sd15", "--build-only"], check=True)
    return compare(options, options.work / "sd15", options.size)


if __name__ == "__main__":
    sys.exit(main())
