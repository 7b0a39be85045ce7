"""Classifiers see what they were trained to see."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from tests.wan_local.small_companions import WINDOW, write_text_classifier
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.classifiers import (
    AT_ONCE,
    Preparation,
    load_picture_classifier,
    load_text_classifier,
    prepare,
    probabilities,
    read_preparation,
)
from weights.build_small_safety import build

FALCONSAI = {
    "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2,
    "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224},
}  # fmt: skip
PLAIN = Preparation(224, 224, "bilinear", 1.0, (0, 0, 0), (1, 1, 1))


@pytest.fixture
def pictures(tmp_path):
    return build(tmp_path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_text_classifier(tmp_path_factory.mktemp("text"))


def noise(height, width):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(height, width):
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([across, down, (across + down) / 2], axis=2).astype(np.uint8)


@pytest.mark.parametrize("picture", [noise, gradient])
@pytest.mark.parametrize("size", [(720, 1280), (480, 832), (100, 60), (224, 224), (1, 500)])
@pytest.mark.parametrize(("resample", "mode"), [(2, "bilinear"), (3, "bicubic")])
def test_the_resize_is_pillows_to_within_a_level(picture, size, resample, mode):
    """The classifiers were trained on what Pillow makes of a picture."""
    frame = picture(*size)
    theirs = np.asarray(Image.fromarray(frame).resize((224, 224), resample), dtype=np.float32)
    wanted = Preparation(224, 224, mode, 1.0, (0, 0, 0), (1, 1, 1))
    ours = prepare(torch.from_numpy(frame)[None], wanted)[0].permute(1, 2, 0).numpy()

    assert np.abs(theirs - ours).max() <= 1


def test_pictures_are_prepared_as_transformers_would(tmp_path):
    """Its own processor without torchvision is the oracle; 2/255 is one level once normalised."""
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(FALCONSAI))
    frame = gradient(480, 832)
    theirs = ViTImageProcessorPil.from_pretrained(tmp_path)(frame, return_tensors="pt")
    ours = prepare(torch.from_numpy(frame)[None], read_preparation(path))

    assert (ours - theirs["pixel_values"]).abs().max() <= 2 / 255 + 1e-6


def test_a_batch_is_looked_at_frame_by_frame(pictures):
    """Probabilities that add up to one, a row a frame."""
    frames = torch.zeros(3, 64, 112, 3, dtype=torch.uint8)
    frames[1, ..., 0] = 255
    scores = load_picture_classifier(pictures)(frames)

    assert (3, 2) == tuple(scores.shape)
    assert torch.allclose(torch.ones(3), scores.sum(dim=1))
    assert [False, True, False] == (scores[:, 1] > 0.5).tolist()


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that was made."""

    numel = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made


def test_many_pictures_take_no_more_memory_than_a_few(pictures):
    """The frames of an input video come all at once: in float32, 161 of 720p would be 1.8 GB."""
    classifier = load_picture_classifier(pictures)
    frames = torch.zeros(3 * AT_ONCE + 1, 64, 112, 3, dtype=torch.uint8)
    frames[::3, ..., 0] = 255
    few, many = Largest(), Largest()
    with few:
        classifier(frames[:AT_ONCE].clone())
    with many:
        scores = classifier(frames)

    assert few.numel == many.numel
    assert torch.allclose(torch.cat([classifier(frame[None]) for frame in frames]), scores)


def test_labels_are_in_the_order_of_the_logits(pictures, texts):
    """In small letters, as settings are compared with them."""
    assert ["normal", "nsfw"] == load_picture_classifier(pictures).labels
    assert ["sfw", "nsfw"] == load_text_classifier(texts).labels


def test_labels_that_do_not_exclude_one_another_are_not_made_to():
    """A multi-label model's scores are one by one."""

    class Config:
        problem_type = "multi_label_classification"

    assert [0.5, 0.5] == probabilities(torch.zeros(2), Config()).tolist()


@pytest.mark.parametrize(
    "change",
    [{"size": {"shortest_edge": 224}}, {"resample": 1}, {"image_mean": None}, {"size": None},
     {"do_center_crop": True}, {"do_resize": False}],
)  # fmt: skip
def test_a_preparation_we_do_not_do_is_refused(tmp_path, change):
    """A classifier that gets other pictures than in its training is wrong and does not say so."""
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(FALCONSAI | change))

    with pytest.raises(BadCheckpoint, match=r"preprocessor_config\.json"):
        read_preparation(path)


def test_what_a_preprocessor_leaves_out_has_transformers_defaults(tmp_path):
    """Older files are short."""
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"size": 224, "do_normalize": False, "do_rescale": False}))

    assert PLAIN == read_preparation(path)


def test_a_missing_tensor_is_not_made_up(pictures):
    """The library would fill it with random numbers, and the checker would roll dice."""
    file = pictures / "model.safetensors"
    tensors = load_file(file)
    del tensors["classifier.weight"]
    save_file(tensors, file)

    with pytest.raises(BadCheckpoint, match=r"1 missing keys, such as classifier\.weight"):
        load_picture_classifier(pictures)


def test_a_pickle_is_not_read(pictures):
    """It would run what it holds."""
    (pictures / "model.safetensors").rename(pictures / "pytorch_model.bin")

    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is missing"):
        load_picture_classifier(pictures)


def test_nonsense_in_the_place_of_weights_is_a_sentence(pictures):
    """Not a traceback of the library."""
    (pictures / "model.safetensors").write_bytes(b"nonsense" * 10)

    with pytest.raises(BadCheckpoint, match="cannot be loaded"):
        load_picture_classifier(pictures)


def test_a_classifier_that_is_not_there_says_how_to_get_it(tmp_path):
    """The engine asks again, after the server: files may go while a job waits."""
    with pytest.raises(WeightsMissing, match="hf download"):
        load_picture_classifier(tmp_path / "none")


def test_the_end_of_a_long_text_counts_as_much(texts):
    """A window after the first would otherwise be a place to hide in."""
    reader = load_text_classifier(texts)
    scores = reader("cat " * 100 + "forbidden")

    assert len(scores) > 100 / WINDOW
    assert reader("a cat bakes the cake")[0, 1] < 0.5
    assert scores[0, 1] < 0.5 < scores[-1, 1]


def test_an_empty_text_is_harmless(texts):
    """Image to video takes one."""
    assert load_text_classifier(texts)("").max(dim=0).values[1] < 0.5


def test_a_tokenizer_that_cannot_be_read_is_a_sentence(texts, tmp_path):
    """Not a traceback of the library."""
    folder = shutil.copytree(texts, tmp_path / "text")
    (folder / "tokenizer.json").write_text("{")

    with pytest.raises(BadCheckpoint, match="the tokenizer in"):
        load_text_classifier(folder)
