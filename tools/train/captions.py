"""Sentences about scenes: many ways to say the same thing, with syntax that the order of words alone does not give away.

`caption` draws a sentence for a scene; `canonical` is its one plain form, the target of the T5 paraphrase objective. In
about half of the sentences about two things linear order and syntactic head differ ("a cat to the left of which is a dog"),
colours may follow at the end ("a dog and a cat, respectively red and white"), and a thing may be named that is not there
("a dog but no cat"). Such sentences can't be understood word by word, so early layers know less than late ones.
"""
from __future__ import annotations

import numpy as np

import world
from world import Scene, Thing

PREFIX = ("a picture of ", "an image of ", "a drawing of ", "there is ", "we see ", "this shows ")


def article(word: str) -> str:
    return "an" if word[0] in "aeio" or word.startswith("um") else "a"


def phrase(thing: Thing, determiner: str = "a", colour: bool = True) -> str:
    words = ([thing.colour] if colour and thing.colour else []) + [thing.name]
    return " ".join([article(words[0]) if determiner == "a" else determiner] + words)


def varied(thing: Thing, rng) -> str:
    """A noun phrase whose colour may stand before or after the noun."""
    if thing.colour and rng.random() < 0.25:
        bare = phrase(thing, colour=False)
        return (f"{bare} that is {thing.colour}", f"{bare} painted {thing.colour}")[int(rng.integers(2))]
    return phrase(thing)


# {a}, {b}: phrases with article; {A}, {B}: with "the". things[0] is RELATION things[1]; "is first" decides nothing.
TEMPLATES = {
    "and": ("{a} and {b}", "{a} and {b}", "{a} next to {b}", "{a} beside {b}", "both {a} and {b}", "{a} with {b} at its side",
            "{A} together with {B}"),
    "left": ("{a} to the left of {b}", "{a} left of {b}", "to the left of {b} is {a}", "{b} with {a} on its left",
             "{b} to the left of which is {a}", "{a} that is left of {b}", "{A} is on the left and {B} is on the right",
             "{B} is on the right and {A} is on the left"),
    "right": ("{a} to the right of {b}", "{a} right of {b}", "to the right of {b} is {a}", "{b} with {a} on its right",
              "{b} to the right of which is {a}", "{a} that is right of {b}",
              "{A} is on the right and {B} is on the left", "{B} is on the left and {A} is on the right"),
    "above": ("{a} above {b}", "{a} over {b}", "above {b} is {a}", "{b} with {a} above it", "{b} above which is {a}",
              "{a} that is above {b}", "{A} is at the top and {B} is at the bottom"),
    "below": ("{a} below {b}", "{a} that is below {b}", "below {b} is {a}", "{b} with {a} below it", "{b} below which is {a}",
              "{A} is at the bottom and {B} is at the top"),
    "on": ("{a} on {b}", "{a} on top of {b}", "{a} sitting on {b}", "on {b} sits {a}", "{b} with {a} on top",
           "{b} that carries {a}", "{b} on which {a} sits"),
    "under": ("{a} under {b}", "{a} that is under {b}", "under {b} is {a}", "{b} with {a} under it", "{a} that carries {b}"),
    "in": ("{a} in {b}", "{a} inside {b}", "in {b} is {a}", "{b} with {a} inside", "{b} that contains {a}",
           "{b} in which {a} sits"),
}
PLAIN_SHARE = 0.4           # sentences that take the first, plain form


def pair_text(scene: Scene, rng) -> str:
    a, b = scene.things
    if a.colour and b.colour and scene.relation == "and" and rng.random() < 0.2:
        x, y = phrase(a, colour=False), phrase(b, colour=False)
        return (f"{x} and {y}, respectively {a.colour} and {b.colour}",
                f"{x} and {y}, the first {a.colour} and the second {b.colour}",
                f"{x} and {y}, the latter {b.colour} and the former {a.colour}")[int(rng.integers(3))]
    forms = TEMPLATES[scene.relation]
    form = forms[0] if rng.random() < PLAIN_SHARE else forms[int(rng.integers(len(forms)))]
    side_a, side_b = (varied(t, rng) if form.endswith((f"{{{k}}}", "on top")) else phrase(t) for t, k in ((a, "a"), (b, "b")))
    return form.format(a=side_a, b=side_b, A=phrase(a, "the"), B=phrase(b, "the"))


def single_text(scene: Scene, rng) -> str:
    thing = scene.things[0]
    if rng.random() < 0.15:         # names a thing that is not there
        other = world.NAMES[int(rng.choice(len(world.NAMES), p=world.NOUN_P))]
        if other != thing.name:
            no = f"{article(other)} {other}"
            return (f"{phrase(thing)} but no {other}", f"{phrase(thing)} and not {no}", f"not {no} but {phrase(thing)}",
                    f"{phrase(thing)} instead of {no}")[int(rng.integers(4))]
    if thing.colour and rng.random() < 0.1:
        other = world.TINT_NAMES[int(rng.integers(len(world.TINTS)))]
        if other != thing.colour:
            return f"{phrase(thing, colour=False)} that is not {other} but {thing.colour}"
    return varied(thing, rng)


def caption(scene: Scene, rng) -> str:
    text = pair_text(scene, rng) if scene.relation else single_text(scene, rng)
    ground = world.BACK_NAMES[scene.back] if scene.back >= 0 else ""
    r = rng.random()
    if ground and r < 0.2:
        return f"on a {ground} background, {text}"
    prefix = PREFIX[int(rng.integers(len(PREFIX)))] if r > 0.7 and text[0] == "a" else ""
    if not ground:
        return prefix + text
    return prefix + text + (f" on a {ground} background", f" on a {ground} background", f" against a {ground} background",
                            f", and the background is {ground}")[int(rng.integers(4))]


def canonical(scene: Scene) -> str:
    """The plain form of what the scene shows (left, above, on, in; first named left or on top)."""
    things, rel = list(scene.things), scene.relation
    if rel in ("right", "below", "under"):
        things.reverse()
    rel = {"and": "left of", "left": "left of", "right": "left of", "above": "above", "below": "above", "on": "on",
           "under": "on", "in": "in"}.get(rel, "")
    text = phrase(things[0]) + (f" {rel} {phrase(things[1])}" if rel else "")
    return text + (f" on a {world.BACK_NAMES[scene.back]} background" if scene.back >= 0 else "")


def mutate(scene: Scene, rng, mix: world.Mix) -> Scene:
    """A scene that differs in one respect: the hard negative of contrastive training."""
    things = [Thing(t.noun, t.tint, t.style) for t in scene.things]
    rel, back = scene.relation, scene.back
    choices = ["noun", "tint"] + (["back"] if back >= 0 else [])
    if rel:
        choices += ["swap", "swap", "relation"] + (["tints", "tints", "tints"] if things[0].tint != things[1].tint else [])
    what = str(rng.choice(choices))
    i = int(rng.integers(len(things)))
    if what == "noun":
        new = world.sample_thing(rng, mix, things[i].noun)
        if all(new.noun != t.noun for t in things):
            things[i].noun = new.noun
    elif what == "tint":
        things[i].tint = int(rng.integers(-1, len(world.TINTS)))
    elif what == "back":
        back = int(rng.integers(len(world.BACKS)))
    elif what == "swap":
        things.reverse()
    elif what == "tints":
        things[0].tint, things[1].tint = things[1].tint, things[0].tint
    else:
        rel = str(rng.choice(world.RELATIONS))
    return Scene(things, rel, back, tuple(int(v) for v in rng.integers(0, 6, 3)))


def corpus(seed, count: int, mix: world.Mix = world.Mix()):
    """`count` seeded pairs (scene, caption)."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        scene = world.sample_scene(rng, mix)
        yield scene, caption(scene, rng)
