"""Checks before and after, and the prompt written out in between, on a real residency."""

from __future__ import annotations

import av
import pytest
import torch
from PIL import Image

from tests.wan_local.plans import a_plan
from tests.wan_local.small_companions import write_language_model, write_text_classifier
from wan_local.errors import BadCheckpoint, ContentRefused, InvalidPlan, WeightsMissing
from wan_local.events import Stage, StageStarted, TokensWritten, Warned
from wan_local.models.residency import Residency
from wan_local.plan import (
    InterpolationSpec,
    PictureSpec,
    PromptSpec,
    SafetySpec,
    SourceFile,
    StartSpec,
)
from wan_local.stages.expand import ExpansionCache
from wan_local.vetting import input_frames, is_companion, load_companion, output_check, vetted
from weights.build_small_safety import build

CPU = torch.device("cpu")


def a_picture(folder, colour):
    path = folder / f"{colour}.png"
    Image.new("RGB", (64, 48), colour).save(path)
    return SourceFile(path=str(path), sha256="0" * 64)


def a_video(folder, *, frames, red_from):
    path = folder / f"red-from-{red_from}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16, options={"crf": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for index in range(frames):
            colour = "red" if index >= red_from else "green"
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), colour))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return SourceFile(path=str(path), sha256="0" * 64)


@pytest.fixture
def models():
    return Residency(lambda name: load_companion(name, torch.float32), CPU)


@pytest.fixture
def journey(models):
    """Return a function that vets a plan: its events, and the plan that comes out."""
    cache = ExpansionCache()

    def carry_out(**changes):
        steps, events = vetted(a_plan(**changes), models, cache, StageStarted), []
        while True:
            try:
                events.append(next(steps))
            except StopIteration as end:
                return events, end.value

    return carry_out


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("gun\n")
    return str(path)


def expanding(tmp_path, says, text="a cat"):
    folder = write_language_model(tmp_path / "language", says)
    return PromptSpec(text=text, expand=True, expander=str(folder))


def test_a_plan_that_asks_for_nothing_passes_unchanged(journey):
    """Most do, and none should pay for the others."""
    assert ([], a_plan()) == journey()


def test_what_the_server_knew_beforehand_is_said_first(journey):
    """It has no log of the job of its own to say it in."""
    events, _ = journey(remarks=("one", "two"))

    assert [Warned("one"), Warned("two")] == events


def test_a_word_of_the_list_refuses_the_prompt(journey, words):
    """Before anything is loaded: it costs no GPU time."""
    safety = SafetySpec(check_input=True, words=words)
    assert [StageStarted(Stage.CHECK)] == journey(safety=safety)[0]

    with pytest.raises(ContentRefused, match="'gun'"):
        journey(safety=safety, prompt=PromptSpec(text="a gun"))


def test_what_is_to_be_avoided_is_not_held_against_anyone(journey, words):
    """A negative prompt names the unwanted in order not to get it."""
    events, plan = journey(
        safety=SafetySpec(check_input=True, words=words),
        prompt=PromptSpec(text="a cat", negative="gun"),
    )

    assert [StageStarted(Stage.CHECK)] == events
    assert "gun" == plan.prompt.negative


def test_a_text_classifier_reads_the_prompt(journey, tmp_path, models):
    """Held like any component, and let go again."""
    folder = write_text_classifier(tmp_path / "text")
    safety = SafetySpec(check_input=True, text_classifier=str(folder))
    journey(safety=safety)

    with pytest.raises(ContentRefused, match="The prompt was flagged"):
        journey(safety=safety, prompt=PromptSpec(text="a forbidden cat"))
    assert frozenset() == models.held
    assert {f"text-classifier:{folder}"} == models.loaded


@pytest.mark.parametrize("safety", [SafetySpec(check_input=True), SafetySpec(check_output=True)])
def test_a_check_that_nobody_makes_is_refused(journey, safety):
    """It must not pass for one that found nothing."""
    with pytest.raises(InvalidPlan, match="is to be checked, and the plan names n"):
        journey(safety=safety)


def test_the_output_is_looked_at_with_the_plans_classifier(models, tmp_path):
    """Which is held for as long as frames come."""
    folder = build(tmp_path)
    plan = a_plan(safety=SafetySpec(check_output=True, classifier=str(folder)))
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 48, 64, 3)

    with output_check(plan, models) as check:
        assert {f"picture-classifier:{folder}"} == models.held
        with pytest.raises(ContentRefused):
            check.look(red)
    assert frozenset() == models.held


def test_pictures_are_checked_and_refused_by_their_name(journey, tmp_path):
    """The end picture as well as the first: the client is pointed at the right one."""
    safety = SafetySpec(check_input=True, classifier=str(build(tmp_path)))
    green = a_picture(tmp_path, "green")
    journey(safety=safety, first_frame=green)

    with pytest.raises(ContentRefused, match="The input was flagged") as refused:
        journey(safety=safety, first_frame=green, last_frame=a_picture(tmp_path, "red"))
    assert "last_frame" == refused.value.part


@pytest.mark.parametrize(("red_from", "refused"), [(99, False), (16, True), (0, True)])
def test_a_video_is_checked_over_the_frames_that_are_used(journey, tmp_path, red_from, refused):
    """One that turns red in its last frame too."""
    safety = SafetySpec(check_input=True, classifier=str(build(tmp_path)))
    start = StartSpec(file=a_video(tmp_path, frames=17, red_from=red_from), strength=0.9)
    if not refused:
        journey(safety=safety, start=start, num_frames=17)
        return

    with pytest.raises(ContentRefused) as caught:
        journey(safety=safety, start=start, num_frames=17)
    assert "start" == caught.value.part


def test_a_start_may_be_a_picture(journey, tmp_path):
    """Image to image."""
    safety = SafetySpec(check_input=True, classifier=str(build(tmp_path)))
    start = StartSpec(file=a_picture(tmp_path, "red"), strength=0.5)

    with pytest.raises(ContentRefused):
        journey(safety=safety, start=start, num_frames=1, picture=PictureSpec())


def test_a_short_video_is_checked_to_its_end(tmp_path):
    """Its last frame is none of those that an even spread over the plan would look at."""
    start = StartSpec(file=a_video(tmp_path, frames=10, red_from=9), strength=0.9)
    plan = a_plan(start=start, num_frames=81, safety=SafetySpec(samples=2))
    frames = input_frames(plan, start.file)

    assert 2 == len(frames)
    assert frames[-1, ..., 0].float().mean() > 200


def test_nobody_looks_where_it_was_not_asked_for(models):
    """Nor is a classifier loaded."""
    with output_check(a_plan(), models) as check:
        assert check is None
    assert frozenset() == models.loaded


def test_a_prompt_is_written_out(journey, tmp_path, models):
    """The client's words stay beside it."""
    events, plan = journey(prompt=expanding(tmp_path, "a red cat"))

    assert ("a red cat", "a cat") == (plan.prompt.text, plan.prompt.written)
    assert [StageStarted(Stage.EXPAND), *(TokensWritten(n, 512) for n in (1, 2, 3))] == events
    assert frozenset() == models.held


def test_a_known_expansion_is_not_written_again(journey, tmp_path):
    """The next seed of the same prompt does not move an expert out for it."""
    prompt = expanding(tmp_path, "a red cat")
    journey(prompt=prompt)
    events, plan = journey(prompt=prompt, seed=8)

    assert [StageStarted(Stage.EXPAND)] == events
    assert "a red cat" == plan.prompt.text


@pytest.mark.parametrize(
    ("says", "reason"), [("I cannot do that", "it refused to write one"), ("...", "empty")]
)
def test_a_bad_answer_leaves_the_clients_words(journey, tmp_path, says, reason):
    """And the log says why."""
    events, plan = journey(prompt=expanding(tmp_path, says if says != "..." else "<think></think>"))

    assert ("a cat", None) == (plan.prompt.text, plan.prompt.written)
    assert isinstance(events[-1], Warned)
    assert "the prompt was not expanded and is used as written" in events[-1].message
    assert reason in events[-1].message


def test_a_language_model_that_is_gone_leaves_the_clients_words(journey, tmp_path):
    """Its folder was there when the job was planned."""
    prompt = PromptSpec(text="a cat", expand=True, expander=str(tmp_path / "gone"))
    events, plan = journey(prompt=prompt)

    assert "a cat" == plan.prompt.text
    assert "hf download" in events[-1].message


def test_a_plan_without_a_language_model_says_so(journey):
    """A caller of the engine that asks for it and names none."""
    events, _ = journey(prompt=PromptSpec(text="a cat", expand=True))

    assert "the plan names no language model" in events[-1].message


def test_a_flagged_expansion_gives_way_to_the_clients_words(journey, tmp_path, words):
    """What a language model adds is not the client's doing."""
    safety = SafetySpec(check_input=True, words=words)
    events, plan = journey(safety=safety, prompt=expanding(tmp_path, "a cat with his gun"))

    assert ("a cat", None) == (plan.prompt.text, plan.prompt.written)
    assert (
        Warned(
            "the prompt was not expanded and is used as written: its expansion was flagged by the "
            "content checker"
        )
        == events[-1]
    )


def test_the_clients_own_words_are_checked_and_not_only_their_expansion(journey, words):
    """An expansion that leaves the word out is no way around the list."""
    with pytest.raises(ContentRefused):
        journey(
            safety=SafetySpec(check_input=True, words=words),
            prompt=PromptSpec(text="a harmless cat", written="a cat with a gun"),
        )


def test_new_frames_between_the_generated_ones_are_frames_of_the_video(models, weights):
    """Counted without them, twice as many were looked at as the operator wants, and `13 of 5`."""
    classifier = str(weights / "nsfw_image_detection")
    strict = SafetySpec(check_output=True, classifier=classifier, threshold=0.0, samples=1)
    between = InterpolationSpec(model="rife", frames_between=2)
    frame = torch.zeros(1, 48, 64, 3, dtype=torch.uint8)
    with output_check(a_plan(num_frames=5, safety=strict, interpolation=between), models) as check:
        for _ in range(6):
            check.look(frame)
        with pytest.raises(ContentRefused, match="in frame 7 of 13"):
            check.look(frame)


def test_companions_are_told_from_parts_of_a_checkpoint():
    """One residency holds both."""
    assert is_companion("language-model:/a/b")
    assert not is_companion("wan2.2-t2v-a14b/vae")


def test_a_companion_that_is_not_there_or_not_whole_is_a_sentence(tmp_path):
    """The operator reads it."""
    with pytest.raises(WeightsMissing):
        load_companion(f"picture-classifier:{tmp_path / 'none'}", torch.float32)
    with pytest.raises(BadCheckpoint):
        load_companion(f"text-classifier:{tmp_path}", torch.float32)
