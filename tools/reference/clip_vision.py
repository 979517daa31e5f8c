"""CLIP's vision tower and whole CLIP models as judges: tests/data/clip-vision/.

Three tiny random CLIPModels in the layouts of real repositories, two vision towers alone, pictures
of odd kinds, and what transformers and Pillow make of them; also of the bundled model's judge.
tests/data/README.md describes files and tensors. Every model is loaded again from its files by
transformers' own loaders, in f32, so configs and files mean what they mean there.
"""

import json
import shutil
import struct
import zlib

import numpy as np
import torch
from PIL import Image
from transformers import (CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer,
                          CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection)

from common import (DATA, ROOT, clip_merges, generator, randn, randomise, write_json,
                    write_tensors, write_tokenizer)

FOLDER = DATA / "clip-vision"
PICTURES = FOLDER / "pictures"
BUNDLED = ROOT / "weights" / "emoji-clip" / "judge"
LENGTH, VOCABULARY, END_ID = 16, 602, 601
TEXTS = ["a dog", "a cat", "a red dog and a white cat", "", "nothing",
         "the end <|endoftext|> of a dog", "Ein Bär, 12 Äpfel",
         "a text that is longer than the sixteen tokens which this small model can take at once"]

# ---- pictures ------------------------------------------------------------------------------------


def blobs(seed, height, width, channels):
    """A smooth picture with some noise, 8 bits."""
    small = torch.rand(1, channels, 3, 3, generator=generator(seed))
    smooth = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0]
    noise = torch.rand(channels, height, width, generator=generator(seed + 1))
    pixels = (255 * (0.8 * smooth + 0.2 * noise)).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def raw_png(width, height, depth, colour, rows, extra=b""):
    """PNG kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data)
            + chunk(b"IEND", b""))


def sixteen_bit(seed, height, width):
    values = torch.randint(0, 65536, (height, width, 3), generator=generator(seed)).numpy()
    return raw_png(width, height, 16, 2, [r.astype(">u2").tobytes() for r in values])


def make_pictures():
    def save(name, image, **options):
        image.save(PICTURES / f"{name}.png", optimize=True, **options)

    def rgb(seed, height, width):
        return Image.fromarray(blobs(seed, height, width, 3))

    PICTURES.mkdir(parents=True)
    save("large", rgb(1, 61, 83))
    save("tall", rgb(2, 90, 21))
    save("small", rgb(3, 5, 7))
    save("row", rgb(4, 1, 40))
    save("column", rgb(5, 37, 1))
    save("pixel", rgb(6, 1, 1))
    save("exact", rgb(7, 32, 32))
    save("alpha", Image.fromarray(blobs(8, 30, 41, 4)))
    save("grey", Image.fromarray(blobs(9, 43, 34, 1)[..., 0]))
    save("grey-alpha", Image.fromarray(blobs(10, 20, 33, 2), mode="LA"))
    save("palette", rgb(11, 36, 29).quantize(13))
    save("palette-alpha", rgb(12, 33, 38).quantize(9), transparency=bytes([0, 128, 255, 20]))
    save("one-bit", Image.fromarray(blobs(13, 35, 47, 1)[..., 0]).convert("1"))
    (PICTURES / "sixteen-bit.png").write_bytes(sixteen_bit(14, 17, 19))
    (PICTURES / "colour-key.png").write_bytes(raw_png(
        9, 8, 8, 2, [bytes((40 * x * c + y * (x % 3)) % 256 for x in range(9) for c in range(3))
                     for y in range(8)], chunk(b"tRNS", struct.pack(">HHH", 0, 40, 80))))


def names():
    return sorted(path.stem for path in PICTURES.glob("*.png"))


def picture(name):
    return Image.open(PICTURES / f"{name}.png")


# ---- Pillow's resizing ---------------------------------------------------------------------------

RESIZED = [("large", 13, 11), ("large", 10, 61), ("tall", 21, 9), ("small", 13, 11),
           ("row", 9, 5), ("column", 6, 8), ("pixel", 3, 4), ("exact", 31, 15)]


def resizing():
    tensors = {}
    for name, width, height in RESIZED:
        for resample in range(6):
            out = picture(name).resize((width, height), resample=resample)
            tensors[f"{name}.{width}x{height}.{resample}"] = torch.from_numpy(np.array(out))
    write_tensors(FOLDER / "resized.safetensors", tensors)


# ---- preprocessing -------------------------------------------------------------------------------

OLD = {"feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True, "size": 10,
       "resample": 3, "do_center_crop": True, "crop_size": 10, "do_normalize": True,
       "image_mean": [0.48145466, 0.4578275, 0.40821073],
       "image_std": [0.26862954, 0.26130258, 0.27577711]}
NEW = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 10},
       "crop_size": {"height": 10, "width": 10}}
CONFIGS = {
    "old": OLD,
    "new": NEW,
    "bilinear": {**NEW, "resample": 2},
    "nearest": {**NEW, "resample": 0},
    "lanczos": {**NEW, "resample": 1},
    "box": {**NEW, "resample": 4},
    "hamming": {**NEW, "resample": 5},
    "square": {"size": {"height": 10, "width": 10}, "do_center_crop": False},
    "list": {"size": [10, 10], "do_center_crop": False, "image_mean": [0.5, 0.5, 0.5],
             "image_std": [0.5, 0.25, 0.125]},
    "to-square": {"size": 10, "default_to_square": True, "do_center_crop": False},
    "padded": {**NEW, "size": {"shortest_edge": 7}},
    "odd-crop": {**NEW, "size": {"height": 13, "width": 9}},
    "no-resize": {**NEW, "do_resize": False},
    "no-rescale": {**NEW, "do_rescale": False, "image_mean": [120, 110, 100.5],
                   "image_std": [60, 61, 62]},
    "no-normalize": {**NEW, "do_normalize": False},
    "factor": {**NEW, "rescale_factor": 0.01},
    "bytes": {**NEW, "do_rescale": False, "do_normalize": False},
}


def preprocessing():
    tensors = {}
    for i, (key, config) in enumerate(CONFIGS.items()):
        processor = CLIPImageProcessorPil(**config)
        some = names() if key == "new" else names()[i % 7 :: 7]
        for name in some:
            pixels = processor(picture(name), return_tensors="pt").pixel_values[0].float()
            tensors[f"{key}.{name}"] = pixels
    write_tensors(FOLDER / "preprocessed.safetensors", tensors)
    write_json(FOLDER / "preprocessor_configs.json", CONFIGS, indent=1)


# ---- models --------------------------------------------------------------------------------------

TEXT = {"hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 2,
        "num_hidden_layers": 2, "max_position_embeddings": LENGTH, "vocab_size": VOCABULARY}
VISION = {"hidden_size": 18, "intermediate_size": 28, "num_attention_heads": 3,
          "num_hidden_layers": 2}

# As openai/clip-vit-base-patch32 of 2022: the end token's id is wrong, the _dict keys are null,
# position_ids lie in the file.
OLD_MODEL = {
    "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 12,
    "logit_scale_init_value": 2.6592, "torch_dtype": "float32",
    "text_config": {**TEXT, "hidden_act": "quick_gelu", "eos_token_id": 2, "bos_token_id": 0,
                    "projection_dim": 512, "model_type": "clip_text_model"},
    "text_config_dict": None,
    "vision_config": {**VISION, "image_size": 32, "patch_size": 8, "projection_dim": 512,
                      "model_type": "clip_vision_model"},
    "vision_config_dict": None,
}
# As OpenCLIP's in transformers layout: gelu, another epsilon, f16; 45 pixels are 3 patches of 14
# and a rest.
NEW_MODEL = {
    "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 10,
    "text_config": {**TEXT, "hidden_act": "gelu", "eos_token_id": END_ID,
                    "layer_norm_eps": 1e-4},
    "vision_config": {**VISION, "hidden_act": "gelu", "image_size": 45, "patch_size": 14},
}
# As openai/clip-vit-large-patch14 of 2022: the _dict keys, with the defaults of what they leave
# out, replace the others; bf16.
DICT_MODEL = {
    "model_type": "clip", "projection_dim": 8,
    "text_config": {**TEXT, "hidden_act": "gelu", "hidden_size": 999, "eos_token_id": 2},
    "text_config_dict": {**TEXT, "eos_token_id": END_ID},
    "vision_config": {"hidden_act": "gelu", "image_size": 64},
    "vision_config_dict": {**VISION, "image_size": 21, "patch_size": 7},
}


def random_clip(config, seed):
    model = CLIPModel(CLIPConfig(**json.loads(json.dumps(config))))
    gains = (("q_proj", 1.5), ("k_proj", 1.5))
    randomise(model.text_model, seed, gains=gains, embedding=0.3)
    randomise(model.vision_model, seed + 1, gains=gains, embedding=0.3)
    for i, layer in enumerate((model.text_projection, model.visual_projection)):
        layer.weight.data = randn(seed + 2 + i, *layer.weight.shape, scale=0.3)
    model.logit_scale.data = torch.tensor(2.3)
    return model


def size_of(config):
    return (config.get("vision_config_dict") or config["vision_config"])["image_size"]


def processor_config(config):
    S = size_of(config)
    if config is OLD_MODEL:
        return "preprocessor_config.json", {**OLD, "size": S, "crop_size": S}
    new = {**NEW, "size": {"shortest_edge": S}, "crop_size": {"height": S, "width": S}}
    if config is NEW_MODEL:
        return "preprocessor_config.json", new
    return "processor_config.json", {"image_processor": new, "processor_class": "CLIPProcessor"}


def write_model(name, config, seed, dtype):
    folder = FOLDER / name
    model = random_clip(config, seed)
    tensors = {key: t.to(dtype) for key, t in model.state_dict().items()}
    if config is OLD_MODEL:
        tensors["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    write_json(folder / "config.json", config)
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    file, processor = processor_config(config)
    write_json(folder / file, processor)
    write_tokenizer(folder, clip_merges()[:88], LENGTH)


def judge(folder, texts, some):
    """What CLIPModel says about these pictures and texts, embeddings of length 1."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    words = tokenizer(texts, padding=True, truncation=True,
                      max_length=tokenizer.model_max_length, return_tensors="pt")
    pixels = torch.cat([processor(picture(n), return_tensors="pt").pixel_values for n in some])
    with torch.no_grad():
        out = model(**words, pixel_values=pixels)
    cosine = out.image_embeds @ out.text_embeds.T
    return {"text": out.text_embeds, "image": out.image_embeds, "cosine": cosine,
            "logits": out.logits_per_image, "probability": out.logits_per_image.softmax(-1),
            "scale": model.logit_scale.exp()[None]}


def towers():
    """Vision towers alone, as transformers 5 writes them: without and with projection."""
    config = CLIPVisionConfig(**VISION, image_size=15, patch_size=5, projection_dim=6,
                              hidden_act="gelu_new")
    pixels = randn(31, 2, 3, 15, 15)
    for name, kind in (("tower", CLIPVisionModel), ("tower-projection",
                                                    CLIPVisionModelWithProjection)):
        model = kind(config)
        inner = getattr(model, "vision_model", model)
        randomise(inner, 41, gains=(("q_proj", 1.5), ("k_proj", 1.5)), embedding=0.3)
        if hasattr(model, "visual_projection"):
            model.visual_projection.weight.data = randn(43, 6, 18, scale=0.3)
        model.eval().half().save_pretrained(FOLDER / name)
        loaded = kind.from_pretrained(FOLDER / name, dtype=torch.float32)
        with torch.no_grad():
            out = loaded(pixels)
        result = out.image_embeds if hasattr(out, "image_embeds") else out.pooler_output
        write_tensors(FOLDER / name / "expected.safetensors", {"pixels": pixels, "output": result})


def bundled():
    texts = ["a dog", "a cat", "a red dog", "a white cat and a red dog", "", "nothing"]
    some = ["alpha", "column", "grey", "large", "palette", "tall"]
    weights = zlib.crc32((BUNDLED / "model.safetensors").read_bytes())
    write_tensors(FOLDER / "bundled.safetensors", judge(BUNDLED, texts, some))
    write_json(FOLDER / "bundled.json", {"weights": weights, "texts": texts, "pictures": some})


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    make_pictures()
    resizing()
    preprocessing()
    for name, config, seed, dtype in (("old", OLD_MODEL, 1, torch.float32),
                                      ("new", NEW_MODEL, 11, torch.float16),
                                      ("dict", DICT_MODEL, 21, torch.bfloat16)):
        write_model(name, config, seed, dtype)
        results = judge(FOLDER / name, TEXTS, names())
        spread = results["cosine"].std()
        assert spread > 0.05, (name, spread)
        write_tensors(FOLDER / name / "expected.safetensors", results)
    write_json(FOLDER / "expected.json", {"texts": TEXTS, "pictures": names()})
    towers()
    bundled()


if __name__ == "__main__":
    main()
