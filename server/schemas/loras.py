"""LoRAs that a request brings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.schemas.common import Finite, Url, WireInput

TransformerEnum = Literal["high", "low", "both"]

MOST_LORAS = 16
"""In one request; each is a file to fetch, to read and to keep at hand."""


class LoRAWeight(WireInput):
    """One LoRA file and where it goes."""

    path: Url
    """URL of the LoRA weights, a Hugging Face repository, or a name that this server knows."""
    weight_name: str | None = None
    """Name of the file, if the path is a repository that has more than one."""
    scale: Finite = 1.0
    """What the LoRA's change is multiplied by."""
    transformer: TransformerEnum = "high"
    """The expert to change: `high` noise, `low` noise, or `both`."""


class Adapted(WireInput):
    """What the `/lora` endpoints take besides."""

    loras: list[LoRAWeight] = Field(default_factory=list, max_length=MOST_LORAS)
    """LoRA weights to be used in the inference."""
    reverse_video: bool = False
    """If true, the video will be reversed. A picture is not changed by it."""
