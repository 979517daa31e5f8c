"""The emoji world: nouns with known frequencies, tints, backgrounds, scenes, and a renderer exact to the pixel.

A scene is a function of a numpy Generator, so a corpus is reproduced by its seed. Sentences are in captions.py, the
rasterised icons come from sprites.py. All places are multiples of CELL pixels apart, so that a VAE with a factor of 8
sees the same sprite at the same phase: what little compute there is goes into what is drawn, not into shifted copies.

Layouts (96 x 96 pixels): one thing of 72 or 64 pixels; two things of 44 pixels side by side or one above the other;
"on": touching, the upper in front; "in": a thing of 44 pixels in front of one of 72.
"""
from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from PIL import Image

RES, CELL = 96, 8


@dataclasses.dataclass(frozen=True)
class Noun:
    name: str
    icon: str           # its name in the icon sets
    pieces: tuple       # how the tokenizers are taught to split it


def _nouns(text: str) -> list[Noun]:
    out = []
    for entry in text.split():
        spelt, _, icon = entry.partition("=")
        name = spelt.replace("|", "")
        out.append(Noun(name, icon or name, tuple(spelt.split("|"))))
    return out


# In order of frequency; "|" marks the pieces. About half of the nouns are one piece, in every range of frequency, and
# many tails are shared (c|at, h|at, bo|at), so that neither frequency nor a last piece alone tells the noun.
COMMON = _nouns("""
    dog=dog-face c|at=cat-face c|ar=automobile house tr|ee=deciduous-tree horse=horse-face ap|ple=red-apple b|ird fish
    c|ow=cow-face fl|ow|er=sunflower book=closed-book b|all=soccer-ball pig=pig-face rab|b|it=rabbit-face star
    bo|at=sailboat m|ouse=mouse-face l|ion bus b|ear banana fr|og h|at=top-hat elephant d|uck train t|ig|er=tiger-face
    bi|cy|cle pizza but|ter|fly umbrella f|ox monkey=monkey-face ro|ck|et turtle g|ui|tar owl pen|gu|in mushroom cr|own
    le|mon cactus gi|raf|fe snail wh|ale=spouting-whale octopus cr|ab strawberry ze|bra anchor ca|mel=two-hump-camel""")
RARE = _nouns("""
    fla|ming|o koala kan|ga|roo sloth sk|unk peacock do|do raccoon hedge|hog squid cro|co|dile otter""")
NOUNS = COMMON + RARE
NAMES = [n.name for n in NOUNS]
INDEX = {n: k for k, n in enumerate(NAMES)}
ANIMALS = set("""dog cat horse bird fish cow pig rabbit mouse lion bear frog elephant duck tiger butterfly fox monkey turtle
    owl penguin giraffe snail whale octopus crab zebra camel""".split()) | {n.name for n in RARE}

_weight = 1.0 / (np.arange(len(NOUNS)) + 7.0)
_weight[len(COMMON):] *= 0.4
NOUN_P = _weight / _weight.sum()            # Zipf-like: the commonest noun is 24 times as frequent as the rarest

TINTS = {"red": (222, 40, 40), "blue": (45, 95, 230), "green": (40, 165, 60), "yellow": (245, 205, 30),
         "purple": (140, 60, 200), "pink": (250, 130, 190), "white": (246, 246, 248), "black": (50, 50, 56)}
TINT_NAMES = list(TINTS)
TINT_P = np.array([.18, .17, .14, .13, .10, .08, .11, .09])

PLAIN = (232, 238, 244)                     # the ground where no background is named
BACKS = {"blue": (150, 195, 250), "green": (165, 225, 165), "yellow": (250, 235, 140), "pink": (250, 195, 220),
         "purple": (205, 175, 240), "gray": (185, 185, 190)}
BACK_NAMES = list(BACKS)

RELATIONS = ("and", "left", "right", "above", "below", "on", "under", "in")
RELATION_P = np.array([.36, .10, .10, .10, .10, .09, .05, .10])
STYLES = ("fluent-emoji-flat", "noto")      # index = Thing.style


@dataclasses.dataclass
class Thing:
    noun: int
    tint: int = -1          # index in TINT_NAMES, -1: its natural colours
    style: int = 0

    @property
    def name(self) -> str:
        return NAMES[self.noun]

    @property
    def colour(self) -> str:
        return TINT_NAMES[self.tint] if self.tint >= 0 else ""


@dataclasses.dataclass
class Scene:
    things: list            # one or two
    relation: str = ""      # "" for one thing, else one of RELATIONS: things[0] is RELATION things[1]
    back: int = -1          # index in BACK_NAMES, -1: plain
    place: tuple = (0, 0, 0)    # three small numbers that shift the things in their layout

    def key(self) -> tuple:
        """What the picture shows, the same for every way to say it: equal keys are equal pictures but for small shifts."""
        pair = [(t.noun, t.tint) for t in self.things]
        rel = self.relation
        if rel in ("right", "below", "under"):
            pair.reverse()
        rel = {"and": "left", "right": "left", "below": "above", "under": "on"}.get(rel, rel)
        return rel, self.back, *pair


@dataclasses.dataclass(frozen=True)
class Mix:
    """Shares from which scenes are drawn."""
    single: float = 0.5
    tint: float = 0.4
    back: float = 0.15
    styles: tuple = (1.0,)
    flat_nouns: float = 0.0     # share of nouns drawn uniformly instead of by frequency


def sample_thing(rng, mix: Mix, exclude: int = -1) -> Thing:
    while True:
        n = int(rng.integers(len(NOUNS))) if rng.random() < mix.flat_nouns else int(rng.choice(len(NOUNS), p=NOUN_P))
        if n != exclude:
            break
    tint = int(rng.choice(len(TINTS), p=TINT_P)) if rng.random() < mix.tint else -1
    return Thing(n, tint, int(rng.choice(len(mix.styles), p=mix.styles)))


def sample_scene(rng, mix: Mix = Mix()) -> Scene:
    things, relation = [sample_thing(rng, mix)], ""
    if rng.random() >= mix.single:
        things.append(sample_thing(rng, mix, things[0].noun))
        relation = str(rng.choice(RELATIONS, p=RELATION_P))
    back = int(rng.integers(len(BACKS))) if rng.random() < mix.back else -1
    return Scene(things, relation, back, tuple(int(v) for v in rng.integers(0, 6, 3)))


def boxes(scene: Scene) -> list[tuple[int, int, int]]:
    """Where the things stand: (x, y, size) of each, in the order of scene.things."""
    a, b, c = scene.place
    if not scene.relation:
        if c < 4:
            return [(8 + CELL * (a % 2), 8 + CELL * (b % 2), 72)]
        return [(8 + CELL * (a % 3), 8 + CELL * (b % 3), 64)]
    u, v = 18 + CELL * (a % 3), 18 + CELL * (b % 3)
    rel = scene.relation
    if rel in ("and", "left", "right"):
        out = [(2, u, 44), (50, v, 44)]
    elif rel in ("above", "below"):
        out = [(u, 2, 44), (v, 50, 44)]
    elif rel in ("on", "under"):
        out = [(u, 18, 44), (u, 50, 44)]
    else:
        x, y = 8 + CELL * (a % 2), 8 + CELL * (b % 2)
        return [(x + 18, y + 34 - CELL * (b % 2), 44), (x, y, 72)]
    return out[::-1] if rel in ("right", "below", "under") else out


def order(relation: str, things: int):
    """The order in which the things are painted: the last stands in front."""
    return (1, 0) if relation in ("on", "in") else range(things)


def tinted(rgb: np.ndarray, alpha: np.ndarray, colour) -> np.ndarray:
    """Colours a sprite by its luminance: shading stays, the mean luminance maps to the colour itself."""
    colour = np.asarray(colour, np.float32) / 255
    lum = rgb @ np.array([.299, .587, .114], np.float32)
    a = alpha[..., 0]
    mean = (lum * a).sum() / max(a.sum(), 1e-6)
    spread = np.sqrt((((lum - mean) ** 2) * a).sum() / max(a.sum(), 1e-6))
    v = np.clip(0.5 + (lum - mean) * min(0.9, 0.22 / max(spread, 1e-3)), 0, 1)[..., None]
    low, high = colour * 0.30, colour * 0.45 + 0.55
    return np.where(v < 0.5, low + (colour - low) * (v * 2), colour + (high - colour) * (v * 2 - 1)).astype(np.float32)


class Renderer:
    """Draws scenes with the sprites of the given sets (index of a set = Thing.style)."""

    def __init__(self, work, sets=STYLES):
        data = np.load(pathlib.Path(work) / "sprites.npz")
        self.sprites = [data[s] for s in sets]
        self.present = [data[s + ".present"] for s in sets]
        self.cache: dict = {}

    def sprite(self, thing: Thing, size: int) -> np.ndarray:
        """Premultiplied RGBA, float32 [size, size, 4] in 0..1."""
        key = (thing.noun, thing.tint, thing.style, size)
        if key not in self.cache:
            rgba = self.sprites[thing.style][thing.noun].astype(np.float32) / 255
            rgb, alpha = rgba[..., :3], rgba[..., 3:]
            if thing.tint >= 0:
                rgb = tinted(rgb, alpha, TINTS[TINT_NAMES[thing.tint]])
            flat = np.concatenate([rgb * alpha, alpha], -1)     # premultiplied: resizing makes no fringes
            planes = [np.asarray(Image.fromarray(flat[..., i]).resize((size, size), Image.LANCZOS)) for i in range(4)]
            self.cache[key] = np.clip(np.stack(planes, -1), 0, 1)
        return self.cache[key]

    def paste(self, image: np.ndarray, sprite: np.ndarray, x: int, y: int) -> None:
        h, w = sprite.shape[:2]
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, image.shape[1]), min(y + h, image.shape[0])
        s = sprite[y0 - y:y1 - y, x0 - x:x1 - x]
        image[y0:y1, x0:x1] = image[y0:y1, x0:x1] * (1 - s[..., 3:]) + s[..., :3]

    def render(self, scene: Scene) -> np.ndarray:
        """uint8 [RES, RES, 3]"""
        image = np.empty((RES, RES, 3), np.float32)
        image[:] = np.array(BACKS[BACK_NAMES[scene.back]] if scene.back >= 0 else PLAIN, np.float32) / 255
        place = boxes(scene)
        for i in order(scene.relation, len(place)):
            x, y, size = place[i]
            self.paste(image, self.sprite(scene.things[i], size), x, y)
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
