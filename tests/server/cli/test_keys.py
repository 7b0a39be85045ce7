import json

import pytest
from typer.testing import CliRunner

from server.cli import app
from server.keys import KeyRing


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["keys", *arguments, "--data-dir", str(tmp_path)])

    return run


def test_a_created_key_opens_the_server(run, tmp_path):
    """The printed line is pasted into a shell, and fal's client sends its value as it stands."""
    printed = run("create", "Ada").output.strip()
    key = printed.removeprefix("export FAL_KEY=")

    assert KeyRing(tmp_path / "keys.json").check(f"Key {key}") is not None


def test_listed_keys_keep_their_secrets(run):
    """A list is read over shoulders and pasted into tickets."""
    made = json.loads(run("create", "Ada", "--json").output)
    secret = made["key"].partition(":")[2]

    assert made["id"] in run("list").output
    assert secret not in run("list").output
    assert [{"id": made["id"], "name": "Ada"}] == [
        {"id": key["id"], "name": key["name"]} for key in json.loads(run("list", "--json").output)
    ]


def test_a_revoked_key_is_worth_nothing(run, tmp_path):
    """Revoking is what one does in a hurry: it has to work, and say so."""
    made = json.loads(run("create", "--json").output)
    result = run("revoke", made["id"])

    assert (0, f"revoked {made['id']}\n") == (result.exit_code, result.output)
    assert KeyRing(tmp_path / "keys.json").empty


def test_revoking_an_unknown_key_is_a_usage_error(run):
    """A typo in the id must not look like success."""
    result = run("revoke", "nobody")

    assert 2 == result.exit_code
    assert "nobody" in result.stderr


def test_a_name_that_cannot_be_kept_is_refused(run):
    """A line break in a name would forge a line of the list."""
    assert 2 == run("create", "a\nb").exit_code
