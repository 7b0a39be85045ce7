"""What the experts compute in, and how their weights are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wan_local.catalog import Quantization


@dataclass(frozen=True, slots=True)
class Precision:
    """As the job's log and the file's record say it."""

    dtype: torch.dtype
    """Of activations, and of weights that are not quantised."""
    quantization: Quantization

    def __str__(self) -> str:
        if self.quantization == "none":
            return f"precision: the experts are {self._dtype}"
        kept = f"their blocks' linear weights kept as {self.quantization}"
        return f"precision: the experts are {self._dtype}, {kept}"

    @property
    def record(self) -> dict[str, str]:
        """For `record.make_record`."""
        return {"dtype": self._dtype, "quantization": self.quantization}

    @property
    def _dtype(self) -> str:
        return str(self.dtype).removeprefix("torch.")
