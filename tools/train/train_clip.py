"""Stage `clip`: a CLIPModel, both towers from nothing, contrastively on scenes and sentences.

Half of each batch are twins of the other half that differ in one respect (colours swapped, things swapped, another relation,
noun, colour or background), so every row meets hard negatives in both directions. Sentences that mean the same picture share
the target. A linear head for nouns and colours on the pooled image features, used in training only, takes the image tower
over its plateau. The text tower is then frozen and conditions the denoiser; the whole model is the annotator of the lens.
Result: WORK/clip/model.
"""
from __future__ import annotations

import sys

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPImageProcessor

import captions
import common
import models
import world

EASY = world.Mix(single=0.7, tint=0.4, back=0.2, styles=(0.75, 0.25))
HARD = world.Mix(single=0.3, tint=0.6, back=0.2, styles=(0.75, 0.25))
NOUN_COUNT, TINT_COUNT = len(world.NOUNS), len(world.TINTS)


def batch(args, renderer, tokenizer, step: int, fraction: float):
    """Pictures, token ids, key index of each row, labels of the head."""
    rng, scenes = common.rng_for(args, "clip", step), []
    mix = EASY if rng.random() > min(0.75, 1.5 * fraction) else HARD
    for _ in range(args.batch // 2):
        scene = world.sample_scene(rng, mix)
        scenes += [scene, captions.mutate(scene, rng, mix)]
    texts = [captions.caption(s, rng) for s in scenes]
    keys: dict = {}
    index = torch.tensor([keys.setdefault(s.key(), len(keys)) for s in scenes])
    labels = torch.zeros(len(scenes), NOUN_COUNT + TINT_COUNT)
    for i, s in enumerate(scenes):
        for t in s.things:
            labels[i, t.noun] = 1
            if t.tint >= 0:
                labels[i, NOUN_COUNT + t.tint] = 1
    x = common.pictures([renderer.render(s) for s in scenes], args.device)
    ids = tokenizer(texts, padding=True, truncation=True, max_length=models.TOKENS, return_tensors="pt").input_ids
    return x, ids.to(args.device), index.to(args.device), labels.to(args.device)


def text_features(net, ids):
    return F.normalize(net.text_projection(net.text_model(input_ids=ids).pooler_output).float(), dim=-1)


def image_features(net, x):
    pooled = net.vision_model(models.clip_pixels(x)).pooler_output
    return F.normalize(net.visual_projection(pooled).float(), dim=-1), pooled


@torch.no_grad()
def evaluate(args, net, tokenizer) -> dict:
    """Zero-shot nouns on clean icons of seen and unseen sets; choice between a sentence and its hard negative."""
    net.eval()
    encode = lambda texts: text_features(net, tokenizer(texts, padding=True, return_tensors="pt").input_ids.to(args.device))
    names = encode([captions.phrase(world.Thing(k)) for k in range(NOUN_COUNT)])
    out = {}
    for style in ("fluent-emoji-flat", "noto", "openmoji"):
        renderer = world.Renderer(args.work, [style])
        have = [k for k in range(NOUN_COUNT) if renderer.present[0][k]]
        x = common.pictures([renderer.render(world.Scene([world.Thing(k)])) for k in have], args.device)
        hit = (image_features(net, x)[0] @ names.T).argmax(1).cpu() == torch.tensor(have)
        out["icons_" + style] = round(hit.float().mean().item(), 3)
    rng, renderer = np.random.default_rng([7, 7]), world.Renderer(args.work)
    rows = []
    while len(rows) < 400:
        scene = world.sample_scene(rng, HARD if len(rows) % 2 else EASY)
        scene.things = [world.Thing(t.noun, t.tint) for t in scene.things]
        twin = captions.mutate(scene, rng, HARD)
        if twin.key() != scene.key():
            rows.append((renderer.render(scene), captions.caption(scene, rng), captions.caption(twin, rng), len(scene.things)))
    images = torch.cat([image_features(net, common.pictures([r[0] for r in rows[i:i + 100]], args.device))[0]
                        for i in range(0, 400, 100)])
    right, wrong = encode([r[1] for r in rows]), encode([r[2] for r in rows])
    hit = ((images * right).sum(1) > (images * wrong).sum(1)).float().cpu()
    pair = torch.tensor([r[3] == 2 for r in rows])
    out.update(choice_single=round(hit[~pair].mean().item(), 3), choice_pair=round(hit[pair].mean().item(), 3))
    net.train()
    return out


def main() -> None:
    p = common.parser(__doc__, minutes=35)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--head-weight", type=float, default=20.0)
    args = p.parse_args()
    common.start(args)
    folder, tokenizer = args.work / "clip", models.clip_tokenizer(args.work)
    net = models.clip(len(tokenizer), tokenizer.eos_token_id).to(args.device)
    net.set_attn_implementation("eager")            # bfloat16 flash attention is slow backwards on a CPU
    head = torch.nn.Linear(128, NOUN_COUNT + TINT_COUNT).to(args.device)
    opt = common.optimiser({"clip": net, "head": head}, args.lr, 0.05)
    state = common.load_checkpoint(folder / "last.pt", args.device) or dict(step=0, spent=0.0)
    if "net" in state:
        net.load_state_dict(state["net"]), head.load_state_dict(state["head"]), opt.load_state_dict(state["opt"])
    step, budget, renderer = state["step"], common.Budget(args.device, args.minutes, state["spent"]), \
        world.Renderer(args.work)
    common.log("clip text", common.count(net.text_model), "image", common.count(net.vision_model), "from step", step)
    running, saved = [], budget.spent

    def save():
        common.save_atomic(dict(net=net.state_dict(), head=head.state_dict(), opt=opt.state_dict(), step=step,
                                spent=budget.spent), folder / "last.pt")

    while budget.fraction < 1 and step < args.steps:
        x, ids, index, labels = batch(args, renderer, tokenizer, step, budget.fraction)
        with common.autocast(args.device):
            images, pooled = image_features(net, x)
            texts, logits = text_features(net, ids), head(pooled)
        target = (index[:, None] == index[None]).float()
        target = target / target.sum(1, keepdim=True)
        similarity = net.logit_scale.exp() * images @ texts.T
        contrast = -(target * similarity.log_softmax(1)).sum(1).mean() / 2 - (target * similarity.T.log_softmax(1)).sum(1).mean() / 2
        labelled = F.binary_cross_entropy_with_logits(logits.float(), labels)
        loss = contrast + args.head_weight * (1 - 0.8 * budget.fraction) * labelled
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*net.parameters(), *head.parameters()], 1.0)
        common.set_lr(opt, args.lr * common.schedule(budget.fraction, step, 100, 0.3))
        opt.step()
        with torch.no_grad():
            net.logit_scale.clamp_(0, float(np.log(100)))
        hit = target.gather(1, similarity.argmax(1, keepdim=True)).gt(0).float().mean().item()
        running.append((contrast.item(), labelled.item(), hit))
        step += 1
        budget.tick()
        if step % 50 == 0:
            common.log(f"clip step {step} spent {budget.spent:.0f}s contrast/head/hit {np.round(np.mean(running, 0), 4)} "
                       f"scale {net.logit_scale.exp().item():.1f} {step * args.batch / budget.spent:.1f}/s")
            running = []
        if step % 400 == 0:
            common.log("clip", evaluate(args, net, tokenizer))
            budget.pause()
        if budget.spent - saved > args.checkpoint_every * 60:
            save()
            saved = budget.spent
    save()
    net.eval().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    side = world.RES
    CLIPImageProcessor(do_resize=True, size={"shortest_edge": side}, do_center_crop=True,
                       crop_size={"height": side, "width": side}).save_pretrained(folder / "model")
    common.record(args, "clip", pairs=step * args.batch, steps=step, seconds=round(budget.spent),
                  parameters_text=common.count(net.text_model), parameters_image=common.count(net.vision_model),
                  **evaluate(args, net, tokenizer))
    common.finish(args, "clip")


if __name__ == "__main__":
    sys.exit(main())
