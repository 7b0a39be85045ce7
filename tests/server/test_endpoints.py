"""The table of endpoints."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS, find_endpoint
from server.media.sources import provisional
from tests.server.schemas.page import PAGE, smallest
from wan_local.catalog import MODELS, model_for


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_every_row_can_plan_and_names_its_model(endpoint):
    """The model in the row decides which slot gets the job: it must be the plan's."""
    wire = endpoint.input.model_validate(smallest(endpoint.id))
    plan = endpoint.plan(wire, 7, provisional(endpoint.needs(wire)))

    assert endpoint.model == model_for(plan).id
    assert endpoint.model in MODELS
    assert 7 == plan.sampling.seed


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_row_says_what_it_makes_of_what(endpoint):
    """Pictures are answered as `image`, videos as `video`; lists sort by the category."""
    made = endpoint.category.split("-to-")[1]

    assert {made, "seed"} <= endpoint.output.model_fields.keys()
    assert endpoint.category.split("-to-")[0] in ("text", "image", "video")


@pytest.mark.parametrize("id", ENDPOINTS)
def test_ids_are_found_in_any_case(id):
    """Fal's own type files had a capital B for months; a row must be in lower case."""
    assert id == id.lower()
    assert ENDPOINTS[id] is find_endpoint(id) is find_endpoint(id.replace("a14b", "A14B"))


@pytest.mark.parametrize("id", ["", "fal-ai/wan", "fal-ai/flux/dev", "/fal-ai/wan/v2.2-a14b"])
def test_an_unknown_id_finds_nothing(id):
    """Nothing is guessed from a prefix."""
    assert find_endpoint(id) is None


def test_the_endpoints_are_those_of_the_page():
    """Their ids are in users' code."""
    assert list(PAGE) == list(ENDPOINTS)
    assert 15 == len(ENDPOINTS)
