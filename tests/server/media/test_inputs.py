import hashlib
import os

import pytest

from server.media.inputs import SPARED, Inputs


@pytest.fixture
def clock():
    class Clock:
        now = 1_800_000_000.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def inputs(tmp_path, clock):
    return Inputs(tmp_path / "inputs", clock=clock)


def kept(inputs, data: bytes):
    with inputs.receive(1_000) as incoming:
        incoming.write(data)
        return inputs.keep(incoming)


def test_the_same_bytes_are_kept_once(inputs, tmp_path):
    """Fifty jobs with one picture cost one file."""
    first, second = kept(inputs, b"abc"), kept(inputs, b"abc")

    assert first == second == tmp_path / "inputs" / hashlib.sha256(b"abc").hexdigest()
    assert b"abc" == first.read_bytes()
    assert [first] == list((tmp_path / "inputs").iterdir())


def test_a_stored_file_is_linked_and_not_copied(inputs, tmp_path):
    """It may expire while its job waits; the job keeps it."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()

    path = inputs.link(blob, sha256)
    again = inputs.link(blob, sha256)
    blob.unlink()

    assert path == again
    assert b"abc" == path.read_bytes()
    assert [path] == list((tmp_path / "inputs").iterdir())


def test_what_no_job_needs_is_swept_in_the_end(inputs, clock):
    """And not at once: a job that is being prepared has not said yet what it needs."""
    needed, left = kept(inputs, b"needed"), kept(inputs, b"left")
    for path in (needed, left):
        os.utime(path, (clock.now, clock.now))

    assert 0 == inputs.sweep({needed.name})
    clock.now += SPARED + 1
    assert 1 == inputs.sweep({needed.name})
    assert (True, False) == (needed.exists(), left.exists())


def test_a_file_that_is_used_again_is_spared_again(inputs, tmp_path, clock):
    """Its job has not been written down yet."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    path = inputs.link(blob, "abc")
    clock.now += SPARED + 1

    inputs.link(blob, "abc")

    assert 0 == inputs.sweep(())
    assert path.exists()


def test_nothing_is_left_of_what_broke_off(inputs, tmp_path):
    """A download that fails half-way leaves no half file."""
    with pytest.raises(RuntimeError), inputs.receive(1_000) as incoming:
        incoming.write(b"half")
        raise RuntimeError

    assert [] == list((tmp_path / "inputs").iterdir())
