"""The table of endpoints."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS, find_endpoint
from wan_local.catalog import MODELS


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_every_row_can_plan_and_names_its_model(endpoint):
    """The model in the row decides which slot gets the job: it must be the plan's."""
    plan = endpoint.plan(endpoint.input(prompt="a"), 7, {})

    assert endpoint.model == plan.model
    assert endpoint.model in MODELS
    assert 7 == plan.sampling.seed


@pytest.mark.parametrize("id", ENDPOINTS)
def test_ids_are_found_in_any_case(id):
    """Fal's own type files had a capital B for months; a row must be in lower case."""
    assert id == id.lower()
    assert ENDPOINTS[id] is find_endpoint(id) is find_endpoint(id.replace("a14b", "A14B"))


@pytest.mark.parametrize("id", ["", "fal-ai/wan", "fal-ai/flux/dev", "/fal-ai/wan/v2.2-a14b"])
def test_an_unknown_id_finds_nothing(id):
    """Nothing is guessed from a prefix."""
    assert find_endpoint(id) is None


def test_the_two_endpoints_are_there():
    """Their ids are in users' code."""
    base = "fal-ai/wan/v2.2-a14b/text-to-video"

    assert [base, f"{base}/turbo"] == list(ENDPOINTS)
