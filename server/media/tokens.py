"""The operator's tokens for sites that give some files only to those they know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import httpcore
from pydantic import SecretStr

from server.settings import Settings

HUB = "https://huggingface.co:443"
CIVITAI = "https://civitai.com:443"


class Tokens:
    """A token for each of some origins, and for nothing that merely looks like them.

    Args:
        by_origin: Scheme, host and port -> the token.
    """

    def __init__(self, by_origin: Mapping[str, SecretStr | None]) -> None:
        self._by_origin = by_origin

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the tokens that the operator has set."""
        return cls({HUB: settings.hub_token, CIVITAI: settings.civitai_token})

    def headers(self, origin: httpcore.Origin) -> list[tuple[str, str]]:
        """Return what to send along to *origin*: its token, if there is one."""
        token = self._by_origin.get(str(origin))
        if token is None:
            return []
        return [("Authorization", f"Bearer {token.get_secret_value()}")]
