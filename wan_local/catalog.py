"""Every checkpoint the engine can run, as one table.

To add a checkpoint of a known architecture, add a row; boundary, shift and files are its fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from wan_local.errors import UnknownModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One checkpoint: where it comes from and what the plan must know of it."""

    id: str
    """Also the name of its folder in the weights directory."""
    title: str
    repo: str
    """Hugging Face repository in the diffusers layout."""
    boundary: float
    """Noise level at which the low-noise expert takes over (Wan 2.2's own configuration)."""
    license: str
    download_gb: float
    """Size of the repository as published, in GB."""

    @property
    def fetch_command(self) -> str:
        """The command that puts the checkpoint into the weights directory."""
        return f"hf download {self.repo} --local-dir WEIGHTS_DIR/{self.id}"


MODELS = {
    model.id: model
    for model in [
        ModelSpec(
            id="wan2.2-t2v-a14b",
            title="Wan 2.2 A14B, text to video",
            repo="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            boundary=0.875,
            license="Apache-2.0",
            download_gb=126.0,
        ),
    ]
}


def model_spec(id: str) -> ModelSpec:
    """Return the row of model *id*.

    Raises:
        UnknownModel: If there is none.
    """
    try:
        return MODELS[id]
    except KeyError:
        msg = f"unknown model {id!r}; known: {', '.join(MODELS)}"
        raise UnknownModel(msg) from None
