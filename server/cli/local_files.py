"""The files that a typed request names: found, looked at and kept as the server does it.

Whoever types a path or an address means it, so that nothing of it is forbidden here; a client of
the server is held to what the operator allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from server.cli.exits import ENGINE_EXITS, Exit, give_up
from server.media.artifacts import Artifacts
from server.media.fetch import Fetcher
from server.media.inputs import Inputs
from server.media.lora_library import LoraLibrary
from server.media.lora_paths import LoraFinder
from server.media.sources import Need, Source, Sources
from server.settings import Settings
from wan_local.errors import WanLocalError
from wan_local.media import probe_media

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
    with closing(Fetcher(inputs, artifacts, open_handed)) as fetcher:
        loras = LoraFinder(
            LoraLibrary(settings.weights_dir / "loras"),
            _EVERYWHERE,
            settings.hub_cache,
            fetcher.fetch,
        )
        return {need.url: _find(need, fetcher, loras, settings.max_upload_bytes) for need in needs}


def _find(need: Need, fetcher: Fetcher, loras: LoraFinder, max_bytes: int) -> Source:
    try:
        if need.kind == "lora":
            return loras.find(_from_here(need.url))
        _require_place(need)
        fetched = fetcher.fetch(_from_here(need.url), max_bytes)
        info = probe_media(fetched.path, need.kind)
    except WanLocalError as error:
        give_up(ENGINE_EXITS.get(type(error).__name__, Exit.FAILED), f"{need.field}: {error}")
    return Source(str(fetched.path), fetched.sha256, info)


def _require_place(need: Need) -> None:
    if not need.url.lower().startswith(("http://", "https://", "data:", "file://")):
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
