"""JSON lines over a Unix socket."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from server.dispatch import lines
from server.dispatch.lines import Lines, connect, listen
from server.dispatch.slot import Quit


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    pair = Lines(ours), theirs
    yield pair
    pair[0].close()
    theirs.close()


def test_lines_arrive_whole_however_they_were_cut(pair):
    """A socket knows bytes; half a message must wait for its other half."""
    receiver, sender = pair
    sender.sendall(b'{"say":')
    with pytest.raises(TimeoutError):
        receiver.receive(0.05)
    sender.sendall(b'"quit"}\nsecond\nthi')

    assert b'{"say":"quit"}' == receiver.receive(1)
    assert b"second" == receiver.receive(1)
    with pytest.raises(TimeoutError):
        receiver.receive(0.05)


def test_the_end_of_the_connection_is_none(pair):
    """Half a line of a process that died is not a message."""
    receiver, sender = pair
    sender.sendall(b"half a li")
    sender.close()

    assert receiver.receive(1) is None


def test_a_message_is_one_line(pair):
    """Whatever is in it: JSON has no bare newlines."""
    sender, receiver = pair
    sender.send(Quit())

    assert b'{"say":"quit"}\n' == receiver.recv(100)


def test_closing_wakes_who_waits(pair):
    """A slot is killed while its listener waits for it without a limit."""
    receiver, _ = pair
    heard = []
    listener = threading.Thread(target=lambda: heard.append(receiver.receive()))
    listener.start()
    receiver.close()
    listener.join(10)

    assert [None] == heard
    assert receiver.receive(1) is None


def test_a_peer_that_reads_nothing_is_given_up(monkeypatch):
    """An engine must not wait for ever for a server that is frozen."""
    monkeypatch.setattr(lines, "SEND_TIMEOUT", 1)
    ours, theirs = socket.socketpair()
    sender = Lines(ours)
    with pytest.raises(BlockingIOError):
        while True:
            sender.send(Quit())
    sender.close()
    theirs.close()


def test_a_socket_may_be_deep_in_the_file_system(tmp_path):
    """The kernel cuts addresses at 107 bytes; data directories are where operators want them."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    listener = listen(folder / "gpu0.sock")
    ours = connect(folder / "gpu0.sock")
    theirs, _ = listener.accept()
    theirs.sendall(b"hello\n")

    assert b"hello" == ours.receive(1)
    assert os.getpid() == ours.peer_pid()

    ours.close()
    theirs.close()
    listener.close()


def test_a_new_listener_takes_the_place_of_a_dead_one(tmp_path):
    """A process that was killed leaves its socket behind."""
    listen(tmp_path / "gpu0.sock").close()
    with pytest.raises(ConnectionRefusedError):
        connect(tmp_path / "gpu0.sock")
    listener = listen(tmp_path / "gpu0.sock")
    connect(tmp_path / "gpu0.sock").close()
    listener.close()


def test_nobody_there_is_an_error(tmp_path):
    """The slot starts a process then."""
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "gpu0.sock")
