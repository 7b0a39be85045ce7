"""The small checkpoint on a real GPU, in bfloat16."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.wan_local.plans import T2V, a_plan
from wan_local.engine import Stopwatch, open_engine
from wan_local.events import FramesWritten, StepDone
from wan_local.geometry import Size
from wan_local.models.residency import CudaMemory, Residency
from wan_local.plan import LoraRef
from wan_local.video.probe import probe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda:0")


@pytest.fixture(scope="module")
def gpu(weights):
    engine = open_engine(weights, "cuda:0")
    yield engine
    engine.close()


def latents(engine, plan, device):
    journey = engine.sample(plan, Stopwatch(device))
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value.float().cpu()


def test_a_plan_is_carried_out_on_the_gpu(gpu, tmp_path):
    """Everything at once: transfer, bfloat16, streamed decoding, encoding."""
    *_, finished = gpu.run(a_plan(), tmp_path / "a.mp4")

    assert 9 == finished.num_frames == probe(tmp_path / "a.mp4").num_frames
    assert Size(64, 48) == finished.size
    assert frozenset() == gpu.held


def test_the_gpu_shows_what_the_cpu_shows(gpu, weights):
    """Bfloat16 rounds to 8 bits; the picture must be the same all the same."""
    plan = a_plan()
    cpu = latents(open_engine(weights, "cpu"), plan, torch.device("cpu"))
    ours = latents(gpu, plan, CUDA)

    assert torch.corrcoef(torch.stack([cpu.flatten(), ours.flatten()]))[0, 1] > 0.99


def test_the_same_plan_makes_the_same_latents_on_the_same_gpu(gpu):
    """A retried job shows its client the same video."""
    assert torch.equal(latents(gpu, a_plan(), CUDA), latents(gpu, a_plan(), CUDA))


@pytest.mark.parametrize("quantization", ["float8", "int8"])
def test_experts_of_eight_bits_show_what_the_others_show(gpu, weights, quantization):
    """And what a LoRA changed, scales included, is put back from the host's copy."""
    plan = a_plan(solver="euler", guidance_high=1, guidance_low=1)
    lora = LoraRef(name="wan2.2-t2v-a14b-4step", target="both")
    engine = open_engine(weights, "cuda:0", quantization)
    before = latents(engine, plan, CUDA)
    changed = latents(engine, replace(plan, loras=(lora,)), CUDA)
    after = latents(engine, plan, CUDA)
    engine.close()
    theirs = latents(gpu, plan, CUDA)

    assert torch.corrcoef(torch.stack([theirs.flatten(), before.flatten()]))[0, 1] > 0.99
    assert torch.equal(before, after)
    assert not torch.equal(before, changed)


@pytest.mark.parametrize("kind", [StepDone, FramesWritten])
def test_closing_gives_the_memory_back(gpu, tmp_path, kind):
    """What a cancelled job leaves on the card, the next one lacks."""
    list(gpu.run(a_plan(), tmp_path / "a.mp4"))
    before = torch.cuda.memory_allocated(CUDA)
    run = gpu.run(a_plan(seed=8), tmp_path / "b.mp4")
    while not isinstance(next(run), kind):
        pass
    run.close()

    assert before == torch.cuda.memory_allocated(CUDA)
    assert not (tmp_path / "b.mp4").exists()


def test_weights_leave_and_come_back_unchanged():
    """Evicted from a real card into pinned memory, and back."""

    class Full(CudaMemory):
        def free(self):
            return 0

    modules = {}

    def load(name):
        modules[name] = torch.nn.Linear(64, 64)
        return modules[name]

    models = Residency(load, CUDA, Full(CUDA))
    models.load("high")
    original = modules["high"].weight.detach().clone()
    for name in ("high", "low", "high"):
        with models.hold(name) as module:
            assert module.weight.is_cuda

    assert torch.equal(original, modules["high"].weight.detach().cpu())
    assert not modules["low"].weight.is_cuda
    assert modules["low"].weight.is_pinned()
    models.close()


def test_bfloat16_keeps_on_the_gpu_what_it_keeps_on_the_host(gpu, tmp_path):
    """Moving must not cast the parts that stay in float32."""
    list(gpu.run(a_plan(), tmp_path / "a.mp4"))
    with gpu._models.hold(f"{T2V}/transformer") as expert:
        assert torch.float32 == expert.scale_shift_table.dtype
        assert torch.bfloat16 == expert.proj_out.weight.dtype
