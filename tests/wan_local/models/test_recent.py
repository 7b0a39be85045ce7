"""What is asked for again is kept, and no more than that."""

from __future__ import annotations

from wan_local.models.recent import Recent


def test_what_was_put_is_there():
    """Encoding the usual negative prompt once is half of that stage saved."""
    recent = Recent(2)
    recent["a"] = 1

    assert "a" in recent
    assert 1 == recent["a"]
    assert "b" not in recent


def test_the_least_recently_used_goes_first():
    """The one prompt of a thousand jobs stays, and the thousand others go."""
    recent = Recent(2)
    recent["usual"] = 0
    for number in range(5):
        recent[f"other {number}"] = number
        assert 0 == recent["usual"]

    assert "other 4" in recent
    assert "other 3" not in recent


def test_putting_again_replaces_and_counts_as_use():
    """A second encoding of the same picture is the same entry."""
    recent = Recent(2)
    recent["a"], recent["b"], recent["a"] = 1, 2, 3
    recent["c"] = 4

    assert 3 == recent["a"]
    assert "b" not in recent
