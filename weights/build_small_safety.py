"""Build a small image classifier that calls a saturated red picture `nsfw`, and nothing else.

    python -m weights.build_small_safety [OUT]        # default: weights/random

The folder is laid out like `Falconsai/nsfw_image_detection` and its model is a real
ViTForImageClassification; its weights are not learned but set, so that tests have a picture that
is refused and many that are not. It checks nothing: never use it on anybody's pictures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

FOLDER = "nsfw_image_detection"
SIDE = 32
PATCH = 16
# The carrier of the other channels: constant, so that the layer norms scale redness and keep it.
CARRIER = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0)
# Ends of the names of the attention's value and output, in the releases of transformers we accept.
CARRIES = ("v_proj", "o_proj", "attention.value", "attention.output.dense")
SURE = 6.0
"""Half the distance of the two logits at saturated red."""


def build(out: Path) -> Path:
    """Write the classifier to *out*/nsfw_image_detection and return that folder."""
    folder = out / FOLDER
    classifier().save_pretrained(folder)
    write_preprocessor(folder, SIDE)
    return folder


def write_preprocessor(folder: Path, side: int) -> None:
    """Write what the published file says, for pictures of *side* pixels."""
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")


def classifier() -> ViTForImageClassification:
    """Return a ViT of one layer whose first channel carries how red the picture is.

    Patches are turned into their redness; uniform attention brings its mean to the class token;
    the last layer draws the line half way between pure red and a picture that is half red.
    """
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=1 + len(CARRIER),
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            image_size=SIDE,
            patch_size=PATCH,
            id2label={0: "normal", 1: "nsfw"},
            label2id={"normal": 0, "nsfw": 1},
            problem_type="single_label_classification",
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        _set_norms(model)
        patches = model.vit.embeddings.patch_embeddings.projection
        # Of pixels in -1..1: 1 at pure red, at most 0 for anything without red.
        patches.weight[0] = torch.tensor([2.0, -1.0, -1.0]).view(3, 1, 1) / (4 * PATCH * PATCH)
        patches.bias[1:] = torch.tensor(CARRIER)
        model.vit.embeddings.cls_token[0, 0, 1:] = torch.tensor(CARRIER)
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear) and name.endswith(CARRIES):
                layer.weight.copy_(torch.eye(len(layer.weight)))
        red, half = (float(_feature(model, _red(share))) for share in (1.0, 0.5))
        slope = 4 * SURE / (red - half)
        model.classifier.weight[1, 0] = slope
        model.classifier.bias[1] = -slope * (red + half) / 2
    return model


def _set_norms(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.weight.fill_(1)


def _red(share: float) -> Tensor:
    """Return a picture whose upper *share* is saturated red and the rest grey."""
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    pixels[:, :, : int(SIDE * share)] = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    return pixels


def _feature(model: ViTForImageClassification, pixels: Tensor) -> Tensor:
    return model.vit(pixel_values=pixels).last_hidden_state[0, 0, 0]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "random"
    print(build(target))
