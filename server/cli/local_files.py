"""The files that a typed request names: found, looked at and kept as the server does it.

Whoever types a path or an address means it, so that nothing of it is forbidden here; a client of
the server is held to what the operator allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from server.cli.exits import ENGINE_EXITS, Exit, give_up
from server.media.artifacts import Artifacts
from server.media.fetch import Fetcher
from server.media.finding import find_source
from server.media.inputs import Inputs
from server.media.lora_library import LoraLibrary
from server.media.lora_paths import Fetch, LoraFinder
from server.media.sources import Need, Source, Sources
from server.settings import Settings
from wan_local.errors import WanLocalError

_EVERYWHERE = (Path("/"),)


def find_sources(settings: Settings, folder: Path, needs: Iterable[Need]) -> Sources:
    """Return the files of *needs*, or end the command with what is wrong with one of them.

    Args:
        settings: Where LoRAs lie, and how long a download may take.
        folder: Where to put what is fetched; a video is read from there.
        needs: What the request refers to.
    """
    open_handed = settings.model_copy(update={"fetch_public": True, "fetch_roots": _EVERYWHERE})
    inputs, artifacts = Inputs(folder / "inputs"), Artifacts(folder / "files")
    fetcher = Fetcher(inputs, artifacts, open_handed)
    return {need.url: _find(need, fetcher, settings) for need in needs}


def _find(need: Need, fetcher: Fetcher, settings: Settings) -> Source:
    library = LoraLibrary(settings.weights_dir / "loras")

    def find_lora(address: str, fetch: Fetch) -> Source:
        return LoraFinder(library, _EVERYWHERE, settings.hub_cache, fetch).find(address)

    _require_place(need)
    here = replace(need, url=_from_here(need.url))
    try:
        fetch = partial(fetcher.fetch, with_tokens=need.kind == "lora")
        return find_source(here, fetch, find_lora, settings.max_input_bytes)
    except WanLocalError as error:
        give_up(ENGINE_EXITS.get(type(error).__name__, Exit.FAILED), f"{need.field}: {error}")


def _require_place(need: Need) -> None:
    """End the command if *need* is a path to nothing; a LoRA may have a name besides."""
    is_url = need.url.lower().startswith(("http://", "https://", "data:", "file://"))
    if need.kind != "lora" and not is_url:
        path = Path(need.url).expanduser()
        if not path.is_file():
            give_up(Exit.USAGE, f"{need.field}: {path} is not a file, and no URL either")


def _from_here(address: str) -> str:
    """Return *address*, made absolute if it is a file as seen from the current folder."""
    # A data URI is longer than any path, and asking for it would be an error.
    if len(address) > 4096 or address.startswith("data:"):
        return address
    path = Path(address).expanduser()
    return str(path.absolute()) if path.is_file() else address
