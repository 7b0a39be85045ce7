"""What a request needs -> the file that answers it, fetched and looked at.

One way for the server and for the command line; what each allows is in the functions it gives.
"""

from __future__ import annotations

from collections.abc import Callable

from server.media.lora_paths import Fetch
from server.media.sources import Need, Source
from wan_local.media import probe_media

FindLora = Callable[[str, Fetch], Source]
"""A LoRA's address, and what brings files from elsewhere -> its file."""


def find_source(need: Need, fetch: Fetch, find_lora: FindLora, max_bytes: int) -> Source:
    """Return the file of *need*.

    Args:
        need: What is wanted; a picture is not taken for a video, whatever its name.
        fetch: Brings files from elsewhere.
        find_lora: Finds a LoRA, by means of *fetch* where it has to.
        max_bytes: What a picture or a video may have.

    Raises:
        BadMedia: If it cannot be had, or is not what it should be.
        LoraRefused: If it is no LoRA.
    """
    if need.kind == "lora":
        return find_lora(need.url, fetch)
    fetched = fetch(need.url, max_bytes)
    info = probe_media(fetched.path, need.kind)
    return Source(str(fetched.path), fetched.sha256, info)
