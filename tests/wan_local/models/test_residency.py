"""Residency on the CPU, with a memory that counts what it would hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wan_local.models.residency import Residency

KILO = 1024


class Linear(nn.Module):
    """A component of a kibibyte, with a buffer and a tied weight, as the real ones have."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((192,), value), requires_grad=False)
        self.tied = self.weight
        self.register_buffer("table", torch.full((64,), value), persistent=False)


class CountedMemory:
    """A device of so many bytes; what has left the host counts as on it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.modules: dict[str, nn.Module] = {}
        self.hosts: dict[str, int] = {}
        self.pinned: set[int] = set()
        self.pins = 0
        self.refuses_to_pin = False

    def load(self, name: str) -> nn.Module:
        module = Linear(float(len(self.modules)))
        self.modules[name] = module
        self.hosts[name] = module.weight.data_ptr()
        return module

    def resident(self) -> set[str]:
        """Components whose weights are not where the loader, or pinning, put them."""
        here = self.pinned | set(self.hosts.values())
        return {name for name, part in self.modules.items() if part.weight.data_ptr() not in here}

    def free(self) -> int:
        return self.capacity - KILO * len(self.resident())

    def trim(self) -> None:
        pass

    def pin(self, tensor):
        if self.refuses_to_pin:
            raise RuntimeError("locked memory is used up")
        self.pins += 1
        self.pinned.add(tensor.data_ptr())

    def unpin(self, tensor):
        self.pinned.remove(tensor.data_ptr())


def lend(memory: CountedMemory) -> Residency:
    return Residency(memory.load, torch.device("cpu"), memory)


def test_on_the_host_a_component_is_loaded_once_and_stays():
    """A CPU has one memory; copying it to itself would double it."""
    built = []
    models = Residency(lambda name: built.append(name) or Linear(0), torch.device("cpu"))

    with models.hold("vae") as first:
        pass
    with models.hold("vae") as second:
        pass

    assert first is second
    assert ["vae"] == built
    assert {"vae"} == models.loaded == models.resident


def test_whatever_fits_stays_on_the_device():
    """With 80 GB, no weight moves after the first request."""
    memory = CountedMemory(2 * KILO)
    models = lend(memory)
    for name in ("high", "low", "high", "low"):
        with models.hold(name):
            pass

    assert {"high", "low"} == models.resident == memory.resident()
    assert 0 == memory.pins


def test_the_least_recently_used_leaves_before_the_newcomer_enters():
    """The two experts together may not fit on one card, not for a moment either."""
    memory = CountedMemory(2 * KILO)
    models = lend(memory)
    for name in ("text", "high"):
        with models.hold(name):
            pass
    with models.hold("text"):  # now `high` was used less recently
        pass

    with models.hold("low"):
        assert {"text", "low"} == models.resident == memory.resident()
        assert 0 <= memory.free()


def test_room_to_compute_in_is_made_as_well():
    """Weights that just fit leave no memory for the video itself."""
    memory = CountedMemory(2 * KILO)
    models = lend(memory)
    with models.hold("text"):
        pass

    with models.hold("high", room=1):
        assert {"high"} == models.resident
    with models.hold("high", room=KILO):  # already here: only the room is needed
        assert {"high"} == models.resident


def test_what_is_held_is_never_evicted():
    """An estimate may be too big; the module under the loop's feet stays."""
    memory = CountedMemory(KILO)
    models = lend(memory)

    with models.hold("high", room=10 * KILO), models.hold("low"):
        assert {"high", "low"} == models.held == models.resident


def test_an_evicted_component_comes_back_with_its_weights():
    """The host keeps the original: nothing is copied back, and nothing is lost."""
    memory = CountedMemory(KILO)
    models = lend(memory)
    for _ in range(3):
        for name, value in (("high", 0.0), ("low", 1.0)):
            with models.hold(name) as module:
                assert torch.equal(torch.full((192,), value), module.weight)
                assert torch.equal(torch.full((64,), value), module.table)
                assert module.tied is module.weight


def test_host_copies_are_pinned_once_when_a_component_first_leaves():
    """Only what moves again gains from pinning; the rest may stay in the files' pages."""
    memory = CountedMemory(KILO)
    models = lend(memory)
    with models.hold("high"):
        pass
    assert 0 == memory.pins

    for name in ("low", "high", "low", "high"):
        with models.hold(name):
            pass

    assert 2 * 2 == memory.pins  # two tensors of two components, once each


def test_without_locked_memory_moving_still_works():
    """A container's limit on locked memory costs time, not the service."""
    memory = CountedMemory(KILO)
    memory.refuses_to_pin = True
    models = lend(memory)
    for name in ("high", "low"):
        with models.hold(name):
            pass
    with models.hold("high") as module:
        assert torch.equal(torch.zeros(192), module.weight)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_whatever_ends_the_block_ends_the_loan(error):
    """A cancel rises through the block; what stayed held could never be evicted again."""
    models = lend(CountedMemory(KILO))

    with pytest.raises(error), models.hold("high"):
        raise error

    assert frozenset() == models.held


def test_a_component_that_cannot_be_loaded_leaves_nothing_behind():
    """After the files are mended, the next request loads it."""
    answers = [OSError("no such file"), Linear(1)]

    def load(name):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    models = Residency(load, torch.device("cpu"))
    with pytest.raises(OSError, match="no such file"), models.hold("vae"):
        pass

    assert (frozenset(), frozenset()) == (models.loaded, models.held)
    with models.hold("vae") as module:
        assert torch.equal(torch.ones(192), module.weight)


class Brittle(torch.Tensor):
    """A host copy that cannot be moved: the device is full half way through."""

    def to(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 KiB.")


def test_a_move_that_fails_half_way_takes_its_half_back():
    """Half an expert on the card would be memory nobody can free."""
    memory = CountedMemory(KILO)
    models = lend(memory)
    models.load("high")
    module = memory.modules["high"]
    weights = models._components["high"].weights
    weights[-1] = (weights[-1][0], weights[-1][1].as_subclass(Brittle))

    with pytest.raises(torch.OutOfMemoryError), models.hold("high"):
        pass

    assert frozenset() == models.resident == models.held
    assert memory.hosts["high"] == module.weight.data_ptr()


def test_closing_gives_everything_back():
    """Pinned memory that is freed without being unpinned stays locked in the driver."""
    memory = CountedMemory(KILO)
    models = lend(memory)
    for name in ("high", "low"):
        with models.hold(name):
            pass
    assert memory.pinned

    models.close()

    assert set() == memory.pinned
    assert frozenset() == models.loaded
