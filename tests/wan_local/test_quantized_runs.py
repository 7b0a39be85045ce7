"""Whole runs with experts of 8 bits, beside the same runs without."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tests.wan_local.plans import T2V, a_plan
from wan_local.engine import Stopwatch, open_engine
from wan_local.events import Noted
from wan_local.models.quantize import FORMATS, QuantizedLinear
from wan_local.plan import LoraRef, RecordSpec
from wan_local.video.comments import comment_of

CPU = torch.device("cpu")
LORAS = (LoraRef(name="wan2.2-t2v-a14b-4step", target="both"),)
PLANS = {
    "guided": {},
    "unguided": {"solver": "euler", "guidance_high": 1, "guidance_low": 1},
    "with a LoRA": {"solver": "euler", "guidance_high": 1, "guidance_low": 1, "loras": LORAS},
}
LARGEST = {"int8": 0.0026, "float8": 0.016}
"""Twice the largest measured: 1.3e-3 and 7.8e-3."""


@pytest.fixture(scope="module", params=FORMATS)
def quantization(request):
    return request.param


@pytest.fixture(scope="module")
def quantized(weights, quantization):
    """An engine whose experts are of 8 bits."""
    engine = open_engine(weights, "cpu", quantization)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def rounded(weights, quantized):
    """An engine without quantisation, whose linear weights are the other's, made whole."""
    engine = open_engine(weights, "cpu")
    for expert in ("transformer", "transformer_2"):
        name = f"{T2V}/{expert}"
        with quantized._models.hold(name) as theirs, engine._models.hold(name) as ours:
            make_whole(theirs, ours)
    yield engine
    engine.close()


def make_whole(theirs, ours):
    """Put the dequantised weights of one expert into another."""
    layers = {n: part for n, part in theirs.named_modules() if isinstance(part, QuantizedLinear)}
    assert layers
    for name, layer in layers.items():
        ours.get_submodule(name).weight.data = layer.dequantized(torch.float32)


def latents(engine, plan):
    journey = engine.sample(plan, Stopwatch(CPU))
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
def test_a_quantised_run_is_near_the_same_run_without(engine, quantized, quantization, changes):
    """Near, or it is broken; not the same, or nothing was quantised."""
    plan = a_plan(**changes)
    ours, theirs = latents(quantized, plan), latents(engine, plan)
    error = float((ours - theirs).norm() / theirs.norm())
    print(f"{quantization}: relative error of the latents {error:.1e}")

    assert 1e-4 < error < LARGEST[quantization]


@pytest.mark.parametrize("name", ["guided", "unguided"])
def test_a_quantised_run_is_one_with_the_rounded_weights(quantized, rounded, name):
    """The weights are all that is different: layers, loop and everything else are the same."""
    plan = a_plan(**PLANS[name])

    largest = (latents(quantized, plan) - latents(rounded, plan)).abs().max()
    print(f"largest difference: {largest:.1e}")

    assert largest <= 1e-5


def test_a_lora_is_taken_off_again(quantized):
    """What one client brings must not be seen in the next one's video."""
    plan = a_plan(**PLANS["unguided"])
    before = latents(quantized, plan)
    changed = latents(quantized, replace(plan, loras=LORAS))

    assert torch.equal(before, latents(quantized, plan))
    assert (before - changed).abs().max() > 1e-3


def test_the_precision_is_in_the_log_and_in_the_file(engine, quantized, quantization, tmp_path):
    """Whoever compares two videos can tell why they differ."""
    asked = RecordSpec(request='{"endpoint": "e", "request": {}}')
    notes, records = {}, {}
    for kept_as, one in ((quantization, quantized), ("none", engine)):
        path = tmp_path / f"{kept_as}.mp4"
        events = list(one.run(a_plan(record=asked, loras=LORAS), path))
        notes[kept_as] = [event.message for event in events if isinstance(event, Noted)]
        records[kept_as] = json.loads(comment_of(path))

    plain = "precision: the experts are float32"
    assert f"{plain}, their blocks' linear weights kept as {quantization}" in notes[quantization]
    assert plain in notes["none"]
    for kept_as, record in records.items():
        assert {"dtype": "float32", "quantization": kept_as} == record["precision"]


def test_the_same_plan_makes_the_same_file(quantized, weights, quantization, tmp_path):
    """Warm or cold: a seed is a promise, and rounding draws no lots."""
    cold = open_engine(weights, "cpu", quantization)
    for name, one in (("warm", quantized), ("cold", cold)):
        list(one.run(a_plan(), tmp_path / name))
    cold.close()

    assert (tmp_path / "warm").read_bytes() == (tmp_path / "cold").read_bytes()
