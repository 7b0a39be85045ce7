import pytest
import typer
from typer.testing import CliRunner

from server.cli import app
from server.cli.exits import ENGINE_EXITS, MEANINGS, Exit, give_up
from wan_local import errors


def test_every_exit_code_is_explained_in_the_help():
    """A script's author looks there first."""
    help_text = CliRunner().invoke(app, ["--help"]).output

    for code in Exit:
        assert f"{code.value}  {MEANINGS[code]}" in " ".join(help_text.split(" "))


def test_the_engine_raises_what_the_table_knows():
    """The names come as strings from another process: a renamed class would go unnoticed."""
    for name in ENGINE_EXITS:
        assert issubclass(getattr(errors, name), errors.WanLocalError)


def test_giving_up_says_why_on_stderr(capsys):
    """Stdout belongs to the result: a pipe must not get the apology."""
    with pytest.raises(typer.Exit) as given_up:
        give_up(Exit.NO_GPU, "no GPU")

    assert Exit.NO_GPU == given_up.value.exit_code
    assert ("", "error: no GPU\n") == tuple(capsys.readouterr())
