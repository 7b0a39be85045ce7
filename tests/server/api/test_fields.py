"""Reading a header from the scope."""

from __future__ import annotations

from server.api.fields import field


def test_a_field_is_found_by_its_name():
    """The first of its name counts, as in Starlette's mapping."""
    scope = {"headers": [(b"host", b"a"), (b"host", b"b"), (b"x-name", b"caf\xe9")]}

    assert "a" == field(scope, b"host")
    assert "café" == field(scope, b"x-name")
    assert field(scope, b"origin") is None
