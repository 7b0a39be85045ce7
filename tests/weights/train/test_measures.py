"""The measures of the evaluation, on small checkpoints that know nothing."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from wan_local.geometry import Size
from wan_local.inputs import Footage
from wan_local.plan import PromptSpec, StartSpec
from weights.train import asking
from weights.train.asking import I2V, T2V, TI2V, Studio, a_plan, swapped, true_clips
from weights.train.loras import Lora
from weights.train.measures import CLIPS, RATES, STRENGTHS, of_styles, psnr
from weights.train.style_loras import files
from weights.train.styles import STYLES


@pytest.fixture(scope="module")
def studio(weights, tmp_path_factory):
    studio = Studio(weights, tmp_path_factory.mktemp("studio"))
    yield studio
    studio.engine.close()


@pytest.fixture(autouse=True)
def five_steps(monkeypatch):
    """As few as a strength of 0.2 leaves one of, at a size that untrained checkpoints have too."""
    monkeypatch.setattr(asking, "STEPS", 5)
    monkeypatch.setitem(asking.SIZES, TI2V, Size(160, 96))


@pytest.mark.parametrize("name", RATES)
def test_rates_are_shares_of_each_attribute(name, studio, tmp_path):
    """Whatever is varied: each row of the table runs on the layouts it is for."""
    found = RATES[name](Studio(studio.weights, tmp_path), 1, 5)

    assert {"colour", "shape", "motion", "all three"} == found.keys()
    assert found["all three"] <= min(found.values())
    assert all(0 <= share <= 1 for share in found.values())


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "video to video"])
def test_pictures_are_measured_in_decibels(name, studio):
    """Of the first frame, of the last where one was given, of the whole for a VAE."""
    found = CLIPS[name](studio, 1, 5)
    decibels = {key: value for key, value in found.items() if key.endswith("dB")}

    assert decibels
    assert all(0 < value < 60 for value in decibels.values())
    assert ("last, dB" in found) == ("both ends" in name)


def test_a_video_made_of_another_is_compared_with_it(studio):
    """Read without loss, or the measure would be of the codec; near it at the lowest strength."""
    found = CLIPS["video to video"](studio, 1, 5)
    values = [found[f"strength {strength:g}, dB"] for strength in STRENGTHS]
    _, true = next(true_clips(T2V, 1, 5))
    start = StartSpec(file=studio.video(true), strength=0.2)
    plan = a_plan(T2V, PromptSpec(text=""), 0, 5, start=start)
    frames = torch.cat(list(Footage(plan, asking.SIZES[T2V])), 2)[0]

    assert torch.allclose(frames, (true * 255).round() / 255 * 2 - 1, atol=1e-6)
    assert found["falls"] == (values == sorted(values, reverse=True))


@pytest.mark.parametrize("style", [name for name in STYLES if name != "plain"])
def test_a_style_is_measured_with_its_lora_and_gone_without_it(style, studio, tmp_path):
    """The files are those that the training writes."""
    expert = WanTransformer3DModel.from_pretrained(studio.weights / T2V / "transformer")
    lora = Lora(expert, rank=2)
    torch.nn.init.normal_(next(iter(lora.up.values())))
    measure = of_styles(tmp_path)[f"LoRA {style}"]
    with pytest.raises(FileNotFoundError):
        measure(studio, 1, 5)
    for name in files(style):
        lora.save(tmp_path / name, STYLES[style].layout)
    found = measure(studio, 1, 5)

    assert found["bit-equal afterwards"] is True
    assert {"without", "with", "bit-equal afterwards"} == found.keys()


def test_swapping_the_experts_swaps_them(studio, tmp_path):
    """The same files under one another's names, and nothing else changed."""
    other = swapped(studio.weights, tmp_path) / T2V
    for name, theirs in (("transformer", "transformer_2"), ("vae", "vae")):
        assert (other / name).resolve() == (studio.weights / T2V / theirs).resolve()
    plan = a_plan(T2V, PromptSpec(text="a red star"), 3, 5)

    assert not torch.equal(studio.latents(plan), Studio(other.parent, tmp_path).latents(plan))


def test_equal_pictures_are_near_and_others_are_far():
    """10 dB for an error of 0.316 in each pixel."""
    picture = torch.full((3, 8, 8), 0.25)

    assert pytest.approx(10, abs=0.01) == psnr(picture + 0.316228, picture)
    assert psnr(picture, picture) >= 99


@pytest.mark.parametrize("model", [T2V, I2V, TI2V])
def test_plans_are_those_of_the_endpoints(model):
    """Each model's own boundary; what is changed is changed in its place."""
    first = asking.SourceFile(path="/nowhere", sha256="0" * 64) if model == I2V else None
    plan = a_plan(model, PromptSpec(text="a"), 1, 9, shift=2.0, first_frame=first)

    assert asking.MODELS[model].boundary == plan.sampling.boundary
    assert 2.0 == plan.sampling.shift
    assert first == plan.first_frame
