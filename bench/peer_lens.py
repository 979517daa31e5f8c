"""The Diffusion Lens with diffusers alone, as bench/peers.py times it.

    python3 bench/peer_lens.py MODEL --layers 0,1,...,12 --steps 4 --size 512 --threads 2

For each layer the final layer norm of the text encoder is applied to the layer's hidden state, and
the pipeline makes a picture from it, guided by the ordinary encoding of the empty prompt.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "reference"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--layers", required=True)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()

    import torch
    from conformance import load
    from diffusers import DDIMScheduler

    torch.set_num_threads(o.threads)
    pipe = load(o.model)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    for module in (pipe.unet, pipe.vae):
        module.to(memory_format=torch.channels_last)

    def encode(text):
        ids = pipe.tokenizer(text, padding="max_length", return_tensors="pt", truncation=True,
                             max_length=pipe.tokenizer.model_max_length).input_ids
        return pipe.text_encoder(ids, output_hidden_states=True)

    with torch.inference_mode():
        states = encode("a photo of a dog on a beach").hidden_states
        negative = encode("").last_hidden_state
        norm = getattr(pipe.text_encoder, "text_model", pipe.text_encoder).final_layer_norm
        for layer in map(int, o.layers.split(",")):
            pipe(prompt_embeds=norm(states[layer]), negative_prompt_embeds=negative,
                 num_inference_steps=o.steps, guidance_scale=7.5, height=o.size, width=o.size,
                 generator=torch.Generator("cpu").manual_seed(0))


if __name__ == "__main__":
    main()
