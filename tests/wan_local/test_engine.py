"""A plan's whole journey on the CPU, and every way in which it can be cut short."""

from __future__ import annotations

import gc
import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from tests.wan_local.plans import I2V, T2V, a_plan
from tests.watching import children
from wan_local.engine import Stopwatch, open_engine
from wan_local.errors import (
    BadCheckpoint,
    EncodingFailed,
    InvalidPlan,
    UnknownModel,
    WanLocalError,
    WeightsMissing,
)
from wan_local.events import (
    ComponentLoaded,
    Finished,
    FramesWritten,
    Noted,
    Previewed,
    Stage,
    StageStarted,
    StepDone,
    Warned,
)
from wan_local.geometry import Size
from wan_local.plan import LoraRef, PromptSpec
from wan_local.video.probe import probe

CPU = torch.device("cpu")


@pytest.fixture
def fresh(weights):
    """An engine that has loaded nothing yet."""
    engine = open_engine(weights, "cpu")
    yield engine
    engine.close()


def of_kind(kind, events):
    return [event for event in events if isinstance(event, kind)]


def stages(events):
    return [event.stage for event in of_kind(StageStarted, events)]


def test_the_first_plan_visits_every_stage_once_and_in_order(fresh, tmp_path):
    """Clients see one story: load, prompt, denoise, decode, done."""
    events = list(fresh.run(a_plan(), tmp_path / "a.mp4"))

    assert [Stage.LOAD, Stage.PROMPT, Stage.DENOISE, Stage.DECODE] == stages(events)
    assert [StepDone(i, 4) for i in (1, 2, 3, 4)] == of_kind(StepDone, events)
    assert [1, 5, 9] == sorted({event.done for event in of_kind(FramesWritten, events)})
    assert {9} == {event.total for event in of_kind(FramesWritten, events)}
    assert isinstance(events[-1], Finished)


def test_a_cancel_is_heard_while_the_model_is_loading(fresh, tmp_path):
    """70 GB take a minute; nobody should wait for the second expert of a video they gave up."""
    run = fresh.run(a_plan(), tmp_path / "a.mp4")
    told = [next(run), next(run), next(run)]
    run.close()
    rest = list(fresh.run(a_plan(), tmp_path / "b.mp4"))

    assert [("text_encoder", 1, 4), ("transformer", 2, 4)] == [
        (event.component, event.number, event.total) for event in of_kind(ComponentLoaded, told)
    ]
    assert ["transformer_2", "vae"] == [event.component for event in of_kind(ComponentLoaded, rest)]


def test_the_second_plan_loads_nothing(fresh, tmp_path):
    """Weights stay; that is what a server is for."""
    list(fresh.run(a_plan(), tmp_path / "a.mp4"))
    events = list(fresh.run(a_plan(seed=8), tmp_path / "b.mp4"))

    assert Stage.LOAD not in [event.stage for event in of_kind(StageStarted, events)]


def test_the_video_is_what_the_plan_says(engine, tmp_path):
    """The answer's size, length and speed are read from this event and this file."""
    *_, finished = engine.run(a_plan(fps=24), tmp_path / "a.mp4")
    info = probe(tmp_path / "a.mp4")

    assert (str(tmp_path / "a.mp4"), 7, "a cat baking a cake") == (
        finished.path,
        finished.seed,
        finished.prompt,
    )
    assert (Size(64, 48), 9, 24) == (finished.size, finished.num_frames, finished.fps)
    assert (Size(64, 48), 9, 24) == (info.size, info.num_frames, info.fps)
    assert {"prompt", "denoise", "decode"} == finished.timings.keys() - {"load"}
    assert all(seconds >= 0 for seconds in finished.timings.values())


def test_the_video_shows_what_diffusers_would_show(engine, oracle, tmp_path):
    """From the plan to the decoded MP4, end to end, against WanPipeline's frames."""
    plan = a_plan(size=Size(96, 64))
    list(engine.run(plan, tmp_path / "a.mp4"))
    theirs = oracle(plan, "np")[0] * 255

    with av.open(str(tmp_path / "a.mp4")) as container:
        ours = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    # Brightness only: random weights make colours flicker by the pixel, which 4:2:0 halves.
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert theirs.shape == ours.shape
    assert np.corrcoef((theirs @ luma).ravel(), (ours @ luma).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("num_frames", [1, 17, 80])
def test_the_client_gets_as_many_frames_as_it_asked_for(engine, tmp_path, num_frames):
    """Counts off the grid of 4k+1 are rounded up and cut, never down."""
    plan = a_plan(num_frames=num_frames, size=Size(32, 32), steps=2)
    *_, finished = engine.run(plan, tmp_path / "a.mp4")

    assert num_frames == finished.num_frames == probe(tmp_path / "a.mp4").num_frames


def test_a_full_size_plan_is_generated_small_and_says_so(engine, tmp_path):
    """A test checkpoint must never pass for Wan 2.2."""
    plan = a_plan(size=Size(832, 480), steps=1, num_frames=1)
    events = list(engine.run(plan, tmp_path / "a.mp4"))

    assert [
        "wan2.2-t2v-a14b-mini (random weights) is a small test checkpoint: "
        "832×480 is generated at 112×64"
    ] == [event.message for event in of_kind(Warned, events)]
    assert Size(112, 64) == events[-1].size == probe(tmp_path / "a.mp4").size


def test_what_is_not_done_is_said_in_the_log(engine, tmp_path):
    """The client that asked for it must be able to find out."""
    plan = a_plan(
        steps=1,
        prompt=PromptSpec(text="cat " * 600, negative="dog " * 600),
    )
    said = " ".join(e.message for e in of_kind(Warned, engine.run(plan, tmp_path / "a.mp4")))

    assert "a small test checkpoint, not Wan 2.2" in said
    assert "the prompt has" in said
    assert "the negative prompt has" in said
    assert "tokens and the model reads 512" in said


def test_the_negative_prompt_is_encoded_once_and_only_if_it_counts(fresh, tmp_path):
    """On a full card, every encoding moves an 11 GB encoder in and an expert out."""
    encoded = []
    list(fresh.run(a_plan(guidance_high=1, guidance_low=1), tmp_path / "a.mp4"))
    with fresh._models.hold(f"{T2V}/text_encoder") as encoder:
        encoder.register_forward_pre_hook(lambda *_: encoded.append(1))

    list(fresh.run(a_plan(guidance_high=1, guidance_low=1), tmp_path / "a.mp4"))
    assert 0 == len(encoded)  # the prompt is known, the negative one is not asked for
    list(fresh.run(a_plan(), tmp_path / "a.mp4"))
    assert 1 == len(encoded)
    other = PromptSpec(text="a dog", negative=a_plan().prompt.negative)
    list(fresh.run(a_plan(prompt=other), tmp_path / "a.mp4"))
    assert 2 == len(encoded)


def test_the_same_plan_makes_the_same_file(engine, fresh, tmp_path):
    """Warm or cold, first or retried: a seed is a promise."""
    for name, one in (("warm", engine), ("cold", fresh), ("again", fresh)):
        list(one.run(a_plan(), tmp_path / name))
    list(fresh.run(a_plan(seed=8), tmp_path / "other"))

    assert (tmp_path / "warm").read_bytes() == (tmp_path / "cold").read_bytes()
    assert (tmp_path / "warm").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "warm").read_bytes() != (tmp_path / "other").read_bytes()


def test_previews_change_nothing_but_the_events(engine, tmp_path):
    """Somebody who looks must get the video that somebody who does not look gets."""
    list(engine.run(a_plan(), tmp_path / "unseen"))
    events = list(engine.run(a_plan(preview_every=2), tmp_path / "seen"))
    steps = [(type(event), event.step) for event in of_kind(StepDone | Previewed, events)]

    assert [
        (StepDone, 1),
        (StepDone, 2),
        (Previewed, 2),
        (StepDone, 3),
        (StepDone, 4),
        (Previewed, 4),
    ] == steps
    assert (tmp_path / "unseen").read_bytes() == (tmp_path / "seen").read_bytes()


def test_a_broken_preview_decoder_costs_no_video(weights, tmp_path):
    """Its file was fetched to look at videos, not to lose them."""
    (tmp_path / "weights" / "previews").mkdir(parents=True)
    (tmp_path / "weights" / T2V).symlink_to(weights / T2V)
    (tmp_path / "weights" / "previews" / "taew2_1.safetensors").write_bytes(b"<html>")
    engine = open_engine(tmp_path / "weights", "cpu")
    events = list(engine.run(a_plan(preview_every=4), tmp_path / "a.mp4"))
    engine.close()

    assert any("taew2_1.safetensors cannot" in event.message for event in of_kind(Warned, events))
    assert 1 == len(of_kind(Previewed, events))
    assert (tmp_path / "a.mp4").exists()


def test_closing_at_any_event_frees_everything_and_changes_nothing(engine, tmp_path):
    """A cancel may come at any step, in decoding and in encoding, and the next job is innocent."""
    plan = a_plan(size=Size(32, 32))
    events = list(engine.run(plan, tmp_path / "reference"))
    reference = (tmp_path / "reference").read_bytes()
    (tmp_path / "reference").unlink()
    assert len(of_kind(StepDone, events)) == 4
    assert len(of_kind(FramesWritten, events)) >= 3

    for stop in range(1, len(events) - 1):
        run = engine.run(a_plan(size=Size(32, 32), seed=stop), tmp_path / "cancelled")
        for _ in range(stop):
            next(run)
        run.close()

        assert frozenset() == engine.held, f"after event {stop}"
        assert [] == list(tmp_path.iterdir()), f"after event {stop}"
        assert [] == children(), f"after event {stop}"
        assert not torch.is_inference_mode_enabled()

        list(engine.run(plan, tmp_path / "next"))
        assert reference == (tmp_path / "next").read_bytes(), f"after event {stop}"
        (tmp_path / "next").unlink()


def test_closing_before_the_first_event_is_nothing(engine, tmp_path):
    """A job cancelled on its way to the GPU."""
    engine.run(a_plan(), tmp_path / "a.mp4").close()

    assert frozenset() == engine.held
    assert [] == list(tmp_path.iterdir())


def test_a_dropped_generator_is_a_closed_one(engine, tmp_path):
    """A caller that crashed does not close politely."""
    run = engine.run(a_plan(), tmp_path / "a.mp4")
    while not isinstance(next(run), FramesWritten):
        pass
    del run
    gc.collect()

    assert frozenset() == engine.held
    assert [] == list(tmp_path.iterdir())
    assert [] == children()


def test_the_callers_mode_is_its_own_between_events(engine, tmp_path):
    """A generator that leaked inference mode would make the caller's tensors read-only."""
    modes = {torch.is_inference_mode_enabled() for _ in engine.run(a_plan(), tmp_path / "a.mp4")}

    assert {False} == modes


def test_an_error_in_the_middle_frees_everything_too(engine, tmp_path):
    """A folder that vanished while the GPU worked."""
    with pytest.raises(EncodingFailed, match="No such file"):
        list(engine.run(a_plan(), tmp_path / "gone" / "a.mp4"))

    assert frozenset() == engine.held
    assert [] == children()
    assert list(engine.run(a_plan(), tmp_path / "a.mp4"))


def test_missing_weights_are_found_once_they_are_there(weights, tmp_path):
    """The operator fetches them while the server runs, and tries again."""
    engine = open_engine(tmp_path, "cpu")
    with pytest.raises(WeightsMissing, match="hf download"):
        list(engine.run(a_plan(), tmp_path / "a.mp4"))

    shutil.copytree(weights / T2V, tmp_path / T2V)
    assert list(engine.run(a_plan(), tmp_path / "a.mp4"))
    engine.close()


def test_a_plan_of_an_unknown_model_is_refused(engine, tmp_path):
    """A newer server's plan on an older engine."""
    with pytest.raises(UnknownModel):
        list(engine.run(a_plan(model="wan9"), tmp_path / "a.mp4"))


def test_a_broken_checkpoint_is_a_sentence_about_its_file(weights, tmp_path):
    """And not a stack of library frames."""
    shutil.copytree(weights / T2V, tmp_path / T2V)
    config = tmp_path / T2V / "transformer_2" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 3}))
    engine = open_engine(tmp_path, "cpu")

    with pytest.raises(BadCheckpoint, match="transformer_2: 27 missing keys"):
        list(engine.run(a_plan(), tmp_path / "a.mp4"))


def test_a_plan_that_its_model_cannot_carry_out_is_refused(engine, tmp_path):
    """Before a weight is loaded."""
    with pytest.raises(InvalidPlan, match="needs a picture to begin with"):
        next(engine.run(a_plan(model=I2V, boundary=0.9), tmp_path / "a.mp4"))


def test_closing_the_engine_forgets_the_weights(fresh, tmp_path):
    """And it can be used again; it only has to load again."""
    list(fresh.run(a_plan(), tmp_path / "a.mp4"))
    fresh.close()
    events = list(fresh.run(a_plan(), tmp_path / "b.mp4"))

    assert Stage.LOAD == of_kind(StageStarted, events)[0].stage
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_opening_an_engine_loads_nothing(tmp_path):
    """A slot says hello at once and fails its first job with a reason, not its start."""
    assert "cpu" == open_engine(tmp_path / "nothing here", "cpu").device_name


def test_a_device_that_is_not_here_is_refused_at_once(weights):
    """Not after the first job has waited for it."""
    with pytest.raises(WanLocalError, match="cuda:99"):
        open_engine(weights, "cuda:99")


def test_a_stopwatch_tells_stages_apart():
    """Timings are shown to clients by stage."""
    clock = Stopwatch(CPU)
    clock.start(Stage.PROMPT)
    clock.start(Stage.DENOISE)

    assert ["prompt", "denoise"] == list(clock.stop())
    assert Stage.DENOISE == clock.stage


def test_loras_change_the_video_of_their_plan_and_of_no_other(weights, our_latents):
    """What one client brings must not be seen in the next one's video."""
    plan = a_plan(solver="euler", guidance_high=1, guidance_low=1)
    turbo = LoraRef(name="wan2.2-t2v-a14b-4step", target="both")

    before = our_latents(plan)
    changed = our_latents(replace(plan, loras=(turbo,)))
    after = our_latents(plan)

    assert torch.equal(before, after)
    assert (before - changed).abs().max() > 1e-3


def test_what_was_read_of_a_lora_is_in_the_log(engine, tmp_path):
    """A LoRA that did nothing is otherwise found out about by looking at videos."""
    turbo = LoraRef(name="wan2.2-t2v-a14b-4step", target="both")
    events = list(engine.run(a_plan(loras=(turbo,)), tmp_path / "a.mp4"))

    said = [event.message for event in of_kind(Noted, events)]
    assert 2 == sum("60 of 60 keys change 20 weights; rank 4; sha256" in line for line in said)
    assert said[-1].endswith("applied to the low-noise expert only, scale 1")


def test_a_plan_that_is_dropped_in_the_middle_leaves_no_lora(weights, our_latents):
    """A cancel may come between any two steps."""
    plan = a_plan(steps=4)
    turbo = LoraRef(name="wan2.2-t2v-a14b-4step", target="both")
    engine = open_engine(weights, "cpu")
    before = final(engine.sample(plan, Stopwatch(CPU)))

    journey = engine.sample(replace(plan, loras=(turbo,)), Stopwatch(CPU))
    while not isinstance(next(journey), StepDone):
        pass
    journey.close()

    assert torch.equal(before, final(engine.sample(plan, Stopwatch(CPU))))


def final(journey):
    """Return what a generator returns."""
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value
