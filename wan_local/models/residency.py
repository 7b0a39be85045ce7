"""Which components sit on the device right now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


class DeviceMemory(Protocol):
    """The memory of a device that is not the host's."""

    def free(self) -> int:
        """Bytes that can be allocated now."""
        ...

    def trim(self) -> None:
        """Hand freed blocks back, so that the next allocation can be of any size."""
        ...

    def pin(self, tensor: Tensor) -> None:
        """Lock *tensor*, which is in host memory, into RAM, so that copies from it are fast."""
        ...

    def unpin(self, tensor: Tensor) -> None:
        """Undo `pin`."""
        ...


class CudaMemory:
    """The memory of one CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Bytes that can be allocated now: the driver's, and those torch keeps without use."""
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(
            self._device
        )
        return torch.cuda.mem_get_info(self._device)[0] + unused

    def trim(self) -> None:
        """Hand torch's unused blocks back to the driver."""
        torch.cuda.empty_cache()

    def pin(self, tensor: Tensor) -> None:
        """Register the tensor's own memory with the driver.

        `Tensor.pin_memory` rounds each tensor up to a power of two, which would make the 28.6 GB
        of one expert about 43 GB (computed from its shapes).
        """
        error = torch.cuda.cudart().cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 0)  # type: ignore[no-untyped-call]
        torch.cuda.check_error(int(error))

    def unpin(self, tensor: Tensor) -> None:
        """Take the tensor's memory back from the driver."""
        torch.cuda.cudart().cudaHostUnregister(tensor.data_ptr())  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Component:
    module: nn.Module
    weights: list[tuple[Tensor, Tensor]]
    """Each parameter and buffer of the module, and the copy of it in host memory."""
    size: int
    """Bytes."""
    resident: bool = False
    pinned: bool = False


class Residency:
    """Loads components once, and lends them to one user at a time on one device.

    Where the device has memory of its own, whatever fits stays there; when a newcomer does not
    fit, the components used least recently go first. Weights are never copied back: the host keeps
    the original and inference does not change it. A component that had to leave once will come
    back, so its host copy is pinned then, and not before: where everything fits, the files' own
    pages are the only host copy.
    """

    def __init__(
        self,
        load: Callable[[str], nn.Module],
        device: torch.device,
        memory: DeviceMemory | None = None,
    ) -> None:
        """Lend what *load* builds; without *memory*, *device* computes in host memory."""
        self._load = load
        self._device = device
        self._memory = memory
        self._components: dict[str, _Component] = {}  # least recently used first
        self._held: set[str] = set()

    @property
    def loaded(self) -> frozenset[str]:
        """Components in host memory."""
        return frozenset(self._components)

    @property
    def resident(self) -> frozenset[str]:
        """Components on the device."""
        return frozenset(name for name, part in self._components.items() if part.resident)

    @property
    def held(self) -> frozenset[str]:
        """Components in use at this moment; empty between plans."""
        return frozenset(self._held)

    @property
    def free(self) -> int | None:
        """Bytes that can be allocated on the device now; None if its memory is the host's."""
        return None if self._memory is None else self._memory.free()

    def load(self, name: str) -> None:
        """Bring *name* into host memory, if it is not there yet."""
        if name not in self._components:
            module = self._load(name)
            weights = [
                (weight, weight.data) for weight in [*module.parameters(), *module.buffers()]
            ]
            size = sum(host.nbytes for _, host in weights)
            # Without memory of its own, the device's copy is the host's.
            self._components[name] = _Component(module, weights, size, self._memory is None)

    @contextmanager
    def hold(self, name: str, *, room: int = 0) -> Iterator[Any]:
        """Keep *name* on the device for the length of the block, whatever ends it.

        Args:
            name: The component.
            room: Bytes to leave free beside it for what the block computes.

        Yields:
            The module; untyped, as diffusers' classes are.
        """
        self.load(name)
        component = self._components.pop(name)
        self._components[name] = component  # now the most recently used
        self._held.add(name)
        try:
            if self._memory is not None:
                self._make_room(self._memory, component, room)
                self._move_in(name, component)
            yield component.module
        finally:
            self._held.discard(name)

    def originals(self, name: str) -> dict[str, Tensor]:
        """Return the host's untouched copy of each weight of *name*, by its name in the module.

        Empty without memory of a device's own: there the module's tensors are the only copy.
        """
        component = self._components[name]
        if self._memory is None:
            return {}
        hosts = {id(weight): host for weight, host in component.weights}
        module = component.module
        named = [*module.named_parameters(), *module.named_buffers()]
        return {title: hosts[id(weight)] for title, weight in named}

    def close(self) -> None:
        """Forget every component; the memory goes back to the device and the host."""
        for component in self._components.values():
            if component.pinned and self._memory is not None:
                for _, host in component.weights:
                    self._memory.unpin(host)
        self._components.clear()
        if self._memory is not None:
            self._memory.trim()

    def _make_room(self, memory: DeviceMemory, newcomer: _Component, room: int) -> None:
        needed = room + (0 if newcomer.resident else newcomer.size)
        # Evict before moving the newcomer in: the two experts together may not fit on one card.
        for name, component in self._components.items():
            if memory.free() >= needed:
                break
            if component.resident and name not in self._held:
                self._evict(memory, name, component)
                memory.trim()

    def _evict(self, memory: DeviceMemory, name: str, component: _Component) -> None:
        if not component.pinned:
            # One at a time, so that an expert is not in host memory twice. Copied, because pages of
            # a mapped file cannot be pinned.
            for index, (weight, host) in enumerate(component.weights):
                component.weights[index] = (weight, host.clone())
            component.pinned = _pin_all(memory, name, component)
        for weight, host in component.weights:
            weight.data = host
        component.resident = False
        log.info("evicted %s, %.1f GB", name, component.size / 1e9)

    def _move_in(self, name: str, component: _Component) -> None:
        if component.resident:
            return
        try:
            for weight, host in component.weights:
                weight.data = host.to(self._device, non_blocking=True, copy=True)
        except BaseException:  # out of memory half way: what has moved must not stay
            for weight, host in component.weights:
                weight.data = host
            raise
        component.resident = True
        log.info("moved %s to %s, %.1f GB", name, self._device, component.size / 1e9)


def _pin_all(memory: DeviceMemory, name: str, component: _Component) -> bool:
    """Pin every host copy, or none: pageable copies work too, only slower."""
    pinned: list[Tensor] = []
    try:
        for _, host in component.weights:
            memory.pin(host)
            pinned.append(host)
    except RuntimeError as error:
        log.warning("%s stays in pageable memory, so moving it is slower: %s", name, error)
        for host in pinned:
            memory.unpin(host)
        return False
    return True
