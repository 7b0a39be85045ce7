"""The LoRAs of a plan, read from their files or from memory, and what there is to say of them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter import Adapter, read_adapter
from wan_local.models.loras.applying import Weighted, applied
from wan_local.models.loras.coverage import guessed_expert
from wan_local.models.loras.files import lora_files
from wan_local.models.loras.layers import Expert
from wan_local.models.loras.shapes import Shape
from wan_local.plan import LoraRef, Target

log = logging.getLogger(__name__)

SHELF_BYTES = 4 * 2**30
"""Seven LoRAs of rank 64 for one 14B expert each."""

EXPERTS: dict[str, Expert] = {"transformer": "high", "transformer_2": "low"}
"""Component -> the expert it is."""
_TARGETS: dict[Target, frozenset[Expert]] = {
    "high": frozenset({"high"}),
    "low": frozenset({"low"}),
    "both": frozenset({"high", "low"}),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The LoRAs of one plan."""

    loras: tuple[Weighted, ...] = ()
    notes: tuple[str, ...] = ()
    """What was read of them, in sentences."""
    warnings: tuple[str, ...] = ()
    """What may not be as the client wants it."""

    def applied(
        self, module: nn.Module, component: str, originals: Mapping[str, Tensor]
    ) -> AbstractContextManager[None]:
        """Return the block in which *module*, the model's *component*, has these LoRAs."""
        return applied(module, self.loras, expert=EXPERTS[component], originals=originals)


class LoraShelf:
    """Keeps what it reads, up to *max_bytes* of host memory, the least recently used leaving first.

    Args:
        weights_dir: Where the LoRAs of the catalog are.
        max_bytes: What is kept between plans; one that is larger is read each time.
    """

    def __init__(self, weights_dir: Path, max_bytes: int = SHELF_BYTES) -> None:
        self._weights_dir = weights_dir
        self._max_bytes = max_bytes
        self._adapters: OrderedDict[tuple[object, ...], Adapter] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes kept now."""
        return sum(adapter.size for adapter in self._adapters.values())

    def take(self, refs: Sequence[LoraRef], model: str, weights: Mapping[str, Shape]) -> Selection:
        """Return the LoRAs that *refs* name, for *model* with its *weights*.

        Raises:
            LoraRefused: If one of them cannot be applied to it, or to the expert it is meant for.
            WeightsMissing: If one of the catalog is not on this machine and may not be left out.
        """
        loras: list[Weighted] = []
        notes: list[str] = []
        warnings: list[str] = []
        for ref in refs:
            files = lora_files(self._weights_dir, ref)
            if not files:
                warnings.append(
                    f"LoRA {ref.name} is not on this machine: the base weights are used"
                )
            for target, path in files:
                name = ref.name if len(files) == 1 else path.name
                try:
                    adapter = self._adapter(path, model, weights, ref)
                    experts = _experts(target, adapter)
                except LoraRefused as error:
                    msg = f"LoRA {name}: {error}"
                    raise LoraRefused(msg) from error
                loras.append(Weighted(adapter, ref.scale, experts))
                notes += [f"LoRA {name}: {line}" for line in adapter.coverage.lines()]
                notes.append(f"LoRA {name}: {_use(experts)}, scale {ref.scale:g}")
                warnings += _mismatch(name, target)
        return Selection(tuple(loras), tuple(notes), tuple(warnings))

    def _adapter(
        self, path: Path, model: str, weights: Mapping[str, Shape], ref: LoraRef
    ) -> Adapter:
        sha256 = ref.file.sha256 if ref.file else None
        try:
            state = path.stat()
        except OSError as error:
            msg = f"the file cannot be read: {error.strerror}"
            raise LoraRefused(msg) from error
        key = (path, state.st_size, state.st_mtime_ns, model)
        adapter = self._adapters.pop(key, None)
        if adapter is None or sha256 not in {None, adapter.sha256}:
            adapter = read_adapter(path, weights, sha256)
            log.info("read LoRA %s, %.1f MB", path.name, adapter.size / 1e6)
        self._adapters[key] = adapter
        while self.size > self._max_bytes:
            self._adapters.popitem(last=False)
        return adapter


def _experts(target: Target, adapter: Adapter) -> frozenset[Expert]:
    wanted = _TARGETS[target]
    if not adapter.changes:
        msg = "none of its keys changes this model"
        raise LoraRefused(msg)
    made_for = {change.expert for changes in adapter.changes.values() for change in changes}
    if None not in made_for and not wanted & made_for:
        other = " and ".join(f"{expert}-noise" for expert in sorted(made_for - {None}))  # type: ignore[type-var]
        msg = f"all its keys are for the {other} expert, and it was asked for as {target!r}"
        raise LoraRefused(msg)
    return wanted


def _use(experts: frozenset[Expert]) -> str:
    if len(experts) > 1:
        return "applied to both experts"
    return f"applied to the {next(iter(experts))}-noise expert only"


def _mismatch(name: str, target: Target) -> list[str]:
    guess = guessed_expert(name)
    if guess is None or target in {guess, "both"}:
        return []
    return [
        f"LoRA {name}: its name says {guess}-noise, and it is applied to the {target}-noise expert"
    ]
