"""The files that come with a request: what an endpoint needs, and what was found for it.

A row of `ENDPOINTS` says what it needs, a planner gets what was found, keyed by the URL in the
client's input. At submission nothing is fetched yet, and the plan is tried with `provisional`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from wan_local.geometry import Size
from wan_local.media import MediaInfo
from wan_local.plan import SourceFile

NeedKind = Literal["image", "video", "lora"]

# What most requests bring: a wide picture, and the length and rate of Wan's own videos.
PROVISIONAL: dict[NeedKind, MediaInfo | None] = {
    "image": MediaInfo(kind="image", size=Size(1280, 720)),
    "video": MediaInfo(
        kind="video", size=Size(1280, 720), num_frames=81, fps=16.0, duration=81 / 16
    ),
    "lora": None,
}


@dataclass(frozen=True, slots=True)
class Need:
    """A file that a request refers to and cannot run without."""

    url: str
    """As the client wrote it: http, https, `data:`, or a path where those are allowed."""
    kind: NeedKind
    field: str
    """Where in the body it stands, dots between the steps: `image_url`, `loras.0.path`."""

    @property
    def loc(self) -> tuple[str | int, ...]:
        """The field as fal's errors point at it."""
        steps = self.field.split(".")
        return ("body", *(int(step) if step.isdigit() else step for step in steps))


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was found, on this machine."""

    path: str
    """Absolute."""
    sha256: str
    """Of its bytes, in hexadecimal."""
    info: MediaInfo | None = None
    """What it is; None for a LoRA."""

    @property
    def picture(self) -> MediaInfo:
        """What it looks like.

        Raises:
            ValueError: If it is nothing to look at; whoever finds a picture or a video looks.
        """
        if self.info is None:
            msg = f"{self.path} was not looked at"
            raise ValueError(msg)
        return self.info

    @property
    def file(self) -> SourceFile:
        """The file as a plan names it."""
        return SourceFile(path=self.path, sha256=self.sha256)


Sources = Mapping[str, Source]
"""What was found, by the URL that the client gave."""


def provisional(needs: Iterable[Need]) -> Sources:
    """Return sources of usual sizes for *needs*, to try a plan with before anything is fetched."""
    # LoRAs first: a URL that is named as both is looked at as a picture here, and refused later.
    needs = sorted(needs, key=lambda need: need.kind != "lora")
    return {
        need.url: Source(f"/provisional/{need.kind}", "0" * 64, PROVISIONAL[need.kind])
        for need in needs
    }


def stored_sources(sources: Sources) -> dict[str, Any]:
    """Return *sources* as they are kept with a job: as JSON.

    By the hash of their URLs: a data URI is as long as the file and is with the job already.
    """
    return {url_key(url): asdict(source) for url, source in sources.items()}


def restored_sources(stored: Mapping[str, Any], needs: Iterable[Need]) -> Sources:
    """Return what was `stored_sources`, for the same *needs*.

    Raises:
        KeyError: If one of them was not stored.
    """
    return {need.url: _source(stored[url_key(need.url)]) for need in needs}


def url_key(url: str) -> str:
    """Return the short name of *url*."""
    return hashlib.sha256(url.encode()).hexdigest()


def _source(values: Mapping[str, Any]) -> Source:
    info = values["info"]
    if info is not None:
        info = MediaInfo(**info | {"size": Size(**info["size"])})
    return Source(values["path"], values["sha256"], info)
