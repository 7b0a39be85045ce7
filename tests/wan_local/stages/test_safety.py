"""What is flagged is refused, in the words of the one who has to know."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.small_companions import write_text_classifier
from wan_local.errors import BadCheckpoint, ContentRefused, WeightsMissing
from wan_local.models.classifiers import load_picture_classifier, load_text_classifier
from wan_local.plan import SafetySpec
from wan_local.stages.safety import (
    OutputCheck,
    check_pictures,
    check_text,
    check_words,
    read_words,
    sampled_frames,
    word_pattern,
)
from weights.build_small_safety import build

RED = (255, 0, 0)
GREEN = (0, 255, 0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return load_picture_classifier(build(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return load_text_classifier(write_text_classifier(tmp_path_factory.mktemp("texts")))


def frames(*colours):
    return torch.stack([torch.tensor(c, dtype=torch.uint8).expand(48, 64, 3) for c in colours])


def looked_at(classifier, colours, *, chunks=4, num_frames=None, **spec):
    check = OutputCheck(classifier, SafetySpec(**spec), num_frames=num_frames or len(colours))
    for start in range(0, len(colours), chunks):
        check.look(frames(*colours[start : start + chunks]))


def test_a_clean_video_passes(classifier):
    """Nobody should notice that it was looked at."""
    seen = []
    hook = classifier.register_forward_hook(lambda *_: seen.append(1))
    try:
        looked_at(classifier, [GREEN] * 17)
    finally:
        hook.remove()

    assert seen


@pytest.mark.parametrize("flagged", [0, 8, 16])
def test_one_sampled_frame_is_enough(classifier, flagged):
    """Max-pooled: the first, the last, or one in the middle; the message says which."""
    colours = [GREEN] * 17
    colours[flagged] = RED

    with pytest.raises(ContentRefused) as refused:
        looked_at(classifier, colours, samples=3)
    assert "The output was flagged by the content checker: nsfw 1.00, above 0.5 in " in str(
        refused.value
    )
    assert f"frame {flagged + 1} of 17" in str(refused.value)
    assert "" == refused.value.part


def test_frames_between_the_samples_are_not_looked_at(classifier):
    """81 frames at 720p would cost more than they tell; the operator sets how many do."""
    colours = [GREEN] * 17
    colours[3] = RED
    looked_at(classifier, colours, samples=3)

    with pytest.raises(ContentRefused, match="frame 4 of 17"):
        looked_at(classifier, colours, samples=17)


def test_it_is_refused_while_it_streams(classifier):
    """Not after the whole video has been decoded."""
    check = OutputCheck(classifier, SafetySpec(), num_frames=81)

    with pytest.raises(ContentRefused):
        check.look(frames(RED))


def test_a_stream_longer_than_announced_is_looked_at_to_its_end(classifier):
    """Interpolation makes more frames than there were latents."""
    colours = [GREEN] * 16 + [RED] * 16

    with pytest.raises(ContentRefused):
        looked_at(classifier, colours, num_frames=16)


def test_an_image_is_called_one(classifier):
    """`frame 1 of 1` is a riddle."""
    with pytest.raises(ContentRefused, match="in the image"):
        looked_at(classifier, [RED])


def test_the_threshold_is_the_operators(classifier):
    """A studio may be stricter, or looser."""
    orange = (255, 128, 0)  # about 0.7 to the small classifier
    looked_at(classifier, [orange], threshold=0.9)

    with pytest.raises(ContentRefused, match=r"above 0\.5"):
        looked_at(classifier, [orange])


def test_a_flagged_picture_is_refused_by_its_name(classifier):
    """The client is pointed at the field."""
    check_pictures(classifier, frames(GREEN, GREEN), SafetySpec(), part="start")

    with pytest.raises(ContentRefused, match="The input was flagged") as refused:
        check_pictures(classifier, frames(GREEN, RED), SafetySpec(), part="last_frame")
    assert "last_frame" == refused.value.part


def test_a_classifier_without_the_label_is_not_taken_for_a_clean_bill(classifier):
    """Columns that are not there would be an empty maximum, or worse, zero."""
    with pytest.raises(BadCheckpoint, match="tells normal, nsfw apart, and is asked for gore"):
        looked_at(classifier, [GREEN], labels=("gore",))


def test_a_flagged_text_is_refused(reader):
    """Behind the same seam as pictures."""
    check_text(reader, "a cat bakes the cake", SafetySpec())

    with pytest.raises(ContentRefused, match="The prompt was flagged") as refused:
        check_text(reader, "a forbidden cat", SafetySpec())
    assert "prompt" == refused.value.part


@pytest.mark.parametrize(
    ("num_frames", "samples", "chosen"),
    [(81, 8, {0, 11, 23, 34, 46, 57, 69, 80}), (3, 8, {0, 1, 2}), (1, 8, {0}), (17, 1, {8}),
     (17, 2, {0, 16})],
)  # fmt: skip
def test_samples_are_spread_over_the_whole_video(num_frames, samples, chosen):
    """The ends among them: that is where things begin and arrive."""
    assert chosen == sampled_frames(num_frames, samples)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("gun", "A Gun, on a table"),
        ("gun", "a ｇｕｎ"),  # noqa: RUF001 - full width
        ("Straße", "eine STRASSE"),
        ("blood bath", "a Blood \n bath"),
        ("枪", "一把枪在桌上"),
        ("c++", "in c++ it is"),
    ],
)
def test_a_word_is_found_in_its_disguises(phrase, text):
    """Case, width and white space are no way around the list."""
    with pytest.raises(ContentRefused, match="is on this server's list") as refused:
        check_words(word_pattern([phrase]), text)
    assert "prompt" == refused.value.part


@pytest.mark.parametrize(
    ("phrase", "text"), [("ass", "grass and class"), ("gun", "a Gunnera"), ("blood bath", "bath")]
)
def test_a_word_inside_another_is_not_that_word(phrase, text):
    """Or half of Scunthorpe's prompts are refused."""
    check_words(word_pattern([phrase]), text)


def test_a_list_is_a_word_a_line(tmp_path):
    """With remarks, and lines that are empty."""
    path = tmp_path / "words.txt"
    path.write_text("# ours\n\ngun  # and rifles?\n rifle \n")
    words = read_words(path)

    check_words(words, "and rifles? ours # a")
    with pytest.raises(ContentRefused, match="'rifle'"):
        check_words(words, "a rifle")


def test_an_empty_list_refuses_nothing(tmp_path):
    """Its pattern must not match everything instead."""
    path = tmp_path / "words.txt"
    path.write_text("# nothing yet\n")

    check_words(read_words(path), "anything")


def test_a_list_that_is_not_there_is_a_sentence(tmp_path):
    """And no check that finds nothing."""
    with pytest.raises(WeightsMissing, match="setting safety_words"):
        read_words(tmp_path / "none.txt")
