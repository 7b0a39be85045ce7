from pathlib import Path

import pytest

from server.cli.client_lines import authority, javascript_line, python_lines


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("gpu-box", "gpu-box:80"),
        ("::1", "[::1]:80"),
        ("0.0.0.0", "127.0.0.1:80"),
        ("::", "[::1]:80"),
    ],
)
def test_the_address_is_one_that_a_client_can_connect_to(host, expected):
    """`0.0.0.0` can be listened on and, outside Linux, not connected to."""
    assert expected == authority(host, 80)


def test_python_needs_three_variables():
    """fal_client reads the two hosts, with port and path, and httpx reads the authority."""
    assert [
        "export FAL_RUN_HOST=h:1/run",
        "export FAL_QUEUE_RUN_HOST=h:1/queue",
        "export SSL_CERT_FILE=/ca.pem",
    ] == python_lines("h", 1, Path("/ca.pem"))


def test_javascript_is_told_to_use_the_proxy_always():
    """Without `when`, Node ignores the proxy and sends the prompt to the hosted service."""
    line = javascript_line("h", 1)

    assert 'url: "http://h:1/fal/proxy"' in line
    assert 'when: "always"' in line
