"""Stage `t5`: a small T5, text to text: paraphrase and span corruption.

Six of ten examples rewrite a sentence to the plain form of what it shows (captions.canonical), which needs every noun,
colour and relation; the others are T5's span corruption. Span corruption alone teaches the encoder to forget the nouns,
because nouns are drawn independently and can't be guessed from their context. So the stage measures what a denoiser needs:
the share of the variance at a noun's last token that lies between nouns, for every layer; it should stay above 0.5 in the
last. Result: WORK/t5/model (the encoder with its tokenizer).
"""
from __future__ import annotations

import copy
import sys

import numpy as np
import torch
from transformers import T5EncoderModel

import captions
import common
import models
import world

MIX = world.Mix(single=0.3, tint=0.65, back=0.2, flat_nouns=0.1)
SENTINEL = "<extra_id_0>"


class Tokens:
    """Token ids of sentences, and the objective's examples."""

    def __init__(self, tokenizer):
        self.tokenizer, self.cache = tokenizer, {}
        first, second = tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_1>"])
        self.sentinel, self.stride = first, second - first

    def __call__(self, text: str) -> list[int]:
        return self.tokenizer(text, truncation=True, max_length=models.TOKENS).input_ids[:-1]

    def corrupt(self, ids, rng):
        """About a quarter of the tokens masked, in spans of one to three."""
        mask = np.zeros(len(ids), bool)
        while mask.sum() < max(1, round(0.25 * len(ids))):
            s = int(rng.integers(len(ids)))
            mask[s:s + 1 + int(rng.integers(3))] = True
        source, target, spans, inside = [], [], 0, False
        for token, hidden in zip(ids, mask):
            if hidden and not inside:
                sentinel = self.sentinel + spans * self.stride
                source.append(sentinel), target.append(sentinel)
                spans += 1
            (target if hidden else source).append(token)
            inside = hidden
        return source, target

    def batch(self, args, step: int):
        rng, rows = common.rng_for(args, "t5", step), []
        for _ in range(args.batch):
            scene = world.sample_scene(rng, MIX)
            ids = self(captions.caption(scene, rng))
            rows.append((ids, self(captions.canonical(scene))) if rng.random() < args.paraphrase else self.corrupt(ids, rng))
        source, target = ([r[k] + [1] for r in rows] for k in (0, 1))
        pad = lambda rows, value: torch.tensor([r + [value] * (max(map(len, rows)) - len(r)) for r in rows], device=args.device)
        return pad(source, 0), pad(target, -100)


@torch.no_grad()
def noun_share(layers, find_position, per_noun: int = 24) -> list[float]:
    """Share of the variance at a noun's last token that lies between nouns, by layer.

    `layers(texts)` gives the conditioning of every layer, `find_position(text, noun)` the token's index.
    """
    rng = np.random.default_rng([5, 5])
    groups = []
    for noun in range(len(world.NOUNS)):
        texts, places = [], []
        while len(texts) < per_noun:
            scene = world.sample_scene(rng, MIX)
            scene.things[0].noun = noun
            if len(scene.things) == 2 and scene.things[1].noun == noun:
                continue
            text = captions.caption(scene, rng)
            texts.append(text), places.append(find_position(text, world.NAMES[noun]))
        groups.append([h[torch.arange(per_noun), torch.tensor(places)].float().cpu() for h in layers(texts)])
    shares = []
    for layer in range(len(groups[0])):
        x = torch.stack([g[layer] for g in groups])                        # (nouns, per_noun, width)
        total = (x - x.mean((0, 1))).square().sum(-1).mean()
        within = (x - x.mean(1, keepdim=True)).square().sum(-1).mean()
        shares.append(round((1 - within / total).item(), 3))
    return shares


def last_token_of(tokenizer, clip: bool):
    """A function (text, noun) -> index of the noun's last token in the tokenized text."""
    def find(text: str, noun: str) -> int:
        ids, want = tokenizer(text).input_ids, tokenizer(noun).input_ids
        want = want[1:-1] if clip else want[:-1]
        for i in range(len(ids) - len(want) + 1):
            if ids[i:i + len(want)] == want:
                return i + len(want) - 1
        raise ValueError(f"{noun} not in {text}")
    return find


@torch.no_grad()
def exact(args, net, tokens, count: int = 200) -> float:
    """Share of sentences whose plain form is generated exactly."""
    rng = np.random.default_rng([6, 6])
    scenes = [world.sample_scene(rng, MIX) for _ in range(count)]
    source = tokens.tokenizer([captions.caption(s, rng) for s in scenes], padding=True, return_tensors="pt").to(args.device)
    out = net.generate(**source, max_new_tokens=models.TOKENS, num_beams=1, do_sample=False)
    said = tokens.tokenizer.batch_decode(out, skip_special_tokens=True)
    return float(np.mean([a == captions.canonical(s) for a, s in zip(said, scenes)]))


def main() -> None:
    p = common.parser(__doc__, minutes=15)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--paraphrase", type=float, default=0.6, help="share of paraphrase examples")
    args = p.parse_args()
    common.start(args)
    folder, tokenizer = args.work / "t5", models.t5_tokenizer(args.work)
    tokens = Tokens(tokenizer)
    net = models.t5(len(tokenizer)).to(args.device)
    opt = common.optimiser({"t5": net}, args.lr, 0.01)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0)
    if "net" in state:
        net.load_state_dict(state["net"]), opt.load_state_dict(state["opt"])
    step, budget = state["step"], common.Budget(args.device, args.minutes, state["spent"])
    common.log("t5", common.count(net), "encoder", common.count(net.encoder), "from step", step)
    running, saved = [], budget.spent

    def save():
        common.save_atomic(dict(net=net.state_dict(), opt=opt.state_dict(), step=step, spent=budget.spent), folder / "last.pt")

    def export():
        encoder = T5EncoderModel(copy.deepcopy(net.config))      # the class changes its config
        encoder.load_state_dict({k: v for k, v in net.state_dict().items() if k.startswith(("shared.", "encoder."))})
        encoder.eval().save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        text = models.TextEncoder("t5", args.work, args.device)
        return dict(noun_share=noun_share(text.layers, last_token_of(tokenizer, False)), exact=exact(args, net, tokens))

    while budget.fraction < 1 and step < args.steps:
        source, target = tokens.batch(args, step)
        with common.autocast(args.device):
            loss = net(input_ids=source, attention_mask=(source != 0).long(), labels=target).loss
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step, 100, 0.4))
        opt.step()
        running.append(loss.item())
        step += 1
        budget.tick()
        if step % 100 == 0:
            common.log(f"t5 step {step} spent {budget.spent:.0f}s loss {np.mean(running):.4f} "
                       f"{step * args.batch / budget.spent:.1f}/s")
            running = []
        if step % 600 == 0:
            common.log("t5", export())
            budget.pause()
        if budget.spent - saved > args.checkpoint_every * 60:
            save()
            saved = budget.spent
    save()
    common.record(args, "t5", examples=step * args.batch, steps=step, seconds=round(budget.spent),
                  parameters_encoder=common.count(net.encoder), **export())
    common.finish(args, "t5")


if __name__ == "__main__":
    sys.exit(main())
