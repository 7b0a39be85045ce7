"""Every layout of LoRA files in the wild, by who writes it. To test another, add a row."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.wan_local.models.loras.by_hand import (
    ALPHA,
    ATTENTION,
    LINEAR,
    OUTER,
    SECOND_BLOCK,
    Lora,
    combo,
    diffusers,
    distilled,
    in_float8,
    kohya,
    loha,
    loha_convolution,
    lokr,
    lycoris_norms,
    modulation_as_difference,
    norms_of_diffusers,
    of_the_other_task,
    original,
    pairs,
    peft,
    peft_in_metadata,
    with_bias_of_b,
    with_biases,
    with_convolution,
    with_dora,
    with_image_keys,
    with_middle,
    without_suffix,
)

DEFAULT = {"down": ".lora_A.default.weight", "up": ".lora_B.default.weight"}

LAYOUTS: dict[str, Callable[[dict[str, torch.Tensor]], Lora]] = {
    # ecosystem's table
    "musubi: lora_unet_, full, alpha": lambda _: kohya(),
    "musubi: without alpha": lambda _: kohya(alpha=None),
    "musubi: attention only": lambda _: kohya(layers=ATTENTION),
    "musubi: one block only": lambda _: kohya(layers=SECOND_BLOCK),
    "musubi: converted to other": lambda _: original(),
    "musubi: with embeddings and head": lambda _: kohya(layers=LINEAR),
    "diffusion-pipe: diffusion_model. A/B": lambda _: original(),
    "ai-toolkit: diffusion_model. A/B": lambda _: original(),
    "ai-toolkit: combo of transformer_1 and transformer_2": lambda _: combo(
        "diffusion_model.transformer_1.", "diffusion_model.transformer_2."
    ),
    "DiffSynth: bare, .default": lambda _: original(prefix="", **DEFAULT),
    "DiffSynth: bare": lambda _: original(prefix=""),
    "DiffSynth: pipe.dit., .default": lambda _: original(prefix="pipe.dit.", **DEFAULT),
    "DiffSynth: pipe.dit. and pipe.dit2.": lambda _: combo("pipe.dit.", "pipe.dit2."),
    "DiffSynth: diffusion_model., .default": lambda _: original(**DEFAULT),
    "diffusers: transformer. A/B": lambda _: diffusers(),
    "diffusers: alpha as keys": lambda _: diffusers(alpha=ALPHA),
    "diffusers: transformer. and transformer_2.": lambda _: combo(
        "transformer.", "transformer_2.", named="theirs"
    ),
    "diffusers: no prefix": lambda _: diffusers(prefix=""),
    "diffusers: adapter metadata": lambda _: peft_in_metadata(),
    "diffusers: rslora in the metadata": lambda _: peft_in_metadata(use_rslora=True),
    "diffusers: transformer., original names": lambda _: original(prefix="transformer."),
    "diffusers: norms as differences": lambda _: norms_of_diffusers(),
    "PEFT: base_model.model., adapter_config.json": lambda _: peft(),
    "PEFT: rslora": lambda _: peft(use_rslora=True),
    "PEFT: alpha_pattern": lambda _: peft(alpha_pattern={"attn1.to_q": 3, "ffn.net.2": 1}),
    "PEFT: lora_B.bias": lambda _: with_bias_of_b(),
    "Lightning: diffusion_model. down/up, alpha": lambda _: pairs(prefix="diffusion_model."),
    "lightx2v: no prefix": lambda _: pairs(),
    "lightx2v: diff_b": lambda _: with_biases(pairs(prefix="diffusion_model.")),
    "lightx2v: diff_b of one block": lambda _: with_biases(
        pairs(prefix="diffusion_model."), SECOND_BLOCK
    ),
    "lightx2v: diff_b without pairs": lambda _: with_biases(
        pairs(ATTENTION, prefix="diffusion_model."), OUTER
    ),
    "lightx2v: distilled, all kinds of differences": lambda _: distilled(),
    "lightx2v: modulation.diff, head.head.diff": lambda _: modulation_as_difference(),
    "lightx2v: Wan 2.1 image keys": lambda _: with_image_keys(),
    "lightx2v: patch embedding of the other task": lambda _: of_the_other_task(),
    "VideoX-Fun: lora_unet__": lambda _: kohya("lora_unet__"),
    "misc: model.diffusion_model.": lambda _: pairs(prefix="model.diffusion_model."),
    "misc: unet.": lambda _: pairs(prefix="unet."),
    "misc: embeddings and head, no alpha": lambda _: original(layers=LINEAR),
    "misc: embeddings and head, alpha": lambda _: pairs(LINEAR, prefix="diffusion_model."),
    "spelling: _lora.down.weight": lambda _: diffusers(
        down="_lora.down.weight", up="_lora.up.weight"
    ),
    "spelling: .lora.down.weight": lambda _: diffusers(
        down=".lora.down.weight", up=".lora.up.weight"
    ),
    "spelling: .lora_linear_layer.down.weight": lambda _: diffusers(
        down=".lora_linear_layer.down.weight", up=".lora_linear_layer.up.weight"
    ),
    "spelling: .lora_A without .weight": lambda _: without_suffix(),
    "spelling: .lora_A.default": lambda _: original(down=".lora_A.default", up=".lora_B.default"),
    "LoHa: lora_unet_": lambda _: loha(),
    "LoHa: diffusion_model.": lambda _: loha("diffusion_model.", flat=False),
    "LoHa: convolution, Tucker": lambda _: loha_convolution(),
    "LoKr: whole and pair": lambda _: lokr(),
    "LoKr: pair and pair": lambda _: lokr("pair", "pair"),
    "LoKr: whole and whole": lambda _: lokr("whole", "whole", "lora_unet_"),
    "DoRA: dora_scale, rows": lambda base: with_dora(".dora_scale", lambda r, _: (r, 1), base),
    "DoRA: dora_scale, columns": lambda base: with_dora(".dora_scale", lambda _, c: (1, c), base),
    "DoRA: PEFT's magnitudes": lambda base: with_dora(
        ".lora_magnitude_vector.weight", lambda r, _: (r,), base
    ),
    "LyCORIS: norms": lambda _: lycoris_norms(),
    "convolution: patch embedding": lambda _: with_convolution(),
    "convolution: lora_mid": lambda _: with_middle(),
    "float8 halves": lambda _: in_float8(),
}
