"""The command that asks a checkpoint what it has learned."""

from __future__ import annotations

import json

import pytest

from weights.train import asking, measures
from weights.train.evaluate import main


def test_results_are_written_and_what_is_not_there_is_said(weights, tmp_path, monkeypatch, capsys):
    """A family that is half trained can be measured as far as it goes."""
    monkeypatch.setattr(asking, "STEPS", 2)
    out = tmp_path / "results.json"
    asked = ["--only", "20 steps", "VAE 2.1", "LoRA blueprint", "--out", str(out)]
    main([str(weights), "--prompts", "1", "--clips", "1", "--frames", "5", *asked])
    results = json.loads(out.read_text())

    assert {"chance", "20 steps"} == results["rates"].keys()
    assert {"VAE 2.1"} == results["measures"].keys()
    assert all(results[name] for name in ("cpu", "commit", "date"))
    assert "LoRA blueprint: left out" in capsys.readouterr().out


def test_what_was_measured_outlasts_an_interruption(weights, tmp_path, monkeypatch):
    """A row takes ten minutes, and there are eleven."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(measures.RATES, "20 steps", lambda *_: {"colour": 0.5})
    monkeypatch.setitem(measures.RATES, "no guidance", interrupted)
    out = tmp_path / "results.json"
    with pytest.raises(KeyboardInterrupt):
        main([str(weights), "--only", "20 steps", "no guidance", "--out", str(out)])

    assert {"colour": 0.5} == json.loads(out.read_text())["rates"]["20 steps"]


def test_a_measure_that_does_not_exist_is_refused(tmp_path, capsys):
    """With the names of those that do."""
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--only", "beauty"])

    assert "no measure is called 'beauty'" in capsys.readouterr().err
