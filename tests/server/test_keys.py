"""Keys and passes: who may use the server."""

from __future__ import annotations

import stat
import time

import pytest

from server.keys import KeyRing, Passes, UnknownKey


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


@pytest.mark.parametrize("scheme", ["Key", "key", "Bearer"])
def test_a_key_opens_the_server_in_either_scheme(ring, scheme):
    """Fal's clients send `Key`; OpenAI-style ones and `fal auth login` send `Bearer`."""
    id, secret = ring.create("studio")

    assert id == ring.check(f"{scheme} {id}:{secret}")


def test_a_wrong_credential_opens_nothing(ring):
    """One wrong character anywhere is a stranger."""
    id, secret = ring.create("studio")
    other, _ = ring.create("render farm")
    wrong = [
        None, "", "Key", "Key ", f"Key {id}", f"Key {id}:", f"Key {id}:{secret}x",
        f"Key {other}:{secret}", f"Basic {id}:{secret}", f"{id}:{secret}", f"Key x:{secret}",
        "Key \udcff:\udcff",
    ]  # fmt: skip

    assert [None] * len(wrong) == [ring.check(header) for header in wrong]


def test_the_file_holds_no_secret_and_is_its_owners(ring, tmp_path):
    """Whoever reads a backup of the data directory cannot use it to log in."""
    _, secret = ring.create("studio")
    file = tmp_path / "keys.json"

    assert secret not in file.read_text()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_change_counts_once_the_trust_has_run_out(tmp_path):
    """Ten polls a second of every client must not mean as many looks at a file."""
    server = KeyRing(tmp_path / "keys.json", trust=0.05)
    assert server.empty

    KeyRing(tmp_path / "keys.json").create("studio")
    time.sleep(0.06)

    assert not server.empty


def test_a_running_server_notices_the_command_line(tmp_path):
    """A key made, and above all one revoked, counts without a restart."""
    server = KeyRing(tmp_path / "keys.json", trust=0)
    command_line = KeyRing(tmp_path / "keys.json")

    assert server.empty
    id, secret = command_line.create("studio")

    assert not server.empty
    assert id in server
    assert id == server.check(f"Key {id}:{secret}")

    command_line.revoke(id)

    assert server.check(f"Key {id}:{secret}") is None
    assert server.empty


def test_keys_are_listed_in_the_order_they_were_made(ring):
    """The list is what an operator reads before revoking one."""
    ids = [ring.create(name)[0] for name in ("a", "b", "c")]

    assert [(ids[0], "a"), (ids[1], "b"), (ids[2], "c")] == [(k.id, k.name) for k in ring.list()]


def test_an_unknown_key_cannot_be_revoked(ring):
    """A typing error must not look like success."""
    with pytest.raises(UnknownKey, match="'nobody'"):
        ring.revoke("nobody")


@pytest.mark.parametrize("name", ["", "a" * 65, "a\nb", "<script>"])
def test_a_name_is_something_that_can_be_printed(ring, name):
    """Names are shown in terminals and logs."""
    with pytest.raises(ValueError, match="a key's name"):
        ring.create(name)


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def passes(tmp_path, clock):
    return Passes(tmp_path / "passes.key", clock=lambda: clock[0])


@pytest.mark.parametrize("owner", ["", "a1b2"])
def test_a_pass_names_its_owner_until_it_expires(passes, clock, owner):
    """Fal's Python client asks for one and uses it for all uploads until it runs out."""
    token = passes.issue(owner, 60)

    assert owner == passes.check(token)

    clock[0] += 60

    assert passes.check(token) is None


def test_a_pass_survives_a_restart(passes, tmp_path, clock):
    """A client keeps its pass for hours and would be locked out of uploads until then."""
    token = passes.issue("a1b2", 60)

    assert "a1b2" == Passes(tmp_path / "passes.key", clock=lambda: clock[0]).check(token)


def test_a_pass_cannot_be_made_or_stretched(passes):
    """Only the server signs."""
    owner, expires, signature = passes.issue("a1b2", 60).split(".")
    forged = [
        "", ".", "..", "a1b2", f"{owner}.{int(expires) + 1}.{signature}",
        f"other.{expires}.{signature}", f"{owner}.{expires}.", "é.1.x", "\udcff.1.x",
    ]  # fmt: skip

    assert [None] * len(forged) == [passes.check(token) for token in forged]
