"""A slot on this machine: found, started, watched, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest

from server.dispatch.local_slot import LocalSlot, local_slots
from server.dispatch.slot import Alive, Cancelled, Done, Errand, Lost, Quit, Run, Said
from server.endpoints import ENDPOINTS
from tests.server.dispatch.conftest import freeze, processes_of, wait_until

ERRAND = Errand(job="a", attempt=1)


@pytest.fixture
def make_slot(settings):
    """Make slots of one name; whatever runs in the end is killed."""
    slots = []

    def make(**changes):
        slots.append(LocalSlot("cpu0", "cpu", settings.model_copy(update=changes)))
        return slots[-1]

    yield make
    for slot in slots:
        slot.kill()
    for pid in processes_of(settings.data_dir):
        os.kill(pid, signal.SIGKILL)


def order(settings, prompt, errand=ERRAND):
    outputs = settings.data_dir / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    endpoint = ENDPOINTS["fal-ai/wan/v2.2-a14b/text-to-video"]
    plan = endpoint.plan(endpoint.input.model_validate({"prompt": prompt}), 3, {})
    output = outputs / f"{errand.job}.{errand.attempt}.mp4"
    return Run(errand=errand, plan=plan, output=str(output))


def until(slot, kind):
    """Receive until a message of *kind* comes, and return it."""
    while True:
        message = slot.receive()
        if isinstance(message, kind):
            return message


def abandon(slot):
    """Lose the connection as a killed server does, and nothing else; return the child."""
    child = slot._process._child
    slot._lines.close()
    slot._lines = slot._process = None
    return child


def test_a_plan_goes_out_and_a_video_comes_back(make_slot, settings):
    """The dispatcher's whole view of a GPU."""
    slot = make_slot()
    hello = slot.start()
    slot.send(order(settings, "steps=2"))
    done = until(slot, Done)

    assert ("cpu0", "fake", slot.pid) == (hello.slot, hello.device, hello.pid)
    assert ERRAND == done.errand


def test_the_child_is_no_part_of_our_terminal(make_slot):
    """Ctrl-C is for the server, which lets the running job end first."""
    slot = make_slot()
    slot.start()

    assert slot.pid == os.getsid(slot.pid) != os.getsid(0)


def test_a_dead_child_is_lost_at_once_and_a_new_one_starts(make_slot, settings):
    """The pipe tells; nobody waits for a timeout, which would be longer than this test may take."""
    slot = make_slot(silence=3600.0)
    first = slot.start().pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Lost, match=r"killed by signal 9; see .*cpu0\.log"):
        until(slot, Done)

    assert slot.pid is None
    assert first != slot.start().pid


def test_a_silent_child_is_killed(make_slot):
    """Frozen: it neither works nor ends."""
    slot = make_slot(silence=1.5)
    pid = slot.start().pid
    freeze(pid)
    with pytest.raises(Lost, match="was silent for"):
        until(slot, Done)

    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - of a process, not of a file


def test_a_hung_engine_is_killed_while_its_heart_beats(make_slot, settings):
    """And not for being slow: the limit is far beyond what it was like so far."""
    slot = make_slot(step_patience=1.5)
    slot.start()
    slot.send(order(settings, "hang"))
    with pytest.raises(Lost, match="engine that said nothing"):
        until(slot, Done)


def test_a_slow_engine_is_not_taken_for_hung(make_slot, settings):
    """Ten times its longest silence so far, where that is more than the patience."""
    slot = make_slot(step_patience=0.3)
    slot.start()
    slot.send(order(settings, "steps=3 pause=0.2"))
    first = until(slot, Said)
    slot._longest = 10.0
    until(slot, Done)

    assert first.event.kind == "stage"


def test_killing_takes_the_whole_group(make_slot, settings):
    """The encoder is a child of the child, and a GPU is not free before all of them are gone."""
    slot = make_slot()
    slot.start()
    group = slot.pid
    slot.send(order(settings, "fork steps=1000 pause=0.1"))
    wait_until(lambda: len(members(group)) == 2)
    slot.kill()

    assert wait_until(lambda: not members(group))


def members(group):
    """Return the processes of *group* that still run."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,pgid,stat", "--no-headers"], capture_output=True, text=True, check=True
    ).stdout
    return [
        line for line in listed.splitlines() if line.split()[1] == str(group) and "Z" not in line
    ]


def test_a_child_that_outlived_its_server_is_adopted(make_slot, settings):
    """It goes on with its errand and tells the new server about it."""
    old, new = make_slot(), make_slot()
    pid = old.start().pid
    old.send(order(settings, "warn steps=20 pause=0.05"))
    until(old, Said)
    hello = start_beside(new, abandon(old))
    done = until(new, Done)

    assert (pid, ERRAND) == (hello.pid, hello.running)
    assert ERRAND == done.errand
    assert [pid] == processes_of(settings.data_dir)


def test_an_adopted_child_can_be_killed_too(make_slot, settings):
    """It is not our child any more, and there is nobody to wait for it but us."""
    old, new = make_slot(), make_slot()
    old.start()
    old.send(order(settings, "deaf"))
    until(old, Said)
    child = abandon(old)
    start_beside(new, child)
    new.kill()

    assert [] == processes_of(settings.data_dir)


@pytest.mark.parametrize("changes", [{"weights_dir": "other"}, {"quantization": "int8"}])
def test_a_child_of_other_settings_is_not_adopted(make_slot, settings, changes):
    """An operator who changes the weights directory wants the new weights."""
    old, new = make_slot(), make_slot(**changes)
    first = old.start().pid
    child = abandon(old)
    second = start_beside(new, child).pid

    assert first != second
    assert [second] == processes_of(settings.data_dir)


def test_a_frozen_child_is_not_adopted(make_slot, settings):
    """It would say nothing in this server either."""
    old, new = make_slot(), make_slot(silence=1.0)
    first = old.start().pid
    child = abandon(old)
    freeze(first)

    assert first != start_beside(new, child).pid
    assert child.poll() is not None


def start_beside(slot, child):
    """Start *slot* while somebody collects *child*, as init does when its server is gone."""
    threading.Thread(target=child.wait, daemon=True).start()
    return slot.start()


def test_a_child_that_does_not_come_up_is_told_with_its_log(make_slot, settings):
    """The reason is in there, in its own words."""
    slot = make_slot(weights_dir=settings.data_dir / "missing")
    with pytest.raises(Lost, match=r"exit code 1; see .*cpu0\.log"):
        slot.start()

    assert "FileNotFoundError" in slot.log_path.read_text()


def test_a_child_that_takes_too_long_is_killed(make_slot, settings):
    """A start without an end would be a GPU out of service without a word."""
    slot = make_slot(startup_patience=1.0, engine="tests.server.dispatch.fake_engine:open_slowly")
    with pytest.raises(Lost, match="did not say hello within"):
        slot.start()

    assert [] == processes_of(settings.data_dir)


def test_the_last_childs_log_is_kept_for_one_more(make_slot, settings):
    """Its traceback must survive the restart that it caused."""
    slot = make_slot(weights_dir=settings.data_dir / "missing")
    for _ in range(2):
        with pytest.raises(Lost):
            slot.start()

    assert "FileNotFoundError" in slot.log_path.with_suffix(".log.1").read_text()


def test_quitting_ends_the_child(make_slot, settings):
    """In good order: `receive` says when it is gone."""
    slot = make_slot()
    slot.start()
    slot.send(Quit())
    with pytest.raises(Lost, match="with exit code 0"):
        until(slot, Cancelled)

    assert [] == processes_of(settings.data_dir)


def test_a_slot_without_a_child_swallows_orders_and_is_lost(make_slot, settings):
    """Who sends need not care; who receives hears it."""
    slot = make_slot()
    slot.send(order(settings, "steps=1"))
    with pytest.raises(Lost, match="has no process"):
        slot.receive()
    slot.kill()


def test_a_sign_of_life_comes_every_second(make_slot):
    """Whatever the engine is busy with."""
    slot = make_slot()
    slot.start()

    assert Alive(idle_seconds=0.0) == slot.receive()


def test_the_cpu_is_one_slot(settings):
    """It says so without asking torch, which would take seconds."""
    assert [("cpu0", "cpu")] == [(slot.name, slot.device) for slot in local_slots(settings)]


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", [("cpu0", "cpu")]), ("cuda", [])], ids=["auto", "cuda"]
)
def test_a_machine_without_gpus(settings, monkeypatch, device, expected):
    """`auto` makes do with the CPU; who asks for CUDA gets no quiet replacement."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    slots = local_slots(settings.model_copy(update={"device": device}))

    assert expected == [(slot.name, slot.device) for slot in slots]
