"""fal_client 1.0.3, unmodified, over TLS, with the variables that `wan-local serve` prints."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running_server import ROOT
from tests.watching import assert_moving_pictures, watch


@pytest.fixture
def run_client(server):
    """Run one program of sync_client.py or async_client.py and return what it saw."""

    def run_client(module, program):
        ran = subprocess.run(
            [sys.executable, "-m", f"tests.contract.{module}", program],
            cwd=ROOT,
            env=server.fal_environment,
            capture_output=True,
            text=True,
        )
        assert 0 == ran.returncode, ran.stderr
        return json.loads(ran.stdout)

    return run_client


@pytest.mark.parametrize("client", ["sync_client", "async_client"])
def test_subscribe_returns_a_video(run_client, download, client):
    """The one call that everybody starts with."""
    saw = run_client(client, "subscribe")
    video = saw["result"]["video"]

    assert 7 == saw["result"]["seed"]
    assert 1 == len(saw["ids"])
    assert "video/mp4" == video["content_type"]
    assert video["url"].startswith("https://127.0.0.1:")
    assert_moving_pictures(watch(download(video["url"])), 17)


@pytest.mark.parametrize("client", ["sync_client", "async_client"])
def test_updates_tell_how_far_it_is(run_client, client):
    """A progress bar is drawn from these lines."""
    updates = run_client(client, "subscribe")["updates"]

    assert "Completed" == updates[-1]["kind"]
    lines = max((update["logs"] for update in updates), key=len)
    assert "denoise 2/2" in lines
    assert "decode 17/17" in lines


def test_a_job_is_followed_and_found_again_by_its_id(run_client, download):
    """The program that fetches the result need not be the one that submitted."""
    saw = run_client("sync_client", "submit_and_follow")

    assert "Completed" == saw["events"][-1]["kind"] == saw["status_by_id"]["kind"]
    assert saw["result"] == saw["result_by_id"]
    assert_moving_pictures(watch(download(saw["result"]["video"]["url"])), 17)


def test_two_jobs_at_once_give_two_videos(run_client, download):
    """Results must not be mixed up: each has its own seed and its own pictures."""
    first, second = run_client("async_client", "submit_and_follow")["jobs"]
    pictures = [watch(download(job["result"]["video"]["url"])) for job in (first, second)]

    assert [1, 2] == [job["result"]["seed"] for job in (first, second)]
    assert (pictures[0] != pictures[1]).any()


def test_waiting_and_running_jobs_can_be_cancelled(run_client):
    """A cancelled job that did not end would be polled for ever by the sync client."""
    saw = run_client("sync_client", "cancel")

    assert "Queued" == saw["first"]["kind"]
    cancelled = {"status": 499, "error_type": "client_cancelled"}
    assert [cancelled, cancelled] == saw["ends"]
    assert cancelled == run_client("async_client", "cancel")["end"]


def test_an_invalid_input_names_the_field(run_client):
    """The caller reads `detail` to find out which of thirteen fields was wrong."""
    ends = run_client("sync_client", "invalid")["ends"]

    assert [422, 422, 422] == [end["status"] for end in ends]
    assert [["body", "num_frames"], ["body", "prompt"], ["body", "resolution"]] == [
        end["detail"][0]["loc"] for end in ends
    ]


def test_a_data_uri_in_a_field_of_another_endpoint_does_no_harm(run_client, download):
    """One client's wrapper sends the same fields to every endpoint; fal ignores what it must."""
    result = run_client("sync_client", "data_uri")["result"]

    assert_moving_pictures(watch(download(result["video"]["url"])), 17)
