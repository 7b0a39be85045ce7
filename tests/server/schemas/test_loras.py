"""LoRAs as a request names them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.schemas.loras import MOST_LORAS, Adapted, LoRAWeight


def test_a_path_alone_goes_to_the_high_noise_expert():
    """Clients send pairs as two entries and leave `transformer` out of the first."""
    weight = LoRAWeight.model_validate({"path": "org/style", "weight_name": None, "scale": None})

    assert ("org/style", None, 1.0, "high") == (
        weight.path,
        weight.weight_name,
        weight.scale,
        weight.transformer,
    )


@pytest.mark.parametrize("expert", ["high", "low", "both"])
def test_an_expert_can_be_named(expert):
    """And an unknown one is refused, below."""
    assert expert == LoRAWeight(path="a", transformer=expert).transformer


@pytest.mark.parametrize(
    ("weight", "field"),
    [
        ({}, "path"),
        ({"path": ""}, "path"),
        ({"path": "a", "transformer": "all"}, "transformer"),
        ({"path": "a", "scale": "strong"}, "scale"),
        ({"path": "a", "scale": float("nan")}, "scale"),
        ("a", "loras"),
    ],
)
def test_a_bad_entry_is_pointed_at(weight, field):
    """The caller has several, and reads `loc` to find which one."""
    with pytest.raises(ValidationError) as caught:
        Adapted.model_validate({"loras": [{"path": "good"}, weight]})
    [error] = caught.value.errors()

    assert ("loras", 1) == error["loc"][:2]
    assert field in ("loras", error["loc"][-1])


def test_there_is_an_end_to_loras():
    """Each is a file to fetch and to keep."""
    many = [{"path": "a"}] * (MOST_LORAS + 1)
    with pytest.raises(ValidationError, match="at most 16"):
        Adapted.model_validate({"loras": many})

    assert MOST_LORAS == len(Adapted.model_validate({"loras": many[1:]}).loras)


@pytest.mark.parametrize("body", [{}, {"loras": None}, {"loras": []}])
def test_none_is_none(body):
    """`/lora` endpoints work without any, as the hosted ones do."""
    assert [] == Adapted.model_validate(body).loras
