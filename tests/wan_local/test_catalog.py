"""The table of checkpoints."""

from __future__ import annotations

import pytest

from wan_local.catalog import MODELS, model_spec
from wan_local.errors import UnknownModel


def test_a_model_is_found_under_its_own_id():
    """The id is also the folder's name: a row under another key would never be found on disk."""
    assert MODELS == {spec.id: spec for spec in MODELS.values()}


def test_the_boundary_is_wans_own():
    """At 0.9, the image model's boundary, the wrong expert would take some of the steps."""
    assert 0.875 == model_spec("wan2.2-t2v-a14b").boundary


def test_an_unknown_model_is_answered_with_the_known_ones():
    """A typing error is mended without looking anything up."""
    with pytest.raises(UnknownModel, match=r"unknown model 'wan9'; known: .*wan2\.2-t2v-a14b"):
        model_spec("wan9")


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_model_can_be_fetched_and_judged(spec):
    """Where it comes from, what it may be used for and how long it takes."""
    assert spec.repo in spec.fetch_command
    assert spec.license
    assert spec.download_gb > 0
