"""Bodies of the upload calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from server.schemas.common import WireInput


class InitiateInput(WireInput):
    """Body of `storage/upload/initiate` and `initiate-multipart`."""

    file_name: Annotated[str, Field(max_length=1000)] = ""
    """Made safe for a URL before it is used."""
    content_type: Annotated[str, Field(max_length=200)] = ""
    """Of use only for the ending of a file without a name: what it is served as is looked up."""


class PartInput(BaseModel):
    """One part of an upload, as the client remembers it."""

    partNumber: int  # noqa: N815 - fal's spelling
    etag: str = ""


class CompleteInput(WireInput):
    """Body of the call that ends an upload in parts."""

    parts: Annotated[list[PartInput], Field(max_length=10_000)]
    """In any order."""
