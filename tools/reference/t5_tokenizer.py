"""T5's tokenizer: sentencepiece unigram models and the ids of strings: tests/data/t5/.

The models are trained here, on the source code of the transformers package and the words of CLIP's
vocabulary, so that nothing needs to be fetched. Ids come from the sentencepiece library and from
transformers' T5Tokenizer; where they differ (see `differences`), sentencepiece's are written, as
its normalization is the one that the models were trained with.

    t5_tokenizer.py                        tests/data/t5, small models
    t5_tokenizer.py --full FOLDER          32,000 pieces and 12,000 strings, in FOLDER; then
        DLENS_T5_DATA=FOLDER build/tests/test_t5_tokenizer

Format of the strings as in clip_bpe.py.
"""

import argparse
import base64
import json
import random
import re
import shutil
import struct
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
import transformers
from transformers import T5Tokenizer

from clip_bpe import WORDS, compress, strings
from common import DATA, byte_letters, clip_merges, write_json

FOLDER = DATA / "t5"
MARK = re.compile("</s>|<pad>|<unk>|<extra_id_")

# ---- text to train on ----------------------------------------------------------------------------


def clip_words():
    """The words of CLIP's vocabulary, in many languages."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = plain + [b for b in range(256) if b not in plain]
    byte_of = dict(zip(byte_letters(), order))
    for merge in clip_merges():
        piece = "".join(merge.split()).removesuffix("</w>")
        try:
            yield bytes(byte_of[c] for c in piece).decode("utf-8")
        except UnicodeDecodeError:
            pass  # part of a character


def corpus(files):
    """Lines of text, the same for the same package versions."""
    lines = []
    for path in sorted(Path(transformers.__file__).parent.glob("models/*/*.py"))[:files]:
        lines += [s for s in map(str.strip, path.read_text("utf-8").split("\n")) if len(s) > 20]
    words, r = list(clip_words()), random.Random(1)
    for _ in range(6):
        r.shuffle(words)
        lines += [" ".join(words[i : i + 12]) for i in range(0, len(words), 12)]
    return lines


def train(path, lines, pieces, **options):
    """spiece.model with T5's ids: <pad> 0, </s> 1, <unk> 2, no <s>."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=f"{work}/t5", vocab_size=pieces,
            model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1,
            minloglevel=2, **options)
        shutil.move(f"{work}/t5.model", path)


def write_config(folder, **extra):
    write_json(folder / "tokenizer_config.json", {
        "eos_token": "</s>", "extra_ids": 100, "model_max_length": 512, "pad_token": "<pad>",
        "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>", **extra})


# ---- strings and their ids -----------------------------------------------------------------------


def marked(count):
    """Strings with special tokens written out. Between them there is plain text, where
    sentencepiece and transformers agree."""
    r = random.Random(2)
    parts = ["</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_7>", "<extra_id_99>",
             "<extra_id_100>", "</S>", " ", "  ", "\t", *WORDS]
    return ["".join(r.choice(parts) for _ in range(r.randint(1, 10))) for _ in range(count)]


def write_strings(path, texts, ids_of, limit):
    out = []
    for text in texts:
        data, ids = text.encode("utf-8"), ids_of(text)[:limit]
        out += [struct.pack("<H", len(data)), data, struct.pack(f"<H{len(ids)}H", len(ids), *ids)]
    compress(path, struct.pack("<I", len(texts)) + b"".join(out))


def reference(folder):
    """ids_of: sentencepiece's ids, or transformers' where a special token is written out."""
    spm = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    hf = T5Tokenizer.from_pretrained(folder)

    def ids_of(text):
        return hf(text).input_ids if MARK.search(text) else spm.encode(text) + [1]

    return ids_of, hf


def differences(folder, texts, ids_of, hf):
    """Counts where transformers differs from what is written."""
    other = [t for t in texts if hf(t).input_ids != ids_of(t)]
    plain = [t for t in other if not any(unicodedata.combining(c) or ord(c) > 0x24F for c in t)]
    print(f"{folder}: {len(texts)} strings; transformers differs from sentencepiece in "
          f"{len(other)}, {len(plain)} of them without marks or characters above U+024F")


def one_model(folder, lines, pieces, count, **options):
    shutil.rmtree(folder, ignore_errors=True)
    train(folder / "spiece.model", lines, pieces, **options)
    write_config(folder)
    ids_of, hf = reference(folder)
    texts = [t for t in strings(31, count) if "\0" not in t] + marked(count // 10)
    texts = [t for t in texts if len(ids_of(t)) < 512]
    differences(folder, texts, ids_of, hf)
    write_strings(folder / "strings.bin.gz", texts, ids_of, 512)
    compress(folder / "spiece.model.gz", (folder / "spiece.model").read_bytes())
    (folder / "spiece.model").unlink()


def bytes_model(folder, lines):
    """Byte fallback, user-defined pieces found by the model itself, no normalization."""
    shutil.rmtree(folder, ignore_errors=True)
    train(folder / "spiece.model", lines, 500, byte_fallback=True, character_coverage=0.99,
          user_defined_symbols=["[X]", "<sep>", "qu"], normalization_rule_name="identity")
    write_config(folder, extra_ids=0, additional_special_tokens=[])
    spm = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    r = random.Random(4)
    texts = [t for t in strings(32, 600) if "\0" not in t and not MARK.search(t)]
    texts += ["".join(r.choice(["[X]", "<sep>", "qu", "quick", " ", "a", "self", "é", "猫"])
                      for _ in range(r.randint(1, 9))) for _ in range(200)]
    write_strings(folder / "strings.bin.gz", texts, lambda t: spm.encode(t) + [1], 512)


def json_model(folder, lines):
    """tokenizer.json as transformers writes it, with a few normalization rules."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rules = {"ﬁ": "fi", "ﬂ": "fl", "Ａ": "A", "\t": " ", "\n": " ", "\u3000": " ", "½": "1/2",
             "a\u0301": "á"}
    (folder / "rules.tsv").write_text("".join(
        " ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) + "\n"
        for k, v in rules.items()))
    train(folder / "spiece.model", lines, 400, character_coverage=0.99,
          normalization_rule_tsv=str(folder / "rules.tsv"))
    write_config(folder)
    hf = T5Tokenizer.from_pretrained(folder)
    hf.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert base64.b64decode(model["normalizer"]["precompiled_charsmap"])
    write_config(folder)
    for name in ("rules.tsv", "spiece.model"):
        (folder / name).unlink()
    hf = T5Tokenizer.from_pretrained(folder)
    texts = marked(300) + [f"{a}{b}" for a in ["ﬁre", "Ａ\u3000b", "½ cup\n", ""] for b in WORDS[:40]]
    write_strings(folder / "strings.bin.gz", texts, lambda t: hf(t).input_ids, 512)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", metavar="FOLDER", type=Path)
    parser.add_argument("--files", type=int, default=1500, help="source files, with --full")
    args = parser.parse_args()
    if args.full:
        one_model(args.full / "tokenizer", corpus(args.files), 32000, 12000,
                  normalization_rule_name="nmt_nfkc", character_coverage=0.9999)
        return
    lines = corpus(12)
    one_model(FOLDER / "tokenizer", lines, 1500, 2500, normalization_rule_name="nmt_nfkc")
    bytes_model(FOLDER / "tokenizer-bytes", lines)
    json_model(FOLDER / "tokenizer-json", lines)


if __name__ == "__main__":
    main()
