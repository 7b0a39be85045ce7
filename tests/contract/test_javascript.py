"""@fal-ai/client 1.10, unmodified, in Node, through the proxy route."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.sync_client import TINY
from tests.watching import assert_moving_pictures, watch

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="the JavaScript client needs Node, which is not here"
)


@pytest.fixture
def run_node(server):
    """Run one of the .mjs files beside this one and return the JSON it prints."""

    def run_node(script, **changes):
        assert (HERE / "node_modules").is_dir(), "run `npm ci --prefix tests/contract` first"
        environment = {"PROXY_URL": f"{server.url}/fal/proxy", "INPUT": json.dumps(TINY | changes)}
        ran = subprocess.run(
            ["node", HERE / script], env=os.environ | environment, capture_output=True, text=True
        )
        assert 0 == ran.returncode, ran.stderr
        return json.loads(ran.stdout)

    return run_node


def test_the_sample_of_the_hosted_page_runs(run_node, download):
    """It maps over `update.logs` without asking whether there are any."""
    # The client looks every half second; two steps may begin and end between two of its looks.
    saw = run_node("subscribe.mjs", num_inference_steps=40, num_frames=81)

    assert saw["requestId"]
    assert any(line.startswith("denoise") for line in saw["logs"])
    assert_moving_pictures(watch(download(saw["data"]["video"]["url"])), 81)


def test_submit_status_and_result_stand_alone(run_node, download):
    """A web backend submits in one request and looks in another."""
    saw = run_node("queue.mjs")

    assert "IN_QUEUE" == saw["submitted"]["status"]
    assert saw["submitted"]["request_id"] == saw["status"]["request_id"]
    assert saw["submitted"]["request_id"] == saw["result"]["requestId"]
    assert_moving_pictures(watch(download(saw["result"]["data"]["video"]["url"])), 17)
    assert {"name": "ApiError", "status": 499} == saw["end"]


def test_an_invalid_input_is_a_validation_error_with_its_field(run_node):
    """Forms show the message beside the field that is to blame."""
    saw = run_node("invalid.mjs")

    assert saw["isValidationError"]
    assert 422 == saw["status"]
    assert [["body", "num_frames"]] == [field["loc"] for field in saw["fields"]]
