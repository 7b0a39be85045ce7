"""Whose turn it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from server.jobs.model import Prepared, Priority
from tests.server.jobs.requests import a_request

NOTHING = frozenset()


def test_jobs_are_claimed_in_order_of_submission(store):
    """First come, first served."""
    ids = [store.submit(a_request()).id for _ in range(3)]

    assert ids == [store.claim("gpu0", NOTHING).id for _ in range(3)]
    assert store.claim("gpu0", NOTHING) is None


def test_normal_jobs_go_before_low_ones(store):
    """`X-Fal-Queue-Priority: low` lets everybody else pass."""
    low = store.submit(a_request(priority=Priority.LOW)).id
    normal = store.submit(a_request()).id

    assert [normal, low] == [store.claim("gpu0", NOTHING).id for _ in range(2)]


def test_eight_slots_never_claim_the_same_job(store):
    """One job on two GPUs is one GPU wasted and two results."""
    submitted = {store.submit(a_request()).id for _ in range(40)}

    def drain(slot):
        claimed = []
        while job := store.claim(slot, NOTHING):
            claimed.append(job.id)
        return claimed

    with ThreadPoolExecutor(8) as pool:
        claims = [id for ids in pool.map(drain, [f"gpu{i}" for i in range(8)]) for id in ids]

    assert submitted == set(claims)
    assert 40 == len(claims)


def test_a_slot_prefers_a_job_whose_model_it_holds(store):
    """Loading another model costs minutes."""
    store.submit(a_request(affinity="other"))
    suits = store.submit(a_request(affinity="mine")).id

    assert suits == store.claim("gpu0", frozenset({"mine"})).id


def test_a_job_is_passed_over_at_most_eight_times(store):
    """Looking ahead without a bound starves whoever wants another model, for as long as it runs."""
    waiting = [store.submit(a_request(affinity="other")).id for _ in range(2)]
    claims = []
    while not set(waiting) <= set(claims):
        store.submit(a_request(affinity="mine"))
        claims.append(store.claim("gpu0", frozenset({"mine"})).id)

    assert 8 == claims.index(waiting[0])
    assert 9 == claims.index(waiting[1])


def test_preference_never_crosses_priorities(store):
    """A low job does not overtake a normal one for having the right model."""
    normal = store.submit(a_request(affinity="other")).id
    store.submit(a_request(affinity="mine", priority=Priority.LOW))

    assert normal == store.claim("gpu0", frozenset({"mine"})).id


def test_positions_count_down(store):
    """What a client sees while it waits."""
    ids = [store.submit(a_request()).id for _ in range(3)]
    seen = []
    for _ in ids:
        seen.append([store.position(id) for id in ids])
        store.claim("gpu0", NOTHING)

    assert [[0, 1, 2], [0, 0, 1], [0, 0, 0]] == seen


def test_a_job_that_is_not_prepared_stands_aside(store):
    """A slow download of one client is not waited for by the next one's job, nor by a slot."""
    first = store.submit(a_request(to_prepare=True)).id
    second = store.submit(a_request(priority=Priority.LOW)).id

    assert [first] == [job.id for job in store.unprepared()]
    assert (0, 1) == (store.position(first), store.position(second))
    assert second == store.claim("gpu0", NOTHING).id
    assert store.claim("gpu0", NOTHING) is None
    assert store.prepare(first, Prepared(sources={"url": "file"}))
    assert [] == store.unprepared()
    assert {"url": "file"} == store.claim("gpu0", NOTHING).prepared.sources
