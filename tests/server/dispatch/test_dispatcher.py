"""Jobs from the queue to their results, through real processes that die in every way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.jobs.model import JobState, LogEntry, Prepared
from server.jobs.store import JobStore
from server.reporting import cancelled, crashed, never_started
from tests.server.dispatch.conftest import freeze, processes_of, wait_until


def test_a_job_becomes_a_stored_video(house):
    """The whole way: claimed, planned, run, hashed, stored, answered."""
    id = house.submit("steps=3")
    job = house.ended(id)
    video = job.outcome.body["video"]

    assert JobState.SUCCEEDED is job.state
    assert {
        "content_type": "video/mp4",
        "file_name": f"{id}.mp4",
        "file_size": len(house.video(job)),
        "width": 1280,
        "height": 720,
        "fps": 16.0,
        "num_frames": 81,
        "duration": 5.0625,
    }.items() <= video.items()
    assert ("steps=3", 3) == (job.outcome.body["prompt"], job.outcome.body["seed"])
    assert house.video(job).startswith(b"steps=3\n")
    wait_until(house.is_tidy)


def test_the_log_tells_what_the_engine_does(house):
    """Clients print it as it comes, and draw bars from `denoise 3/27`."""
    log = house.log(house.ended(house.submit("warn steps=2")).id)

    assert "started on cpu0, attempt 1" == log[0]
    assert {"this engine has no safety checker", "denoise 2/2", "decode 81/81"} <= set(log)
    assert log[-1].startswith("done in ")


def test_a_job_waits_until_it_is_prepared_and_says_what_was_found(house):
    """The slot is free all the time, and another job passes."""
    id = house.submit("steps=1", to_prepare=True)
    house.ended(house.submit("steps=1"))
    assert JobState.QUEUED is house.jobs.get(id).state
    note = LogEntry(1.0, "WARN", "the prompt stays as it was")

    house.jobs.prepare(id, Prepared(notes=(note,)))

    assert note == house.ended(id).log[0]


def test_fifty_jobs_of_four_threads_all_finish_once(open_house):
    """Nothing is lost, nothing is done twice, and whoever waits sees the line move up."""
    house = open_house(slots=2)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda number: house.submit(f"pause=0.02 n={number}"), range(50)))
    positions = []
    while not house.jobs.get(ids[-1]).state.is_final:
        positions.append(house.jobs.position(ids[-1]))
    jobs = [house.ended(id) for id in ids]

    assert {JobState.SUCCEEDED} == {job.state for job in jobs}
    assert {1} == {house.executions(id) for id in ids}
    assert 50 == len({job.outcome.body["video"]["url"] for job in jobs})
    assert [f"pause=0.02 n={number}" for number in range(50)] == [
        house.video(job).decode().splitlines()[0] for job in jobs
    ]
    assert positions == sorted(positions, reverse=True)
    assert {"cpu0", "cpu1"} == {job.slot for job in jobs}


def test_a_killed_process_costs_one_attempt(house):
    """A segmentation fault in CUDA: the job is run again, in a new process, to its result."""
    id = house.submit("steps=100 pause=0.02")
    house.said(id, "denoise")
    first = house.pid()
    house.kill_child()
    job = house.ended(id)

    assert (JobState.SUCCEEDED, 2, 1) == (job.state, job.attempt, job.crashes)
    assert "attempt 1 was lost with its GPU process" in house.log(id)
    assert first != house.pid()
    wait_until(house.is_tidy)


def test_a_poison_job_stops_at_three(house):
    """Everybody else waits for three restarts, and no longer."""
    poison, innocent = house.submit("crash"), house.submit("steps=1")
    job = house.ended(poison)

    assert crashed(3) == job.outcome
    assert 3 == house.executions(poison)
    assert JobState.SUCCEEDED is house.ended(innocent).state


def test_a_job_without_retries_fails_at_its_first_crash(house):
    """`X-Fal-No-Retry: 1`."""
    id = house.submit("crash", retry=False)

    assert crashed(1) == house.ended(id).outcome
    assert 1 == house.executions(id)


def test_a_frozen_process_is_noticed_and_replaced(open_house):
    """SIGSTOP, swapping to death, a driver that never returns: no heartbeat."""
    house = open_house(silence=2.0)
    id = house.submit("steps=100 pause=0.02")
    house.said(id, "denoise")
    freeze(house.pid())
    job = house.ended(id)

    assert (JobState.SUCCEEDED, 2) == (job.state, job.attempt)


def test_a_hung_engine_is_noticed_while_its_heart_beats(open_house):
    """A kernel that never ends leaves the heartbeat's thread alive."""
    house = open_house(step_patience=1.0, max_attempts=1)
    id = house.submit("hang")

    assert crashed(1) == house.ended(id).outcome
    assert 1 == house.executions(id)


@pytest.mark.parametrize("error", ["bug", "hungry", "nothing"])
def test_an_unexpected_error_fails_the_job_and_keeps_the_process(house, error):
    """The loaded weights are worth minutes; the internals are nobody's business."""
    pid = house.pid()
    job = house.ended(house.submit(error))

    assert (JobState.FAILED, 500) == (job.state, job.outcome.status_code)
    assert "secret internals" not in str(job.outcome)
    assert pid == house.pid()
    assert JobState.SUCCEEDED is house.ended(house.submit("steps=1")).state
    assert "Traceback" in house.slots[0].log_path.read_text()


def test_a_refusal_of_the_engine_reaches_the_client_in_its_words(house):
    """It is a sentence about the request, and the request is the client's."""
    job = house.ended(house.submit("invalid"))

    assert "a plan this engine refuses" == job.outcome.error
    assert 422 == job.outcome.status_code


def test_a_broken_cuda_context_is_left_with_its_process(house):
    """After a device-side assert nothing works in that process any more."""
    job = house.ended(house.submit("broken"))

    assert (JobState.SUCCEEDED, 2, 1) == (job.state, job.attempt, job.crashes)


def test_input_of_an_older_release_fails_alone(house):
    """The plan is made again at hand-over; the release may have changed in between."""
    id = house.submit("", input={"prompt": "a fox", "num_frames": 10_000})
    gone = house.submit("a fox", endpoint="fal-ai/wan/gone")

    assert 422 == house.ended(id).outcome.status_code
    assert "there is no endpoint fal-ai/wan/gone any more" == house.ended(gone).outcome.error
    assert JobState.SUCCEEDED is house.ended(house.submit("steps=1")).state


def test_a_running_job_is_cancelled_at_its_next_step(house):
    """The GPU is free within a step, the process lives on, and no file is left."""
    id = house.submit("steps=2000 pause=0.02")
    house.said(id, "denoise")
    pid = house.pid()
    house.jobs.cancel(id)

    assert cancelled() == house.ended(id).outcome
    assert JobState.SUCCEEDED is house.ended(house.submit("steps=1")).state
    assert pid == house.pid()
    wait_until(house.is_tidy)


def test_a_job_that_ignores_its_cancel_is_killed(house, monkeypatch):
    """A cancel is a promise, whatever the engine is stuck in."""
    monkeypatch.setattr("server.dispatch.attendant.CANCEL_PATIENCE", 0.5)
    id = house.submit("deaf")
    house.said(id, "load")
    house.jobs.cancel(id)

    assert cancelled() == house.ended(id).outcome
    assert JobState.SUCCEEDED is house.ended(house.submit("steps=1")).state


def test_a_waiting_job_ends_at_its_deadline(house):
    """Also when no slot asks for work."""
    runs = house.submit("steps=2000 pause=0.02")
    house.said(runs, "denoise")
    late = house.submit("steps=1", start_deadline=1.0)

    assert never_started() == house.ended(late).outcome

    house.jobs.cancel(runs)


def test_stopping_lets_the_running_job_end(open_house):
    """A deployment does not cost anybody a video, if the operator has the time."""
    house = open_house(start=False)
    house.dispatcher.start()
    runs, waits = house.submit("steps=20 pause=0.05"), house.submit("steps=1")
    house.said(runs, "denoise")
    house.close(drain=30.0)
    store = JobStore(house.data / "jobs.db")
    states = [store.get(id).state for id in (runs, waits)]
    store.close()

    assert [JobState.SUCCEEDED, JobState.QUEUED] == states
    assert [] == processes_of(house.data)


def test_stopping_puts_back_what_does_not_end_in_time(open_house):
    """Without blame: it was the operator's wish."""
    house = open_house(start=False)
    house.dispatcher.start()
    id = house.submit("steps=2000 pause=0.02")
    house.said(id, "denoise")
    house.close(drain=0.2)
    store = JobStore(house.data / "jobs.db")
    job = store.get(id)
    store.close()

    assert (JobState.QUEUED, 0) == (job.state, job.crashes)
    assert [] == processes_of(house.data)
    assert [] == list((house.data / "outputs").iterdir())


def test_stopping_does_not_wait_for_a_slot_that_is_starting(open_house):
    """Loading torch from a cold disk takes a minute that nobody wants to wait for."""
    house = open_house(start=False, engine="tests.server.dispatch.fake_engine:open_slowly")
    house.dispatcher.start()
    wait_until(lambda: processes_of(house.data))
    house.close()

    assert [] == processes_of(house.data)


def test_a_slot_that_does_not_come_up_says_why(open_house):
    """The operator finds the reason in the list of slots, and the log it names."""
    house = open_house(weights_dir=open_house(start=False).data / "missing")
    [slot] = wait_until(lambda: [slot for slot in house.dispatcher.describe() if slot["problem"]])

    assert "down" == slot["state"]
    assert "exit code 1" in slot["problem"]
    assert "cpu0.log" in slot["problem"]
    assert "FileNotFoundError" in house.slots[0].log_path.read_text()


SMALL_SERVER = """
import sys, threading
from pathlib import Path
from server.settings import Settings
from tests.server.dispatch.conftest import House

house = House(Settings.model_validate_json(sys.argv[1]))
house.dispatcher.start()
threading.Event().wait()
"""


@pytest.fixture
def small_server(settings):
    """Start a server without HTTP in a process of its own."""
    servers = []

    def start() -> subprocess.Popen:
        settings.data_dir.mkdir(exist_ok=True)
        command = [sys.executable, "-c", SMALL_SERVER, settings.model_dump_json()]
        servers.append(subprocess.Popen(command))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        server.wait()


def test_a_killed_servers_job_goes_on_and_is_adopted(open_house, small_server):
    """Twenty minutes of GPU time are not lost to a crash of the control process."""
    waiting = open_house(start=False)
    id = waiting.submit("steps=60 pause=0.1 warn")
    waiting.jobs.close()
    server = small_server()
    wait_until(lambda: (waiting.data / "executions").exists())
    [pid] = wait_until(lambda: processes_of(waiting.data))
    server.kill()
    server.wait()
    house = open_house()
    job = house.ended(id)

    assert (JobState.SUCCEEDED, 1, 1) == (job.state, job.attempt, house.executions(id))
    assert pid == house.pid()
    assert {"a restarted server took attempt 1 over", "this engine has no safety checker"} <= set(
        house.log(id)
    )


def test_a_job_that_ended_while_no_server_was_there_is_delivered(open_house, small_server):
    """The GPU process keeps the ending until somebody asks for it."""
    waiting = open_house(start=False)
    id = waiting.submit("steps=20 pause=0.1")
    waiting.jobs.close()
    server = small_server()
    wait_until(lambda: (waiting.data / "executions").exists())
    server.kill()
    server.wait()
    wait_until(lambda: list((waiting.data / "outputs").glob("*.mp4")))
    house = open_house()

    assert JobState.SUCCEEDED is house.ended(id).state
    assert 1 == house.executions(id)
    assert house.video(house.jobs.get(id))


def test_a_job_whose_process_died_with_the_server_is_run_again(open_house, small_server):
    """A power failure: nobody is there to be adopted, and nobody is to blame."""
    waiting = open_house(start=False)
    id = waiting.submit("steps=100 pause=0.02")
    waiting.jobs.close()
    server = small_server()
    wait_until(lambda: (waiting.data / "executions").exists())
    server.kill()
    server.wait()
    for pid in processes_of(waiting.data):
        os.kill(pid, signal.SIGKILL)
    house = open_house()
    job = house.ended(id)

    assert (JobState.SUCCEEDED, 2, 0) == (job.state, job.attempt, job.crashes)


def test_a_job_of_a_slot_that_is_gone_goes_to_another(open_house):
    """A machine that comes back with one GPU less."""
    before = open_house(start=False)
    id = before.submit("steps=1")
    before.jobs.claim("gpu7", frozenset())
    before.jobs.close()
    job = open_house().ended(id)

    assert (JobState.SUCCEEDED, 2, 0, "cpu0") == (job.state, job.attempt, job.crashes, job.slot)


def test_a_locked_store_does_not_lose_a_result(house, monkeypatch):
    """Twenty minutes of GPU time wait for the disk, not the other way round."""
    monkeypatch.setattr("server.dispatch.attendant.STORE_PAUSE", 0.1)
    house.jobs._database.write(lambda sql: sql.execute("PRAGMA busy_timeout = 100").fetchall())
    id = house.submit("steps=20 pause=0.05")
    house.said(id, "denoise")
    other = sqlite3.connect(house.data / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    wait_until(lambda: list((house.data / "files" / "index").iterdir()))
    other.execute("ROLLBACK")
    other.close()

    assert JobState.SUCCEEDED is house.ended(id).state
    assert 1 == house.executions(id)
