from pathlib import Path

import pytest
import typer

from server.cli.exits import Exit
from server.cli.flags import load_settings


def test_a_flag_beats_the_environment(monkeypatch):
    """What was typed last is what was meant."""
    monkeypatch.setenv("WAN_LOCAL_PORT", "9000")

    assert 9001 == load_settings(port=9001).port


def test_a_flag_that_was_not_given_leaves_the_environment_alone(monkeypatch):
    """Typer passes None for it, and None must not become a setting."""
    monkeypatch.setenv("WAN_LOCAL_DATA_DIR", "/srv/wan")

    assert Path("/srv/wan") == load_settings(data_dir=None).data_dir


def test_a_bad_setting_is_a_usage_error_that_names_it(monkeypatch, capsys):
    """A traceback of pydantic's is no answer to a typo in an environment variable."""
    monkeypatch.setenv("WAN_LOCAL_PORT", "99999")
    with pytest.raises(typer.Exit) as given_up:
        load_settings()

    assert Exit.USAGE == given_up.value.exit_code
    assert "port" in capsys.readouterr().err
