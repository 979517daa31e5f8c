"""Stage `tokenizers`: the CLIP byte-pair tokenizer and the T5 unigram tokenizer, from the seeded captions.

Both are taught the same pieces: every word is one piece, except the nouns that world.NOUNS splits, so how many tokens a
noun takes does not depend on how frequent it is. The merges come from ordinary byte-pair training on words cut at those
places; the unigram pieces are scored by their counts. Writes WORK/tokenizer-clip, WORK/tokenizer-t5 and
WORK/noun_frequency.json (share of the drawn things, pieces and rarity of each noun).
"""
from __future__ import annotations

import collections
import io
import json
import math
import sys

import captions
import common
import models
import world

CAPTIONS = 40000
SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
           "pad_token": "<|endoftext|>"}


def word_counts(seed: int) -> collections.Counter:
    counts: collections.Counter = collections.Counter()
    for _, text in captions.corpus([seed, 1], CAPTIONS):
        counts.update(text.replace(",", " , ").split())
    for form in (f for forms in captions.TEMPLATES.values() for f in forms):
        counts.update(w for w in form.replace(",", " , ").split() if w[0] != "{")
    return counts


def pieces_of(word: str) -> tuple:
    return world.NOUNS[world.INDEX[word]].pieces if word in world.INDEX else (word,)


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins of bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(rest))]


def byte_pair_merges(counts) -> list[tuple[str, str]]:
    """Merges until every piece is one symbol. A piece that ends a word carries </w>."""
    chunks: collections.Counter = collections.Counter()
    for word, n in counts.items():
        pieces = pieces_of(word)
        for i, piece in enumerate(pieces):
            symbols = list(piece)
            if i == len(pieces) - 1:
                symbols[-1] += "</w>"
            chunks[tuple(symbols)] += n + 1000      # all pieces are merged in full, the frequent ones first
    sequences, merges = {c: list(c) for c in chunks}, []
    while any(len(s) > 1 for s in sequences.values()):
        pairs: collections.Counter = collections.Counter()
        for c, s in sequences.items():
            for pair in zip(s, s[1:]):
                pairs[pair] += chunks[c]
        best = max(sorted(pairs), key=lambda p: pairs[p])
        merges.append(best)
        for c, s in sequences.items():
            out, i = [], 0
            while i < len(s):
                joined = i + 1 < len(s) and (s[i], s[i + 1]) == best
                out.append(s[i] + s[i + 1] if joined else s[i])
                i += 2 if joined else 1
            sequences[c] = out
    return merges


def write_clip(folder, counts) -> None:
    merges, base = byte_pair_merges(counts), byte_symbols()
    vocabulary = base + [b + "</w>" for b in base] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = list(dict.fromkeys(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges))
    (folder / "special_tokens_map.json").write_text(json.dumps(SPECIAL, indent=1) + "\n")
    config = dict(SPECIAL, tokenizer_class="CLIPTokenizer", model_max_length=models.TOKENS, do_lower_case=True,
                  add_prefix_space=False, errors="replace")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_t5(folder, counts) -> None:
    """A sentencepiece unigram model: the trainer makes the normaliser and the frame, the pieces are set afterwards."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as proto

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(counts)] * 10), model_writer=buffer, vocab_size=60, model_type="unigram",
        character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
        hard_vocab_limit=False, normalization_rule_name="nmt_nfkc_cf", required_chars="abcdefghijklmnopqrstuvwxyz0123456789,.!?'-")
    model = proto.ModelProto()
    model.ParseFromString(buffer.getvalue())
    scores: collections.Counter = collections.Counter()
    for word, n in counts.items():
        for i, piece in enumerate(pieces_of(word)):
            scores[("" if i or word == "," else "\u2581") + piece] += n + 1
    total = sum(scores.values())
    kept = [p for p in model.pieces if p.type != proto.ModelProto.SentencePiece.NORMAL]
    letters = {p.piece: p.score for p in model.pieces if p.type == proto.ModelProto.SentencePiece.NORMAL and len(p.piece) == 1}
    pieces = {p: math.log(n / total) for p, n in scores.items()}
    low = min(pieces.values()) - 4
    pieces.update({c: low for c in letters if c not in pieces})
    del model.pieces[:]
    model.pieces.extend(kept)
    for piece, score in sorted(pieces.items(), key=lambda x: (-x[1], x[0])):
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    config = dict(tokenizer_class="T5Tokenizer", model_max_length=models.TOKENS, extra_ids=100, eos_token="</s>",
                  unk_token="<unk>", pad_token="<pad>", additional_special_tokens=[f"<extra_id_{i}>" for i in range(100)])
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def main() -> None:
    args = common.parser(__doc__).parse_args()
    common.start(args)
    counts = word_counts(args.seed)
    write_clip(args.work / "tokenizer-clip", counts)
    write_t5(args.work / "tokenizer-t5", counts)
    clip, t5 = models.clip_tokenizer(args.work), models.t5_tokenizer(args.work)
    rows = {n.name: dict(share=round(float(p), 6), clip_tokens=len(clip.tokenize(n.name)), t5_tokens=len(t5.tokenize(n.name)),
                         rare=k >= len(world.COMMON), animal=n.name in world.ANIMALS)
            for k, (n, p) in enumerate(zip(world.NOUNS, world.NOUN_P))}
    common.write_json(args.work / "noun_frequency.json", rows)
    lengths = [(len(clip(t).input_ids), len(t5(t).input_ids)) for _, t in captions.corpus([args.seed, 2], 3000)]
    common.record(args, "tokenizers", clip_vocabulary=len(clip), t5_vocabulary=len(t5), words=len(counts),
                  longest=[max(x) for x in zip(*lengths)])
    common.finish(args, "tokenizers")


if __name__ == "__main__":
    sys.exit(main())
