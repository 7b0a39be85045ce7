import json
import shlex

from typer.testing import CliRunner

from server.cli import app
from server.endpoints import ENDPOINTS
from wan_local.catalog import INTERPOLATORS, LORAS, MODELS, PREVIEW_DECODERS


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


def test_what_requests_may_need_beside_a_checkpoint_is_listed_too(tmp_path):
    """Turbo without its LoRAs is refused, and film without weights adds no frames: said here."""
    (tmp_path / "interpolation" / "rife").mkdir(parents=True)
    (tmp_path / "interpolation" / "rife" / "rife.safetensors").write_bytes(b"x")
    rows = {row["id"]: row for row in json.loads(run(tmp_path, "--json").output)}
    output = run(tmp_path).output

    assert {*LORAS, *INTERPOLATORS} < set(rows)
    assert rows["rife"]["path"].endswith("rife.safetensors")
    for missing in [*LORAS, "film", "taew2_1"]:
        assert rows[missing]["path"] is None
        assert rows[missing]["problem"] in output
        assert str(tmp_path) in rows[missing]["problem"]


def test_a_command_can_be_pasted_where_folders_have_spaces(tmp_path):
    """Unquoted, the file would land in `/home/me/my` and not be found."""
    folder = tmp_path / "my weights"
    rows = {row["id"]: row for row in json.loads(run(folder, "--json").output)}

    for decoder in PREVIEW_DECODERS.values():
        words = shlex.split(rows[decoder.id]["problem"])
        assert [str(folder / decoder.file), decoder.url] == words[-2:]
    for model in MODELS:
        assert str(folder / model) == shlex.split(rows[model]["problem"])[-1]
