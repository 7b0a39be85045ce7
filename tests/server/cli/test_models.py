import json

from typer.testing import CliRunner

from server.cli import app
from server.endpoints import ENDPOINTS
from wan_local.catalog import MODELS


def run(tmp_path, *arguments):
    return CliRunner().invoke(app, ["models", *arguments, "--weights-dir", str(tmp_path)])


def test_every_endpoint_is_listed(tmp_path):
    """It is where one copies the id from."""
    output = run(tmp_path).output

    for endpoint in ENDPOINTS:
        assert endpoint in output


def test_a_missing_checkpoint_comes_with_the_command_that_fetches_it(tmp_path):
    """A newcomer's first question, answered where it comes up."""
    row = json.loads(run(tmp_path, "--json").output)[0]

    assert row["path"] is None
    assert f"hf download {MODELS[row['id']].repo}" in row["problem"]


def test_a_checkpoint_that_is_here_is_shown_with_its_folder(weights):
    """The way to see that the weights directory is the one that was meant."""
    row = json.loads(run(weights, "--json").output)[0]

    assert str(weights / row["id"]) == row["path"]
    assert row["problem"] is None
