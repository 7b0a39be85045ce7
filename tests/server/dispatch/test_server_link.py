"""The GPU process's end of the socket, with servers that come and go."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from server.dispatch.lines import connect
from server.dispatch.server_link import ServerLink
from server.dispatch.slot import (
    FROM_SLOT,
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Hello,
    Quit,
    Run,
    Said,
)
from server.endpoints import ENDPOINTS
from tests.server.dispatch.conftest import wait_until
from wan_local.events import Finished, Stage, StageStarted, StepDone, Warned
from wan_local.geometry import Size

ERRAND = Errand(job="a", attempt=1)
FINISHED = Finished("/out/a.1.mp4", Size(112, 64), 17, 16.0, 3)
DONE = Done(errand=ERRAND, finished=FINISHED, sha256="ab" * 32, size_bytes=7)


@pytest.fixture
def link(tmp_path):
    link = ServerLink(tmp_path / "gpu0.sock", slot="gpu0", grace=60.0)
    link.open("a GPU")
    yield link
    link.close()


@pytest.fixture
def server(tmp_path):
    """Connect as a server does; the connections end with the test."""
    connections = []

    def connect_once():
        connections.append(connect(tmp_path / "gpu0.sock"))
        return connections[-1]

    yield connect_once
    for connection in connections:
        connection.close()


def heard(connection, count):
    """Return the next *count* messages that are not mere signs of life."""
    messages = []
    while len(messages) < count:
        message = FROM_SLOT.validate_json(connection.receive(10))
        if not isinstance(message, Alive):
            messages.append(message)
    return messages


def an_order():
    endpoint = ENDPOINTS["fal-ai/wan/v2.2-a14b/text-to-video"]
    plan = endpoint.plan(endpoint.input.model_validate({"prompt": "a fox"}), 3, {})
    return Run(errand=ERRAND, plan=plan, output="/out/a.1.mp4")


def test_hello_is_the_first_word(link, server):
    """A server knows with whom it speaks before anything else."""
    assert [Hello(slot="gpu0", pid=os.getpid(), device="a GPU")] == heard(server(), 1)


def test_an_order_reaches_the_main_thread(link, server):
    """Received by one thread, carried out by another: CUDA likes the main one."""
    server().send(an_order())

    assert an_order() == link.next_order()


def test_events_reach_the_server(link, server):
    """And in the order in which they were said."""
    connection = server()
    heard(connection, 1)
    link.begin(ERRAND)
    link.say(StageStarted(Stage.DENOISE))
    link.say(StepDone(1, 4))
    link.end(Cancelled(errand=ERRAND))

    assert [
        Said(errand=ERRAND, event=StageStarted(Stage.DENOISE)),
        Said(errand=ERRAND, event=StepDone(1, 4)),
        Cancelled(errand=ERRAND),
    ] == heard(connection, 3)


def test_a_server_that_comes_late_hears_where_things_stand(link, server):
    """All warnings, the latest of everything else: its log must not miss what was not done."""
    link.begin(ERRAND)
    for event in (
        StageStarted(Stage.LOAD),
        Warned("one"),
        Warned("two"),
        StageStarted(Stage.DENOISE),
        StepDone(1, 4),
        StepDone(2, 4),
    ):
        link.say(event)
    hello, *said = heard(server(), 5)

    assert (ERRAND, None) == (hello.running, hello.ending)
    assert [Warned("one"), Warned("two"), StageStarted(Stage.DENOISE), StepDone(2, 4)] == [
        message.event for message in said
    ]


def test_an_ending_nobody_heard_is_kept(link, server):
    """In the hello, to be recognised by; and again after what was said before it."""
    link.begin(ERRAND)
    link.say(Warned("one"))
    link.end(DONE)
    hello, warned, done = heard(server(), 3)

    assert (None, DONE) == (hello.running, hello.ending)
    assert Warned("one") == warned.event
    assert DONE == done
    assert link.abandoned_output is None


def test_a_new_errand_is_the_end_of_the_old_ones_story(link, server):
    """A server must not adopt what was settled long ago."""
    link.begin(ERRAND)
    link.say(Warned("one"))
    link.end(DONE)
    link.begin(Errand(job="b", attempt=1))
    [hello] = heard(server(), 1)

    assert (Errand(job="b", attempt=1), None) == (hello.running, hello.ending)


def test_one_server_at_a_time_and_the_next_when_it_goes(link, server):
    """A killed server's connection ends with it, and the next one is greeted."""
    first = server()
    heard(first, 1)
    second = server()
    with pytest.raises(TimeoutError):
        second.receive(0.2)
    first.close()

    assert isinstance(heard(second, 1)[0], Hello)


def test_a_cancel_is_for_one_errand(link, server):
    """One that arrives late must not hit the next job."""
    link.begin(ERRAND)
    server().send(Cancel(errand=ERRAND))
    wait_until(lambda: link.dropped(ERRAND))

    assert not link.dropped(Errand(job="a", attempt=2))


def test_quit_drops_everything(link, server):
    """The running errand at its next event, and the wait for another one."""
    server().send(Quit())

    assert link.next_order() is None
    assert link.dropped(ERRAND)


def test_gibberish_costs_the_connection_and_not_the_process(link, server):
    """A server of another release; the next one may be ours."""
    first = server()
    heard(first, 1)
    first._connection.sendall(b'{"say": "sing"}\n')
    wait_until(lambda: is_over(first))

    assert isinstance(heard(server(), 1)[0], Hello)


def is_over(connection):
    try:
        return connection.receive(0.1) is None
    except TimeoutError:
        return False


def test_signs_of_life_tell_how_long_the_engine_has_been_silent(link, server):
    """A hung kernel leaves the heartbeat's thread alone; the number gives it away."""
    connection = server()
    heard(connection, 1)
    idle = FROM_SLOT.validate_json(connection.receive(10))
    link.begin(ERRAND)
    busy = [FROM_SLOT.validate_json(connection.receive(10)) for _ in range(2)]

    assert Alive(idle_seconds=0.0) == idle
    assert busy[1].idle_seconds > busy[0].idle_seconds >= 0


ALONE = """
import sys
from pathlib import Path
from server.dispatch import server_link
from server.dispatch.slot import Errand

server_link.FIRST_PATIENCE = 0.1
server_link.LAST_PATIENCE = 5.0 if sys.argv[2] == "idle" else 0.5
link = server_link.ServerLink(Path(sys.argv[1]), slot="gpu0", grace=0.1)
link.open("a GPU")
if sys.argv[2] == "idle":
    assert link.next_order() is None
    link.close()
else:
    import threading
    link.begin(Errand(job="a", attempt=1))
    threading.Event().wait()
"""


@pytest.mark.parametrize(("state", "code"), [("idle", 0), ("hung", 1)])
def test_a_process_without_a_server_ends(tmp_path, state, code):
    """Nobody kills orphans, so there must be none; not even one whose engine hangs."""
    command = [sys.executable, "-c", ALONE, tmp_path / "gpu0.sock", state]

    assert code == subprocess.run(command, timeout=30, capture_output=True).returncode
