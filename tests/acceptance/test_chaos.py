"""Kills of a real server and its GPU process; `python -m benchmarks.chaos` is the long version."""

from __future__ import annotations

from benchmarks import chaos


def test_kills_in_the_middle_of_jobs_lose_nothing_and_double_nothing(tmp_path):
    """The queue's whole promise, kept by real processes under kill -9."""
    order = chaos.Order(
        gpu_kills=3,
        server_kills=3,
        seed=1,
        engine="tests.server.dispatch.fake_engine:open_engine",
        prompt="steps=15 pause=0.1",
        spread=1.0,
    )
    verdict = chaos.run(order, tmp_path)

    assert (3, 3) == (verdict.gpu_kills, verdict.server_kills)
    assert verdict.good, verdict
    assert verdict.acknowledged >= 4
    assert verdict.adopted >= 2
