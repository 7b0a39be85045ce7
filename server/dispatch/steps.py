"""The steps of preparing, in their order. To add one, put it into `steps`."""

from __future__ import annotations

import threading
from pathlib import Path

from server.dispatch.expanding import Expanding
from server.dispatch.localising import Localising
from server.dispatch.preparing import Preparing, Step
from server.expansion import open_expander
from server.media.fetch import Fetcher
from server.media.lora_library import LoraLibrary
from server.media.lora_paths import Fetch, LoraFinder
from server.media.sources import Source
from server.services import Services
from server.settings import Settings
from wan_local.models.loras.fitting import require_fit
from wan_local.models.weights import find_checkpoint


def open_preparing(services: Services) -> Preparing:
    """Return what prepares the jobs of *services*; it does nothing before its start.

    Raises:
        BadRule: If the setting `fetch_allow` cannot be read.
    """
    stopping = threading.Event()
    steps: list[Step] = [localising(services, stopping)]
    expander = open_expander(services.settings)
    if expander is not None:
        # After the files: a language model that can see is shown the picture.
        steps.append(Expanding(expander))
    return Preparing(services.jobs, steps, stopping=stopping)


def localising(services: Services, stopping: threading.Event) -> Localising:
    """Return the step that brings the files of a request here."""
    settings, loras = services.settings, _Loras(services.settings)
    return Localising(
        services.jobs,
        Fetcher(services.inputs, services.artifacts, settings),
        loras.find,
        loras.require_fit,
        max_bytes=settings.max_input_bytes,
        stopping=stopping,
    )


class _Loras:
    """Where the operator keeps LoRAs, and what they have to fit."""

    def __init__(self, settings: Settings) -> None:
        self._library = LoraLibrary(settings.weights_dir / "loras")
        self._settings = settings

    def find(self, address: str, fetch: Fetch) -> Source:
        settings = self._settings
        finder = LoraFinder(self._library, settings.lora_roots, settings.hub_cache, fetch)
        return finder.find(address)

    def require_fit(self, source: Source, model: str) -> None:
        # Told from headers: a LoRA for another model is refused before its job waits for a GPU.
        require_fit(Path(source.path), find_checkpoint(self._settings.weights_dir, model))
