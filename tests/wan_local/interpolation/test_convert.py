"""The converter, in a process of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys

import torch
from safetensors.torch import load_file

from tests.wan_local.interpolation.test_archive import Attack, archive
from wan_local.interpolation.convert import main


def test_a_flownet_pkl_becomes_safetensors(tmp_path, capsys):
    """RIFE's own releases come as pickles."""
    source = tmp_path / "flownet.pkl"
    torch.save({"module.block0.conv0.0.0.weight": torch.arange(6.0)}, source)

    assert 0 == main([str(source)])
    assert "1 tensors written to" in capsys.readouterr().out
    read = load_file(tmp_path / "flownet.safetensors")
    assert [0, 1, 2, 3, 4, 5] == read["module.block0.conv0.0.0.weight"].tolist()


def test_an_attack_leaves_a_sentence_and_no_file(tmp_path):
    """And nothing was run."""
    program = pickle.dumps(Attack(print, "owned"), 2)
    source = archive(tmp_path / "x.pkl", program)
    command = [sys.executable, "-m", "wan_local.interpolation.convert", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert "print: refused" in done.stderr
    assert "owned" not in done.stdout
    assert ["x.pkl"] == [path.name for path in tmp_path.iterdir()]


def test_a_file_without_weights_is_refused(tmp_path, capsys):
    """An empty network would be found out much later."""
    torch.save({"epoch": 3}, tmp_path / "x.pkl")

    assert 1 == main([str(tmp_path / "x.pkl")])
    assert "has no weights in it" in capsys.readouterr().err
