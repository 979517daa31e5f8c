"""dlens against other programs on the same machine, the same model and in the same run.

    python3 bench/peers.py --work FOLDER [--models sd15,sd21] [--peers torch,openvino,sdcpp]
                           [--threads 2] [--rounds 3] [--size 512] [--install]

Times the text encoder (one prompt), one guided UNet step (batch 2) and the VAE decoder of random
models of the sizes of Stable Diffusion 1.5 (f32) and 2.1 (f16), which are made in FOLDER if they
are not there. The programs (bench/peer_programs.py) take turns, so that a machine whose speed
drifts is fair to all: a round is one run of `dlens bench` and one turn of each peer, whose process
stays loaded but is stopped while the others run; a part's first run is not timed, on any side. Peers
named -bf16 are compared with `--precision fast`; as they narrow the weights when they load or compile
a model, dlens then reads what `dlens convert --to bf16` made of it. Prints, as Markdown, medians over
the rounds, their ratios with the smallest and largest of a round, and memory. `--lens N` also times a whole lens of N layers (4 steps, f32) by
dlens and by diffusers. `--install` first installs the packages that are missing into the running
environment (which should be a virtual one; tools/reference/requirements.txt, openvino and
stable-diffusion-cpp-python, which is compiled and takes minutes). `--small`: the tiny model.
"""

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"text_encoder": "text encoder, 1 prompt", "unet_step": "guided UNet step, batch 2",
         "vae_decode": "VAE decode"}
MEMORY = {"VmHWM": "peak resident memory", "RssAnon": "of it no file pages"}
PACKAGES = {"torch": "torch", "diffusers": "diffusers", "openvino": "openvino",
            "stable_diffusion_cpp": "stable-diffusion-cpp-python"}


class Watch:
    """Follows a process's memory: the peak of all that is resident and of what is no file's page."""

    def __init__(self, pid):
        self.pid, self.peak, self.stop = pid, dict.fromkeys(MEMORY, 0), threading.Event()
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


class Peer:
    """A process of bench/peer_programs.py; stopped between its turns."""

    def __init__(self, name, model, options):
        self.name, self.rounds = name, []
        command = [sys.executable, str(ROOT / "bench/peer_programs.py"), name, str(model), "--size",
                   str(options.size), "--threads", str(options.threads), "--repeats",
                   str(options.repeats)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.watch = Watch(self.process.pid)
        self.about = self.answer()["about"]
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"peers: {self.name} ended early; run bench/peer_programs.py {self.name}"
                             " by hand to see why")
        return json.loads(line)

    def turn(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        self.rounds.append(self.answer())
        self.process.send_signal(signal.SIGSTOP)

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()
        self.memory = self.watch.result()


class Ours:
    """dlens, run anew for each turn."""

    def __init__(self, name, model, options, more):
        self.name, self.rounds, self.about = name, [], ""
        self.memory = dict.fromkeys(MEMORY, 0)
        self.command = [str(options.dlens.resolve()), "bench", "-m", str(model), "-j",
                        str(options.threads), "--size", f"{options.size}x{options.size}",
                        "--repeats", str(options.repeats), "--parts", "--json", *more]

    def turn(self):
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE)
        watch = Watch(process.pid)
        out, _ = process.communicate()
        memory = watch.result()
        self.memory = {key: max(self.memory[key], memory[key]) for key in MEMORY}
        if process.returncode:
            raise SystemExit(f"peers: {' '.join(self.command)}: exit status {process.returncode}")
        out = json.loads(out)
        self.about = f"dlens {out['version']}"
        self.rounds.append({name: out[name]["seconds"] for name in PARTS})

    def end(self):
        pass


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def row(what, ours, theirs, unit):
    """ours, theirs: a value per round."""
    ratios = [a / b for a, b in zip(ours, theirs)]
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"| {what} | {a:.3f} {unit} | {b:.3f} {unit} | {a / b:.2f} | "
          f"{min(ratios):.2f} to {max(ratios):.2f} |")


def report(ours, peer, options):
    print(f"\n**{ours.name} against {peer.name}** ({peer.about})\n")
    print("| part | dlens | peer | ratio | of single rounds |\n| --- | --- | --- | --- | --- |")
    for name, what in PARTS.items():
        if all(name in r for r in peer.rounds):
            row(what, [r[name] for r in ours.rounds], [r[name] for r in peer.rounds], "s")
    for key, what in MEMORY.items():
        row(what, [ours.memory[key] * 1024e-9], [peer.memory[key] * 1024e-9], "GB")


def narrowed(model, options):
    """The model in bf16, beside it; the tiny one as it is."""
    if options.small:
        return model
    folder = model.with_name(model.name + "-bf16")
    if not folder.exists():
        subprocess.run([str(options.dlens.resolve()), "convert", "-m", str(model), "-o", str(folder),
                        "--to", "bf16"], check=True, stdout=sys.stderr)
    return folder


def compare(model, options):
    peers = [Peer(name, model, options) for name in options.peers.split(",") if name]
    ours = {"f32": Ours("dlens, f32", model, options, [])}
    if any(peer.name.endswith("-bf16") for peer in peers):
        ours["fast"] = Ours("dlens, fast", narrowed(model, options), options,
                            ["--precision", "fast"])
    for i in range(options.rounds):
        for program in [*ours.values(), *peers]:
            program.turn()
            print(f"round {i + 1}: {program.name} {program.rounds[-1]}", file=sys.stderr)
    for program in [*ours.values(), *peers]:
        program.end()
    print(f"\n### {model.name}, {options.size}x{options.size}\n\n{processor()}, {options.threads} "
          f"threads; {ours['f32'].about}; medians of {options.rounds} rounds of {options.repeats}.")
    for peer in peers:
        report(ours["fast" if peer.name.endswith("-bf16") else "f32"], peer, options)


def whole_lens(model, options):
    """The same lens by both: every layer of one prompt, one seed, 4 steps."""
    encoder = json.loads((model / "text_encoder/config.json").read_text())
    last = encoder["num_hidden_layers"]
    layers = ",".join(str(i) for i in range(last + 1 - options.lens, last + 1))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([str(options.dlens.resolve()), "lens", "a photo of a dog on a beach", "-m",
                        str(model), "-l", layers, "--steps", "4", "--size",
                        f"{options.size}x{options.size}", "-j", str(options.threads), "-q", "-o",
                        folder + "/lens"], check=True, stdout=subprocess.DEVNULL)
        ours = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "bench/peer_lens.py"), str(model), "--layers", layers,
                    "--steps", "4", "--size", str(options.size), "--threads", str(options.threads)],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    theirs = time.perf_counter() - start
    print(f"\n**A whole lens** ({options.lens} layers, one seed, 4 guided steps, f32, loading "
          f"included): dlens {ours:.1f} s, diffusers {theirs:.1f} s, ratio {ours / theirs:.2f}.")


def install():
    missing = [p for module, p in PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", *missing], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="where the models are made and kept (7 GB)")
    parser.add_argument("--models", default="sd15")
    parser.add_argument("--peers", default="torch,openvino,sdcpp")
    parser.add_argument("--dlens", type=Path, default=ROOT / "dlens")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--lens", type=int, default=0, metavar="N")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--small", action="store_true", help="tests/data/tiny-sd1 at 64x64")
    options = parser.parse_args()
    if options.install:
        install()
    if options.small:
        options.size = 64
        return compare(ROOT / "tests/data/tiny-sd1", options)
    if not options.work:
        parser.error("--work FOLDER or --small is needed")
    for name in options.models.split(","):
        if not (options.work / name / "complete").exists():  # in a process of its own: its memory
            subprocess.run([sys.executable, str(ROOT / "tools/reference/conformance.py"), "--work",
                            str(options.work), "--models", name, "--build-only"], check=True)
        if options.rounds:
            compare(options.work / name, options)
        if options.lens:
            whole_lens(options.work / name, options)


if __name__ == "__main__":
    main()
