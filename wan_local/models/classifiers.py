"""Classifiers that say how likely a picture or a text is unwanted.

Pictures are prepared here and not by transformers' image processor: the one it prefers needs
torchvision, and the other brings each frame back to the host.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from wan_local.errors import BadCheckpoint
from wan_local.models.companions import IMAGE_CLASSIFIER, TEXT_CLASSIFIER, find_companion
from wan_local.tensors import Frames

AT_ONCE = 8
"""Pictures. One of 1280×720 is 11 MB in float32, as the first resize has it."""
# Pillow's numbers, which is what preprocessor files hold.
_RESAMPLING = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a classifier wants done to a picture before it looks."""

    height: int
    width: int
    mode: str
    """Of the resize: `bilinear` or `bicubic`."""
    factor: float
    """Which takes 0..255 to the range that mean and deviation are of."""
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class PictureClassifier(nn.Module):
    """A classifier of pictures with the preparation that it was trained with."""

    def __init__(self, model: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.model: Any = model
        self.preparation = preparation

    @property
    def labels(self) -> list[str]:
        """What it tells apart."""
        return labels_of(self.model.config)

    @torch.inference_mode()
    def forward(self, frames: Frames) -> Tensor:
        """Return the probability of each label for each of *frames*: [frames, labels].

        A few at a time, so that memory does not grow with their number.
        """
        return torch.cat([self._look(few) for few in torch.split(frames, AT_ONCE)])

    def _look(self, frames: Frames) -> Tensor:
        pixels = prepare(frames.to(self.model.device), self.preparation)
        return probabilities(self.model(pixel_values=pixels).logits, self.model.config)


class TextClassifier(nn.Module):
    """A classifier of texts with its tokenizer."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer = tokenizer

    @property
    def labels(self) -> list[str]:
        """What it tells apart."""
        return labels_of(self.model.config)

    @torch.inference_mode()
    def forward(self, text: str) -> Tensor:
        """Return the probability of each label for each window of *text*: [windows, labels].

        A text that is longer than the model reads is read in windows that overlap: what stands at
        its end counts as much.
        """
        # Two positions fewer than the table has: RoBERTa's begin at 2.
        limit = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings - 2)
        windows = self.tokenizer(
            text,
            truncation=True,
            max_length=limit,
            stride=limit // 4,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        ids = windows["input_ids"].to(self.model.device)
        mask = windows["attention_mask"].to(self.model.device)
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        return probabilities(logits, self.model.config)


def load_picture_classifier(folder: Path) -> PictureClassifier:
    """Load the image classifier in *folder* into host memory.

    Raises:
        WeightsMissing: If it is not there.
        BadCheckpoint: If it is not whole, or wants its pictures in a way that is not known here.
    """
    find_companion(IMAGE_CLASSIFIER, folder)
    preparation = read_preparation(folder / "preprocessor_config.json")
    return PictureClassifier(load_whole(AutoModelForImageClassification, folder), preparation)


def load_text_classifier(folder: Path) -> TextClassifier:
    """Load the text classifier in *folder* into host memory.

    Raises:
        WeightsMissing: If it is not there.
        BadCheckpoint: If it is not whole.
    """
    find_companion(TEXT_CLASSIFIER, folder)
    model = load_whole(AutoModelForSequenceClassification, folder)
    return TextClassifier(model, load_tokenizer(folder))


def load_whole(cls: Any, folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Load a transformers model from *folder* with every one of its tensors, ready for inference.

    Raises:
        BadCheckpoint: If it cannot be read, or a tensor is missing or of the wrong shape.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        module, report = cls.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,  # never pickles
            trust_remote_code=False,
            output_loading_info=True,
            dtype=dtype,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        msg = f"{folder} cannot be loaded: {error}"
        raise BadCheckpoint(msg) from error
    # The library fills a missing tensor with random numbers and a warning: a checker that guesses.
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report.get(problem):
            first = next(iter(sorted(map(str, report[problem]))))
            msg = f"{folder}: {len(report[problem])} {problem.replace('_', ' ')}, such as {first}"
            raise BadCheckpoint(msg)
    loaded: nn.Module = module
    return loaded.eval().requires_grad_(requires_grad=False)


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer in *folder*.

    Raises:
        BadCheckpoint: If it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"the tokenizer in {folder} cannot be read: {error}"
        raise BadCheckpoint(msg) from error


def read_preparation(path: Path) -> Preparation:
    """Read a preprocessor's file.

    Raises:
        BadCheckpoint: If it asks for something that is not done here: a classifier whose pictures
            are not prepared as in its training is wrong without a sign of it.
    """
    try:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        size = wanted["size"]
        height, width = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
        rescaled = wanted.get("do_rescale", True)
        normalized = wanted.get("do_normalize", True)
        preparation = Preparation(
            height=int(height),
            width=int(width),
            mode=_RESAMPLING[wanted.get("resample", 2)],
            factor=float(wanted.get("rescale_factor", 1 / 255)) if rescaled else 1.0,
            mean=tuple(wanted["image_mean"]) if normalized else (0.0, 0.0, 0.0),
            deviation=tuple(wanted["image_std"]) if normalized else (1.0, 1.0, 1.0),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is not one that wan-local can follow: {type(error).__name__} {error}"
        raise BadCheckpoint(msg) from error
    if not wanted.get("do_resize", True) or wanted.get("do_center_crop", False):
        msg = f"{path} asks for a crop, or for no resize: wan-local only resizes the whole picture"
        raise BadCheckpoint(msg)
    return preparation


def prepare(frames: Tensor, wanted: Preparation) -> Tensor:
    """Return *frames*, [n, h, w, 3] of bytes, as a classifier reads them: [n, 3, height, width].

    The resize is Pillow's to within one level of 255: across first and then down, with a filter
    that widens when it shrinks, and whole levels after each of the two. In one go, bicubic edges
    came out up to 18 levels away from Pillow's, which cuts off what overshoots half-way.
    """
    pixels = frames.permute(0, 3, 1, 2).float()
    across = _resized(pixels, (pixels.shape[2], wanted.width), wanted.mode)
    levels = _resized(across, (wanted.height, wanted.width), wanted.mode) * wanted.factor
    mean = levels.new_tensor(wanted.mean).view(1, 3, 1, 1)
    return (levels - mean) / levels.new_tensor(wanted.deviation).view(1, 3, 1, 1)


def _resized(pixels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    resized = functional.interpolate(pixels, size=size, mode=mode, antialias=True)
    return resized.round().clamp(0, 255)


def probabilities(logits: Tensor, config: Any) -> Tensor:
    """Return what *logits* mean: labels exclude one another, unless the model says they do not."""
    if config.problem_type == "multi_label_classification":
        return logits.float().sigmoid().cpu()
    return logits.float().softmax(dim=-1).cpu()


def labels_of(config: Any) -> list[str]:
    """Return the labels in the order of the logits, in small letters."""
    return [str(config.id2label[index]).lower() for index in range(len(config.id2label))]
