"""A checkpoint's files -> modules in host memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers import UMT5EncoderModel
from transformers.utils import logging as transformers_logging

from wan_local.catalog import Quantization
from wan_local.errors import BadCheckpoint
from wan_local.models.quantized_loading import load_quantized
from wan_local.models.weights import SmallCheckpoint, find_checkpoint, small_checkpoint

# component -> its class, and what that class's library calls the argument for the dtype
_CLASSES: dict[str, tuple[Any, str]] = {
    "text_encoder": (UMT5EncoderModel, "dtype"),
    "transformer": (WanTransformer3DModel, "torch_dtype"),
    "transformer_2": (WanTransformer3DModel, "torch_dtype"),
    "vae": (AutoencoderKLWan, "torch_dtype"),
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The light parts of a checkpoint; the heavy ones are loaded when they are first held."""

    folder: Path
    small: SmallCheckpoint | None
    """What it says of itself if it is a small stand-in."""
    tokenizer: Tokenizer = field(repr=False)
    scheduler: dict[str, Any] = field(repr=False)
    """Arguments of diffusers' UniPCMultistepScheduler, as published with the checkpoint."""


def open_checkpoint(weights_dir: Path, model_id: str) -> Checkpoint:
    """Find checkpoint *model_id* and read its light parts.

    Raises:
        WeightsMissing: If it is not there.
        BadCheckpoint: If it is not what the catalog says.
    """
    folder = find_checkpoint(weights_dir, model_id)
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        scheduler = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} cannot be read: {error}"
        raise BadCheckpoint(msg) from error
    return Checkpoint(folder, small_checkpoint(folder), _tokenizer(folder), scheduler)


def load_component(
    folder: Path, name: str, dtype: torch.dtype, quantization: Quantization = "none"
) -> nn.Module:
    """Load one component of the checkpoint in *folder* into host memory, ready for inference.

    The text encoder and the experts come in *dtype*, save for the parts that diffusers keeps in
    float32 (time embedding, norms, modulation tables), and the linear layers of an expert's blocks
    as *quantization* says; the VAE is float32 always. Shards are cast, or rounded, one tensor at a
    time, so float32 files load without a float32 copy of the whole.

    Raises:
        BadCheckpoint: If a tensor is missing, left over or of the wrong shape.
    """
    # Bars would land in the service's log; what is loading is said by an event.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    cls, dtype_argument = _CLASSES[name]
    module: Any
    try:
        if cls is WanTransformer3DModel and quantization != "none":
            module, report = load_quantized(folder / name, dtype, quantization)
        else:
            # The dtype goes in here: `.to(bfloat16)` afterwards would also cast what must not be.
            module, report = cls.from_pretrained(
                folder / name,
                local_files_only=True,
                use_safetensors=True,  # never pickles
                output_loading_info=True,
                **{dtype_argument: torch.float32 if name == "vae" else dtype},
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        msg = f"{folder / name} cannot be loaded: {error}"
        raise BadCheckpoint(msg) from error
    # The libraries fill a missing tensor with random numbers and a warning.
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(problem):
            count, first = len(report[problem]), next(iter(sorted(map(str, report[problem]))))
            msg = f"{folder / name}: {count} {problem.replace('_', ' ')}, such as {first}"
            raise BadCheckpoint(msg)
    # One table under two names, stored once: were the tie lost, every prompt would be noise.
    if name == "text_encoder" and module.shared.weight is not module.encoder.embed_tokens.weight:
        msg = f"{folder / name}: the embedding table is not tied"
        raise BadCheckpoint(msg)
    loaded: nn.Module = module
    return loaded.eval().requires_grad_(requires_grad=False)


def _tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer exactly as its file says.

    transformers 5 rebuilds T5 tokenizers from the vocabulary alone (unknown id 2, no byte
    fallback), which gives other ids than the file for anything outside the vocabulary.
    """
    path = folder / "tokenizer" / "tokenizer.json"
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust extension raises nothing narrower
        msg = f"{path} cannot be read: {error}"
        raise BadCheckpoint(msg) from error
    tokenizer.no_truncation()  # counted and cut by `stages.prompt`, which can then say so
    tokenizer.no_padding()
    encoder = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    end, room = encoder.get("eos_token_id", 1), encoder["vocab_size"]
    if tokenizer.encode("a").ids[-1:] != [end] or tokenizer.get_vocab_size() > room:
        msg = f"{path} is not the text encoder's: it must end with id {end} and stay under {room}"
        raise BadCheckpoint(msg)
    return tokenizer
