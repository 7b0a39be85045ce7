"""What to copy so that fal's own clients talk to this server."""

from __future__ import annotations

from pathlib import Path


def python_lines(host: str, port: int, ca: Path) -> list[str]:
    """Return the environment of `fal_client`, to be set before it is imported.

    Its URLs are `https://` whatever one does, which is why a certificate is needed at all.
    """
    return [
        f"export FAL_RUN_HOST={authority(host, port)}/run",
        f"export FAL_QUEUE_RUN_HOST={authority(host, port)}/queue",
        f"export SSL_CERT_FILE={ca}",
    ]


def javascript_line(host: str, port: int) -> str:
    """Return the one call that sends `@fal-ai/client` here.

    `when: "always"` matters: without it the client ignores the proxy under Node, silently, and
    talks to the hosted service.
    """
    url = f"http://{authority(host, port)}/fal/proxy"
    return f'fal.config({{ proxyUrl: {{ url: "{url}", when: "always" }} }});'


def authority(host: str, port: int) -> str:
    """Return `host:port` as it stands in a URL, with an address a client can connect to."""
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif host == "::":
        host = "[::1]"
    elif ":" in host:
        host = f"[{host}]"
    return f"{host}:{port}"
