"""The trained classifier flags its symbol, and refuses through the code that refuses anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wan_local.errors import ContentRefused
from wan_local.models.classifiers import load_picture_classifier, read_preparation
from wan_local.plan import SafetySpec
from wan_local.stages.safety import OutputCheck, check_pictures
from weights.train.clips import Scene, random_scene, render
from weights.train.symbol import LABELS, PARTS, PREPARATION, Pictures, draw, rates, train

TRAINED = Path(__file__).parents[3] / "weights" / "mini" / "nsfw_image_detection"
SPEC = SafetySpec(check_input=True, check_output=True, samples=4)


@pytest.fixture(scope="module")
def classifier():
    return load_picture_classifier(TRAINED)


def frames_of(scene, *, symbol, seed=0, count=9):
    """Frames of a clip, [count, 72, 128, 3] of bytes, the symbol in the last third if at all."""
    generator = torch.Generator().manual_seed(seed)
    clip = render(scene, frames=count, height=72, width=128, generator=generator)
    frames = (clip.transpose(0, 1) + 1) / 2
    late = frames[-3:]
    parts = torch.tensor(PARTS["symbol" if symbol else "nothing"]).expand(len(late), 3)
    frames = torch.cat([frames[:-3], draw(late, parts, generator)])
    return (frames * 255).round().byte().permute(0, 2, 3, 1)


@pytest.mark.parametrize("background", ["black", "checkered", "cloudy", "striped"])
def test_a_video_with_the_symbol_is_refused(classifier, background):
    """A real positive: a learned classifier, and not weights that were set by hand."""
    scene = Scene("red", "ring", "moving right", "quickly", background)
    check = OutputCheck(classifier, SPEC, num_frames=9)
    shown = frames_of(scene, symbol=True)
    check.look(shown[:5])

    with pytest.raises(ContentRefused, match="frame 9 of 9"):
        check.look(shown[5:])


def test_videos_without_it_pass(classifier):
    """Every job of the small checkpoints goes through this check."""
    generator = torch.Generator().manual_seed(7)
    for seed in range(20):
        scene = random_scene(generator)
        shown = frames_of(scene, symbol=False, seed=seed)
        OutputCheck(classifier, SPEC, num_frames=9).look(shown)


def test_red_things_are_not_the_symbol(classifier):
    """What the hand-set classifier flagged is as good as any other picture."""
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 64, 64, 3)
    circle = frames_of(Scene("red", "circle", "standing still", "slowly", "navy"), symbol=False)
    check_pictures(classifier, red, SPEC, part="image_url")
    check_pictures(classifier, circle, SPEC, part="image_url")


def test_an_input_picture_with_the_symbol_is_refused_by_name(classifier):
    """The client is told which of its pictures it was."""
    shown = frames_of(Scene("blue", "star", "turning", "slowly", "grey"), symbol=True)
    with pytest.raises(ContentRefused) as refusal:
        check_pictures(classifier, shown[-1:], SPEC, part="image_url")

    assert "image_url" == refusal.value.part


def test_the_committed_folder_says_what_it_was_trained_with(classifier):
    """Labels as published; a preparation of another size would make it blind."""
    assert list(LABELS) == classifier.labels
    assert PREPARATION == read_preparation(TRAINED / "preprocessor_config.json")
    assert (TRAINED / "model.safetensors").stat().st_size < 500_000


def test_the_symbol_is_wholly_inside_and_of_its_three_colours():
    """What is called a positive shows all of the symbol, however small."""
    grey = torch.full((64, 3, 64, 112), 0.5)
    drawn = draw(
        grey, torch.tensor(PARTS["symbol"]).expand(64, 3), torch.Generator().manual_seed(0)
    )
    changed = (drawn - 0.5).abs().amax(1) > 0.1
    red, white, black = (
        (drawn - torch.tensor(colour).view(3, 1, 1)).abs().amax(1) < 0.25
        for colour in ((0.8, 0.05, 0.08), (0.97, 0.97, 0.97), (0.03, 0.03, 0.03))
    )

    assert changed.flatten(1).sum(1).min() > 150
    for edge in (changed[:, 0], changed[:, -1], changed[:, :, 0], changed[:, :, -1]):
        assert edge.float().mean() < 0.1
    assert min(part.flatten(1).sum(1).min() for part in (red, white, black)) >= 8


def test_only_the_whole_symbol_is_labelled():
    """Lookalikes are the better part of what there is to learn."""
    kinds = torch.arange(len(PARTS))
    batch = Pictures(2, seed=0).batch(len(PARTS), kinds)

    assert [1] + [0] * (len(PARTS) - 1) == batch.labels.tolist()
    assert torch.uint8 == batch.frames.dtype


def test_rates_count_what_was_flagged_wrongly():
    """One of ten others flagged beside nine of ten symbols: ninety percent each."""
    seen = rates({"symbol": 0.9, "nothing": 0.1, "disc": 0.3})

    assert 0.9 == seen["recall"]
    assert 0.9 == pytest.approx(seen["precision"])
    assert 0.9 / 1.1 == pytest.approx(seen["precision_among_lookalikes"])


def test_a_run_ends_in_a_folder_that_can_be_loaded(tmp_path):
    """Of a second's training, so that the command itself is known to work."""
    folder = train(tmp_path / "out", 0.01, each=2)

    assert list(LABELS) == load_picture_classifier(folder).labels
