"""A tiny CLIPTextModelWithProjection and what transformers pools: tests/data/clip-projection/.

As in the repositories of whole CLIP models, the text encoder's config is text_config of config.json
and the file holds other tensors, too. expected.safetensors: ids [3, 12] I64; hidden.L, cond.L
[3, 12, D]; text_embeds [3, P] with the end token of the config, 41, and largest.text_embeds as with
an old config, which says 2: there the largest id counts.
"""

import shutil

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from common import DATA, generator, randomise, write_json, write_tensors

FOLDER = DATA / "clip-projection"
CONFIG = {"hidden_act": "gelu", "hidden_size": 16, "intermediate_size": 24, "layer_norm_eps": 1e-05,
          "max_position_embeddings": 12, "num_attention_heads": 2, "num_hidden_layers": 2,
          "projection_dim": 6, "vocab_size": 44, "eos_token_id": 41}


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    model = CLIPTextModelWithProjection(CLIPTextConfig(**CONFIG))
    model = randomise(model, 61, gains=(("q_proj", 1.5), ("k_proj", 1.5)))
    ids = torch.randint(3, 41, (3, 12), generator=generator(7))
    ids[0, 5:] = 41  # padded with the end token
    ids[1, 3], ids[1, 7], ids[1, 8:] = 43, 41, 0  # an id above the end token's
    ids[2, 9] = 43  # no end token at all
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
        tensors = {"ids": ids, "hidden.L": out.hidden_states[-1], "cond.L": out.last_hidden_state,
                   "text_embeds": out.text_embeds}
        model.text_model.eos_token_id = 2
        tensors["largest.text_embeds"] = model(ids).text_embeds
    assert not torch.equal(tensors["text_embeds"][1:], tensors["largest.text_embeds"][1:])
    write_json(FOLDER / "config.json", {"model_type": "clip", "projection_dim": 512,
                                        "text_config": {"model_type": "clip_text_model", **CONFIG}})
    write_tensors(FOLDER / "model.safetensors",
                  {**model.state_dict(), "logit_scale": torch.tensor(4.6),
                   "visual_projection.weight": torch.ones(6, 3)})
    write_tensors(FOLDER / "expected.safetensors", tensors)


if __name__ == "__main__":
    main()
