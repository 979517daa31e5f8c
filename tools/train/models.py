"""The architectures, all of them plain diffusers and transformers classes, and loading of what the stages have made."""
from __future__ import annotations

import pathlib

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Tokenizer

import world

LATENT = 4                      # channels of a latent
FACTOR = 8                      # pixels a side of a latent's cell
LATENT_RES = world.RES // FACTOR
TOKENS = 32                     # length to which prompts are padded
WIDTH = 128                     # width of both text encoders
TEXT_BLOCKS = 12
SETTINGS = dict(sampler="dpm++2m", steps=12, guidance=4.0)      # of the best pictures; dlens.json holds them


def vae(latent: int = LATENT) -> AutoencoderKL:
    channels = (16, 32, 48, 96)
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4,
                         up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=channels, layers_per_block=1,
                         latent_channels=latent, norm_num_groups=8, sample_size=world.RES, mid_block_add_attention=True)


def load_vae(work: pathlib.Path) -> AutoencoderKL:
    """The trained VAE, with the tuned decoder if there is one."""
    tuned = work / "vae" / "model-tuned"
    return AutoencoderKL.from_pretrained(tuned if (tuned / "config.json").exists() else work / "vae" / "model").eval()


def clip(vocabulary: int, eos: int) -> CLIPModel:
    text = dict(vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=TEXT_BLOCKS,
                num_attention_heads=4, max_position_embeddings=TOKENS, hidden_act="quick_gelu", projection_dim=96,
                bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos)
    image = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=6, num_attention_heads=4, image_size=world.RES,
                 patch_size=12, hidden_act="quick_gelu", projection_dim=96)
    config = CLIPConfig(text_config=text, vision_config=image, projection_dim=96)
    config._attn_implementation = "sdpa"
    return CLIPModel(config)


def t5(vocabulary: int) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(T5Config(
        vocab_size=vocabulary, d_model=WIDTH, d_kv=32, d_ff=320, num_layers=TEXT_BLOCKS, num_decoder_layers=1, num_heads=4,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", is_encoder_decoder=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        tie_word_embeddings=False))


def unet() -> UNet2DConditionModel:
    """Attention at 6 x 6 and 3 x 3 only: the highest level, 12 x 12, is convolutions."""
    return UNet2DConditionModel(
        sample_size=LATENT_RES, in_channels=LATENT, out_channels=LATENT,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), mid_block_type="UNetMidBlock2DCrossAttn",
        block_out_channels=(64, 128, 160), layers_per_block=1, cross_attention_dim=WIDTH, attention_head_dim=4,
        norm_num_groups=16)


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                         prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def clip_tokenizer(work: pathlib.Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(work / "tokenizer-clip")


def t5_tokenizer(work: pathlib.Path) -> T5Tokenizer:
    return T5Tokenizer.from_pretrained(work / "tokenizer-t5")


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(x: torch.Tensor) -> torch.Tensor:
    """Pictures in [-1, 1] to CLIP's pixel_values."""
    mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (x.add(1).div(2) - mean) / std


class TextEncoder:
    """A frozen text encoder as the pipelines use it: padded to TOKENS, mask for T5 only, states after the final norm."""

    def __init__(self, kind: str, work: pathlib.Path, device: str = "cpu"):
        self.kind, self.device = kind, device
        if kind == "clip":
            self.tokenizer, self.model = clip_tokenizer(work), CLIPModel.from_pretrained(work / "clip" / "model").text_model
        else:
            self.tokenizer, self.model = t5_tokenizer(work), T5EncoderModel.from_pretrained(work / "t5" / "model")
        self.model = self.model.to(device).float().eval().requires_grad_(False)

    def tokens(self, texts):
        return self.tokenizer(list(texts), padding="max_length", max_length=TOKENS, truncation=True,
                              return_tensors="pt").to(self.device)

    @torch.no_grad()
    def layers(self, texts) -> list[torch.Tensor]:
        """Conditioning of every layer 0..L: the raw output of each block through the final layer norm, once."""
        t = self.tokens(texts)
        mask = {} if self.kind == "clip" else dict(attention_mask=t.attention_mask)
        raw = self.model(input_ids=t.input_ids, output_hidden_states=True, **mask).hidden_states
        if self.kind == "clip":
            return [self.model.final_layer_norm(h) for h in raw]
        norm = self.model.encoder.final_layer_norm         # the library's last T5 state is normed already
        return [norm(h) for h in raw[:-1]] + [raw[-1]]

    @torch.no_grad()
    def __call__(self, texts) -> torch.Tensor:
        t = self.tokens(texts)
        mask = {} if self.kind == "clip" else dict(attention_mask=t.attention_mask)
        return self.model(input_ids=t.input_ids, **mask).last_hidden_state
