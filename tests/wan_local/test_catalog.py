"""The table of checkpoints."""

from __future__ import annotations

import re

import pytest

from tests.wan_local.plans import FAST_WAN, I2V, PICTURE, T2V, TI2V, a_plan
from wan_local.catalog import LORAS, MODELS, PREVIEW_DECODERS, model_for, model_spec
from wan_local.errors import InvalidPlan, UnknownModel
from wan_local.geometry import Size
from wan_local.plan import StartSpec


def test_a_model_is_found_under_its_own_id():
    """The id is also the folder's name: a row under another key would never be found on disk."""
    assert MODELS == {spec.id: spec for spec in MODELS.values()}


def test_the_boundary_is_wans_own():
    """At 0.9, the image model's boundary, the wrong expert would take some of the steps."""
    assert 0.875 == model_spec(T2V).boundary
    assert 0.9 == model_spec(I2V).boundary
    assert None is model_spec(TI2V).boundary is model_spec(FAST_WAN).boundary


def test_an_unknown_model_is_answered_with_the_known_ones():
    """A typing error is mended without looking anything up."""
    with pytest.raises(UnknownModel, match=r"unknown model 'wan9'; known: .*wan2\.2-t2v-a14b"):
        model_spec("wan9")


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_model_can_be_fetched_and_judged(spec):
    """Where it comes from, what it may be used for and how long it takes."""
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", spec.repo)
    assert spec.license
    assert spec.download_gb is None or spec.download_gb > 0


@pytest.mark.parametrize("spec", LORAS.values(), ids=lambda spec: spec.id)
def test_every_pair_of_loras_can_be_fetched_and_judged(spec):
    """Two files, told apart by their names, of a repository with a licence."""
    assert spec is LORAS[spec.id]
    assert ("high", "low") == tuple(half for half in ("high", "low") if half in getattr(spec, half))
    assert "Apache-2.0" == spec.license


def test_every_models_preview_decoder_can_be_fetched():
    """One file for each kind of latents, put where the engine looks for it."""
    for channels in {spec.latent_channels for spec in MODELS.values()}:
        decoder = PREVIEW_DECODERS[channels]
        assert f"previews/{decoder.id}.safetensors" == decoder.file
        assert decoder.url.startswith("https://")
        assert decoder.url.endswith(f"/{decoder.id}.safetensors")


def test_each_kind_has_its_own_parts_and_channels():
    """A 5B checkpoint has one expert; an image model's experts see the picture and a mask."""
    both = ("text_encoder", "transformer", "transformer_2", "vae")

    assert (both, 16) == (model_spec(T2V).components, model_spec(T2V).input_channels)
    assert (both, 36) == (model_spec(I2V).components, model_spec(I2V).input_channels)
    for id in (TI2V, FAST_WAN):
        assert ("text_encoder", "transformer", "vae") == model_spec(id).components
        assert (48, 32) == (model_spec(id).input_channels, model_spec(id).grid)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": TI2V, "boundary": None, "size": Size(80, 48)}, "multiples of 32, got 80×48"),
        ({"model": TI2V, "size": Size(64, 64)}, "1 experts, and boundary 0.875"),
        ({"boundary": None}, "2 experts, and boundary None"),
        ({"first_frame": PICTURE}, "takes no picture to begin with"),
        ({"model": I2V}, "needs a picture to begin with"),
        (
            {
                "model": TI2V,
                "boundary": None,
                "size": Size(64, 64),
                "first_frame": PICTURE,
                "last_frame": PICTURE,
            },
            "takes no picture to end with",
        ),
        (
            {
                "model": I2V,
                "first_frame": PICTURE,
                "start": StartSpec(file=PICTURE, strength=0.5),
            },
            "not both",
        ),
    ],
)
def test_a_plan_that_a_model_can_never_carry_out_is_refused(changes, said):
    """Before a GPU is asked, with a sentence and not with a mismatch of shapes."""
    with pytest.raises(InvalidPlan, match=said):
        model_for(a_plan(**changes))


def test_a_plan_that_suits_its_model_is_given_its_row():
    """Words for one, words or a picture for another."""
    small = {"model": TI2V, "boundary": None, "size": Size(64, 64)}

    assert T2V == model_for(a_plan()).id
    assert I2V == model_for(a_plan(model=I2V, first_frame=PICTURE, last_frame=PICTURE)).id
    assert TI2V == model_for(a_plan(**small)).id
    assert TI2V == model_for(a_plan(**small, first_frame=PICTURE)).id
