"""The rules of the queue as a state machine, and the proof that it would notice broken ones."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.jobs.model import TRANSITIONS, JobState, NewJob, Prepared
from server.jobs.rows import QUERIES
from server.jobs.store import JobStore
from server.jobs.transitions import PASSES
from server.reporting import engine_failed, succeeded

IN_MEMORY = Path("/dev/shm")
MAX_ATTEMPTS = 3
SLOTS = {"gpu0": frozenset({"a"}), "gpu1": frozenset({"b"})}
OUTCOMES = [succeeded({"seed": 1}), engine_failed("InvalidPlan", "no")]


class Queue(RuleBasedStateMachine):
    """Clients, slots that die, and a server that is restarted, against a model of what is due."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        # In memory where there is such a place: what fsync promises is not asked here.
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.open()
        self.last = {}
        self.requests = {}
        self.attempts = []
        self.passes = Counter()
        self.wanted = set()

    def open(self) -> None:
        path = Path(self.folder.name) / "jobs.db"
        self.store = JobStore(path, max_attempts=MAX_ATTEMPTS, clock=lambda: self.now)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def queued(self) -> list[str]:
        """Return the waiting jobs in the order in which they should be served."""
        waiting = [job for job in self.last.values() if job.state is JobState.QUEUED]
        return [
            job.id for job in sorted(waiting, key=lambda job: (job.request.priority, job.number))
        ]

    def ready(self) -> list[str]:
        """Return those of them that a slot may have."""
        return [id for id in self.queued() if self.last[id].prepared is not None]

    def due(self, line: list[str], holds: frozenset[str]) -> str:
        """Return whom a slot should get of *line*."""
        for id in line:
            request = self.last[id].request
            if request.priority != self.last[line[0]].request.priority:
                break
            if request.affinity in holds or self.passes[id] >= PASSES:
                return id
        return line[0]

    def living_attempts(self) -> list[tuple[str, int]]:
        """Return the attempts of the jobs that are running, present and stale ones.

        And the latest one of all: a slot may also speak of a job that has ended.
        """
        return self.attempts[-1:] + [
            (id, attempt)
            for id, attempt in self.attempts
            if self.last[id].state is JobState.RUNNING
        ]

    @precondition(lambda self: len(self.queued()) < 4)
    @rule(
        target=jobs,
        priority=st.sampled_from([0, 0, 1]),
        affinity=st.sampled_from("ab"),
        retry=st.sampled_from([True, True, False]),
        patience=st.sampled_from([None, 3.0]),
        key=st.sampled_from([None, None, None, "once"]),
        to_prepare=st.sampled_from([False, False, False, True]),
    )
    def submit(self, priority, affinity, retry, patience, key, to_prepare):
        new = NewJob(
            endpoint="e",
            input={},
            seed=1,
            priority=priority,
            affinity=affinity,
            retry=retry,
            start_deadline=None if patience is None else self.now + patience,
            idempotency_key=key,
            to_prepare=to_prepare,
            webhook="http://studio/hook",
        )
        job = self.store.submit(new)
        known = [id for id, request in self.requests.items() if key and request == key]

        assert known in ([], [job.id])

        self.requests[job.id] = key
        return job.id

    @precondition(lambda self: self.store.unprepared())
    @rule(found=st.booleans())
    def prepare(self, found):
        """A second time changes nothing, nor does a bad input that is noticed too late."""
        id = self.store.unprepared()[0].id
        if not found:
            assert self.store.refuse(id, OUTCOMES[1])
            return
        assert self.store.prepare(id, Prepared(sources={"first": 1}))
        assert not self.store.prepare(id, Prepared(sources={"second": 2}))
        assert {"first": 1} == self.store.get(id).prepared.sources
        for running in self.store.running():
            assert not self.store.refuse(running.id, OUTCOMES[1])

    @precondition(lambda self: self.ready())
    @rule(slot=st.sampled_from(sorted(SLOTS)))
    def claim(self, slot):
        self.serve(slot)

    @precondition(lambda self: self.ready())
    @rule()
    def claim_for_the_first(self):
        """Again: chance alone rarely gets a job to its second and third attempts."""
        self.serve("gpu0")

    def serve(self, slot):
        self.see(self.store.expire())
        line = self.ready()
        job = self.store.claim(slot, SLOTS[slot])

        if not line:
            assert job is None
            return
        assert self.due(line, SLOTS[slot]) == job.id
        assert self.last[job.id].attempt + 1 == job.attempt

        self.passes.update(line[: line.index(job.id)])
        self.passes.pop(job.id, None)
        self.attempts.append((job.id, job.attempt))

    @precondition(lambda self: self.living_attempts())
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def finish(self, data, outcome):
        """A result may come from any attempt, the stale ones too."""
        id, attempt = data.draw(st.sampled_from(self.living_attempts()))
        before = self.last[id]
        taken = self.store.finish(id, attempt, outcome)
        owns = before.state is JobState.RUNNING and before.attempt == attempt

        assert taken == (owns and id not in self.wanted)

    @precondition(lambda self: self.living_attempts())
    @rule(data=st.data())
    def slot_dies(self, data):
        self.release(data.draw(st.sampled_from(self.living_attempts())), crashed=True)

    @precondition(lambda self: self.living_attempts())
    @rule(data=st.data())
    def slot_is_drained(self, data):
        self.release(data.draw(st.sampled_from(self.living_attempts())), crashed=False)

    def release(self, id_and_attempt, *, crashed):
        id, attempt = id_and_attempt
        before = self.last[id]
        after = self.store.release(id, attempt, crashed=crashed)
        owns = before.state is JobState.RUNNING and before.attempt == attempt

        assert (after is not None) == owns

        if after is None:
            return
        assert before.crashes + crashed == after.crashes
        if id in self.wanted:
            assert after.state is JobState.CANCELLED
        elif crashed and (after.crashes == MAX_ATTEMPTS or not after.request.retry):
            assert after.state is JobState.FAILED
        else:
            assert after.state is JobState.QUEUED

    @precondition(lambda self: self.attempts)
    @rule(id=jobs)
    def cancel(self, id):
        before = self.last[id]
        job = self.store.cancel(id)
        if before.state is JobState.RUNNING:
            self.wanted.add(id)

        assert {
            JobState.QUEUED: JobState.CANCELLED,
        }.get(before.state, before.state) is job.state

    @precondition(lambda self: any(job.request.start_deadline for job in self.last.values()))
    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def wait(self, seconds):
        self.now += seconds
        self.see(self.store.expire())

    @precondition(lambda self: self.attempts)
    @rule()
    def restart(self):
        before = {id: self.store.get(id) for id in self.last}
        self.store.close()
        self.open()
        # In memory on purpose: everybody may be passed over again.
        self.passes.clear()

        assert before == {id: self.store.get(id) for id in before}

    def see(self, expired):
        for job in expired:
            assert (JobState.QUEUED, 0) == (self.last[job.id].state, self.last[job.id].attempt)
            assert job.request.start_deadline <= self.now
            self.last[job.id] = job
        waiting = [self.last[id] for id in self.queued() if self.last[id].attempt == 0]

        assert not [job for job in waiting if (job.request.start_deadline or 1e9) <= self.now]

    @invariant()
    def every_change_is_legal_and_the_disk_agrees(self):
        for id in self.requests:
            job = self.store.get(id)
            before = self.last.get(id, job)

            assert before.state is job.state or job.state in TRANSITIONS[before.state]
            assert before.outcome in (None, job.outcome)
            assert before.attempt <= job.attempt <= before.attempt + 1
            assert (job.outcome is not None) == job.state.is_final
            assert not (id in self.wanted and job.state is JobState.SUCCEEDED)
            assert job.prepared is not None or job.attempt == 0

            self.last[id] = job
        line = self.queued()

        assert list(range(len(line))) == [self.store.position(id) for id in line]
        assert Counter(job.state for job in self.last.values()) == Counter(self.store.counts())
        owed = Counter(due.job.id for due in self.store.due_webhooks(self.now, 1000))
        assert Counter(id for id, job in self.last.items() if job.state.is_final) == owed


def run(examples: int, **more: object) -> None:
    """Let the machine try *examples* histories; the same ones each time."""
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


def test_no_history_breaks_the_rules():
    """Every order of submissions, claims, deaths, cancels and restarts keeps every promise."""
    run(examples=25)


# A bug is a statement with a clause too few: what a careless edit would leave.
PLANTED = {
    "a stale attempt may finish": ("finish", "AND attempt = :attempt AND state", "AND state"),
    "a finished job may finish again": ("finish", " AND state = 'running'", ""),
    "priorities are ignored": (
        "next_in_line",
        "SELECT min(priority) FROM jobs WHERE state = 'queued' AND prepared IS NOT NULL",
        "priority",
    ),
    "whoever is not prepared is served": ("next_in_line", "AND prepared IS NOT NULL", ""),
    "what was found changes": ("prepare", "AND prepared IS NULL", ""),
    "the latest job comes first": ("next_in_line", "ORDER BY number", "ORDER BY number DESC"),
    "a wished cancel is forgotten": (
        "request_cancel",
        "cancel_requested = 1",
        "cancel_requested = 0",
    ),
    "crashes are not counted": ("blame", "crashes + 1", "crashes"),
    "a stale attempt is blamed": ("blame", "AND attempt = :attempt AND", "AND"),
    "deadlines are not kept": ("overdue", "start_deadline <= :now", "start_deadline < 0"),
    "deadlines strike jobs that had started": ("overdue", "AND attempt = 0 AND", "AND"),
    "attempts are not counted": ("claim", "attempt = attempt + 1", "attempt = attempt"),
    "a restart loses the waiting": ("live", "('queued', 'running')", "('running')"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug, monkeypatch):
    """A state machine that finds nothing may be looking at nothing."""
    name, clause, replacement = PLANTED[bug]
    assert clause in QUERIES[name]
    monkeypatch.setitem(QUERIES, name, QUERIES[name].replace(clause, replacement))
    with pytest.raises(Exception):  # noqa: B017 - however it shows
        run(examples=400, phases=[Phase.generate], print_blob=False)
