"""CLIP's real vocabulary and the ids of more than 10,000 strings: tests/data/clip-bpe/.

The vocabulary is built from the merges in the open_clip_torch package, the strings come from a
seeded generator, the ids from transformers' CLIPTokenizer. Everything is gzipped; the strings with
their ids are stored as

    u32 number of strings, then for each: u16 length in bytes, the bytes, u16 number of ids, u16 ids

little-endian, ids with start and end token, cut to the tokenizer's length, without padding.

Characters are drawn from those that Unicode 14 assigns, as the classes of newer ones depend on the
version of the Unicode tables that a program is built with. Python 3.11 has just these tables.
"""

import gzip
import random
import shutil
import struct
import sys
import unicodedata

from transformers import CLIPTokenizer

from common import DATA, clip_merges, write_tokenizer

COUNT = 10500
SMALL = 500
FOLDER = DATA / "clip-bpe"

# ---- building blocks -----------------------------------------------------------------------------

def assigned(c):
    return not 0xD800 <= ord(c) <= 0xDFFF and unicodedata.category(c) != "Cn"


def block(first, last, kinds="LMNPSZ"):
    """The characters of a range that are of these kinds (first letters of general categories)."""
    chars = map(chr, range(first, last + 1))
    return [c for c in chars if assigned(c) and unicodedata.category(c)[0] in kinds]


SCRIPTS = {name: block(*span) for name, span in {
    "latin": (0x61, 0x7A), "latin-1": (0xC0, 0xFF), "latin-ext": (0x100, 0x24F),
    "ipa": (0x250, 0x2FF), "latin-additional": (0x1E00, 0x1EFF), "greek": (0x370, 0x3FF),
    "greek-ext": (0x1F00, 0x1FFF), "cyrillic": (0x400, 0x52F), "armenian": (0x530, 0x58F),
    "hebrew": (0x590, 0x5FF), "arabic": (0x600, 0x6FF), "syriac": (0x700, 0x74F),
    "thaana": (0x780, 0x7BF), "devanagari": (0x900, 0x97F), "bengali": (0x980, 0x9FF),
    "gurmukhi": (0xA00, 0xA7F), "gujarati": (0xA80, 0xAFF), "tamil": (0xB80, 0xBFF),
    "telugu": (0xC00, 0xC7F), "kannada": (0xC80, 0xCFF), "malayalam": (0xD00, 0xD7F),
    "sinhala": (0xD80, 0xDFF), "thai": (0xE00, 0xE7F), "lao": (0xE80, 0xEFF),
    "tibetan": (0xF00, 0xFFF), "myanmar": (0x1000, 0x109F), "georgian": (0x10A0, 0x10FF),
    "georgian-capital": (0x1C90, 0x1CBF), "jamo": (0x1100, 0x11FF), "ethiopic": (0x1200, 0x137F),
    "cherokee": (0x13A0, 0x13FF), "cherokee-small": (0xAB70, 0xABBF), "khmer": (0x1780, 0x17FF),
    "mongolian": (0x1800, 0x18AF), "kana": (0x3040, 0x30FF), "bopomofo": (0x3100, 0x312F),
    "han": (0x4E00, 0x9FFF), "han-b": (0x20000, 0x2A6DD), "hangul": (0xAC00, 0xD7A3),
    "fullwidth": (0xFF00, 0xFFEF), "gothic": (0x10330, 0x1034F), "deseret": (0x10400, 0x1044F),
    "math": (0x1D400, 0x1D7FF), "cuneiform": (0x12000, 0x120FF), "adlam": (0x1E900, 0x1E95F),
    "compatibility": (0xF900, 0xFAFF), "presentation": (0xFB00, 0xFDFF),
}.items()}

MARKS = block(0x300, 0x36F) + block(0x1AB0, 0x1AFF) + block(0x20D0, 0x20FF) + block(0xFE20, 0xFE2F)
NUMBERS = [c for c in block(0, 0x1FFFF, "N")]
SYMBOLS = block(0x2000, 0x2BFF, "PS") + block(0x3000, 0x303F, "PS")
ASCII_SYMBOLS = [c for c in map(chr, range(33, 127)) if not c.isalnum()]
EMOJI = block(0x1F300, 0x1F6FF, "S") + block(0x1F900, 0x1FAFF, "S") + block(0x2600, 0x27BF, "S")
ZWJ, VARIATION, TONES = "\u200d", "\ufe0f", [chr(c) for c in range(0x1F3FB, 0x1F400)]
FLAGS = [chr(c) for c in range(0x1F1E6, 0x1F200)]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0",
          "\u1680", "\u180e", *map(chr, range(0x2000, 0x200C)), "\u2028", "\u2029", "\u202f",
          "\u205f", "\u2060", "\u3000", "\ufeff"]
CONTROLS = [chr(c) for c in [*range(0, 9), *range(14, 32), *range(127, 160), 0xAD, 0x200E, 0x202E,
                             0x2066, 0xFFF9, 0xFFFD, 0xE000, 0xF8FF, 0xFFFE, 0xFFFF, 0xE0001,
                             0xE0061, 0xF0000, 0x10FFFD, 0x10FFFF]]
CASES = list("İıßẞΣςσŉǅǈǋǲΐΰﬁﬂﬃẖẗẘẙẚĲĳſKÅΩᾳᾼᾈῼὒᏣꭰⓐⒶⅷⅧᲐ")
SPECIAL = ["<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|StartOfText|>", "<|endoftext|",
           "<|endoftext |>", "|>", "<|", "<|startoftext|><|endoftext|>", "<|endoftext|>!",
           "<pad>", "</w>", "[PAD]", "</s>", "<|e\u0301ndoftext|>", "<\u200b|endoftext|>"]
HTML = ["&amp;", "&lt;b&gt;", "&#39;", "&eacute;", "%20", "\\n", "\\u00e9", "<lora:x:0.8>",
        "(word:1.3)", "[[word]]", "{a|b}", "--ar 16:9", "https://example.org/a?b=c&d=e#f", "@user",
        "#tag", "C:\\dir", "a/b", "x=1;", "$5.00", "50%", "1,234.56", "3.14e-10", "0x1F", "24/7"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'LL", "’s", "''s",
                "'", "''", "'x", "'less", "'reading", "'l", "'v", "'r", "s'"]
WORDS = """a an the of in on with and or from under over behind near two three red green blue golden
dark bright old young tiny huge wooden silver photo painting drawing sketch render portrait poster
oil watercolor charcoal pixel digital cinematic detailed highly 4k 8k hdr masterpiece trending style
dog cat horse bird elephant owl fox bear dragon robot astronaut knight wizard child woman man king
queen city forest desert ocean mountain river castle bridge street kitchen garden library spaceship
bicycle guitar piano teapot umbrella lantern mirror clock apple pear bread sushi coffee wine rose
sunflower snow rain fog storm sunrise sunset night moon stars galaxy volcano glacier running jumping
sleeping reading eating flying holding wearing looking standing made glass gold marble paper
unbelievable internationalization photorealistic steampunk cyberpunk baroque impressionism bauhaus
antidisestablishmentarianism tschechoslowakisch don it they we I you he can won isn vangogh Rembrandt
Hokusai Klimt Mucha NASA USA iPhone McDonald eBay YouTube""".split()


class Maker:
    """Makes strings; every kind is a method, chosen by weight."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def some(self, items, low, high):
        return [self.r.choice(items) for _ in range(self.r.randint(low, high))]

    def cased(self, word):
        return self.r.choice([str, str, str, str.lower, str.upper, str.title, str.swapcase])(word)

    def phrase(self):
        words = [self.cased(w) for w in self.some(WORDS, 1, 9)]
        for i in range(len(words)):
            if self.r.random() < 0.15:
                words[i] += self.r.choice(CONTRACTIONS)
            if self.r.random() < 0.15:
                words[i] += self.r.choice([",", ".", "!", "?", ":", ";", "...", "!!", ")", "\""])
        return " ".join(words)

    def joined(self):
        pieces = self.some(WORDS, 1, 3) + self.some(WORDS, 0, 2)
        return self.r.choice(["", "-", "_", ".", "/", "'", "+", "&"]).join(pieces)

    def misspelt(self):
        chars = list(self.r.choice(WORDS) + self.r.choice(WORDS))
        for _ in range(self.r.randint(1, 4)):
            chars[self.r.randrange(len(chars))] = chr(self.r.randrange(97, 123))
        return "".join(chars)

    def foreign(self):
        letters = SCRIPTS[self.r.choice(list(SCRIPTS))]
        words = ["".join(self.some(letters, 1, 6)) for _ in range(self.r.randint(1, 3))]
        return self.r.choice([" ", " ", "", "-", "、", "،"]).join(words)

    def mixed(self):
        words = ["".join(self.some(SCRIPTS[self.r.choice(list(SCRIPTS))], 1, 3))
                 for _ in range(self.r.randint(2, 4))]
        return self.r.choice(["", " "]).join(words)

    def marked(self):
        letters = SCRIPTS[self.r.choice(["latin", "latin-1", "latin-ext", "greek", "cyrillic",
                                         "latin-additional", "greek-ext", "hebrew", "kana"])]
        text = "".join(c + "".join(self.some(MARKS, 0, 3)) for c in self.some(letters, 1, 4))
        return unicodedata.normalize(self.r.choice(["NFC", "NFD", "NFKD"]), text) \
            if self.r.random() < 0.5 else text

    def decomposed(self):
        letters = SCRIPTS[self.r.choice(["latin-1", "latin-ext", "latin-additional", "greek-ext",
                                         "hangul", "devanagari", "bengali", "kana", "tibetan",
                                         "compatibility", "presentation", "malayalam"])]
        text = "".join(self.some(letters, 1, 4))
        return unicodedata.normalize(self.r.choice(["NFD", "NFKD"]), text)

    def numbers(self):
        return "".join(self.some(NUMBERS, 1, 3)) if self.r.random() < 0.5 else \
            f"{self.r.randint(0, 10 ** self.r.randint(1, 9))}{self.r.choice(['', 'th', 'x', ' km', '%', '½'])}"

    def symbols(self):
        return "".join(self.some(ASCII_SYMBOLS if self.r.random() < 0.6 else SYMBOLS, 1, 6))

    def emoji(self):
        out = []
        for _ in range(self.r.randint(1, 3)):
            kind = self.r.randrange(4)
            if kind == 0:
                out.append(self.r.choice(EMOJI))
            elif kind == 1:
                out.append(self.r.choice(EMOJI) + self.r.choice([VARIATION, *TONES]))
            elif kind == 2:
                out.append(ZWJ.join(self.some(EMOJI, 2, 3)))
            else:
                out.append("".join(self.some(FLAGS, 2, 2)))
        return self.r.choice(["", " "]).join(out)

    def spaced(self):
        out = self.some(SPACES, 0, 2)
        for word in self.some(WORDS, 1, 3):
            out += [word, *self.some(SPACES, 1, 3)]
        return "".join(out[:-1] if self.r.random() < 0.5 else out)

    def controls(self):
        out = []
        for word in self.some(WORDS, 1, 2):
            out += [word, *self.some(CONTROLS, 1, 2)]
        return "".join(out)

    def special(self):
        out = []
        for word in self.some(WORDS, 0, 2):
            out += [word, self.r.choice(["", " ", "  "]), self.r.choice(SPECIAL),
                    self.r.choice(["", " ", "\n"])]
        return "".join(out) or self.r.choice(SPECIAL)

    def markup(self):
        return self.r.choice(["", " "]).join(self.some(HTML + WORDS, 1, 4))

    def case(self):
        return "".join(self.cased(w) for w in self.some(WORDS + CASES * 4, 1, 5))

    def contraction(self):
        return "".join(self.some(WORDS + CONTRACTIONS * 3, 1, 4))

    def any_character(self):
        out = []
        while len(out) < 3:
            c = chr(self.r.randrange(0x20, 0x30000))
            if assigned(c):
                out.append(c)
        return "".join(out)

    def long(self):
        if self.r.random() < 0.5:
            return " ".join(self.some(WORDS, 60, 110))
        return self.r.choice(["a", "!", "1", "ab", "é", "猫", "😀", " a", "x!"]) * self.r.randint(40, 160)

    KINDS = {"phrase": 14, "joined": 7, "misspelt": 7, "foreign": 18, "mixed": 6, "marked": 8,
             "decomposed": 8, "numbers": 6, "symbols": 7, "emoji": 6, "spaced": 6, "controls": 4,
             "special": 4, "markup": 5, "case": 5, "contraction": 5, "any_character": 8, "long": 0.5}

    def string(self):
        kind = self.r.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        return getattr(self, kind)()


FIXED = ["", " ", "\n", "!", "!!", "! !", "a!b", "a ! b", "!!!a", "a" * 300, "0", "007", "A", "\u0301",
         "e\u0301", "\u212b", "\u2126", "\u1e9b\u0323", "\u0344", "\uac00\u11a8", "\u1100\u1161\u11a8",
         "\U0001D15E", "\u0958", "ab\u0000cd", "\ufb01", "ǅ", "İ", "ΑΣ", "ΑΣ.", "ΣΑΣ ΑΣΑ", *CASES,
         *SPACES, *SPECIAL, *CONTRACTIONS, *map(chr, range(128)), *HTML, *CONTROLS]


def strings(seed, count):
    maker, seen = Maker(seed), dict.fromkeys(FIXED)
    while len(seen) < count:
        seen.setdefault(maker.string())
    return list(seen)


# ---- files ---------------------------------------------------------------------------------------


def compress(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as raw:
        with gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
            file.write(data)


def write_strings(path, tokenizer, texts):
    """Strings are those of Python; none holds a surrogate, so all of them are valid UTF-8."""
    out = [struct.pack("<I", len(texts))]
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids
        data = text.encode("utf-8")
        out += [struct.pack("<H", len(data)), data, struct.pack(f"<H{len(ids)}H", len(ids), *ids)]
    compress(path, b"".join(out))


def main():
    if unicodedata.unidata_version != "14.0.0":
        print("clip_bpe: this Python's Unicode tables are not version 14: other strings",
              file=sys.stderr)
    plain = FOLDER / "plain"
    shutil.rmtree(FOLDER, ignore_errors=True)
    texts = strings(2024, COUNT)
    assert len(texts) >= 10000 and texts == strings(2024, COUNT)
    few = texts[:40] + random.Random(5).sample(texts[40:], SMALL - 40) + [
        text + mark for text, mark in zip(texts[400:500], ["!", " !", "!!", "! a"] * 25)]

    write_tokenizer(plain, clip_merges(), 77, pad="!")
    write_strings(FOLDER / "strings-pad-bang.bin.gz", CLIPTokenizer.from_pretrained(plain), few)
    write_tokenizer(plain, clip_merges(), 77)
    write_strings(FOLDER / "strings.bin.gz", CLIPTokenizer.from_pretrained(plain), texts)
    for name in ("vocab.json", "merges.txt"):
        compress(FOLDER / f"{name}.gz", (plain / name).read_bytes())
    shutil.rmtree(plain)
    # Two ways of storing the same small vocabulary: old files; tokenizer.json alone.
    for name in ("tiny-sd1", "tiny-sd2"):
        tokenizer = CLIPTokenizer.from_pretrained(DATA / name / "tokenizer")
        write_strings(FOLDER / f"strings-{name}.bin.gz", tokenizer, few)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(map(ascii, strings(2024, COUNT))))
    else:
        main()
