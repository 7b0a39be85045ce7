"""Torch archives are read and never run."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.archive import read_archive, read_notes


class Small(nn.Module):
    """A module as FILM's archive has them: lists, sequences, plain values, half precision."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 2, 1).half()])
        self.register_buffer("table", torch.arange(12.0).view(3, 4).t())
        self.levels = 7

    def forward(self, x):
        return x


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "small.pt"
    code = (
        "import sys, torch; from tests.wan_local.interpolation.test_archive import Small;"
        "torch.manual_seed(0); torch.jit.script(Small()).save(sys.argv[1])"
    )
    # In a process of its own: torch.jit warns that it is deprecated, and warnings are errors here.
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, path], check=True)
    return path


def weights():
    torch.manual_seed(0)
    return Small().state_dict()


def test_a_torchscript_gives_up_its_tensors(script):
    """Every name, shape, dtype and number, as its own loader would give them."""
    read = read_archive(script)

    assert weights().keys() == read.keys()
    assert all(torch.equal(tensor, read[name]) for name, tensor in weights().items())
    assert torch.float16 == read["convs.1.weight"].dtype


def test_a_saved_state_dict_is_read_too(tmp_path):
    """`flownet.pkl` is one of these; views into one storage come out whole."""
    whole = torch.arange(24.0)
    saved = OrderedDict(a=whole[4:10].view(2, 3), b=whole, c=nn.Parameter(whole[:2]))
    torch.save({"module": saved}, tmp_path / "x.pkl")
    read = read_archive(tmp_path / "x.pkl")

    assert {"module.a", "module.b", "module.c"} == read.keys()
    assert torch.equal(whole[4:10].view(2, 3), read["module.a"])


def archive(path, program, parts=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", program)
        for name, data in parts:
            file.writestr(f"m/{name}", data)
    return path


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def attacks(target):
    return [
        Attack(os.system, f"touch {target}"),
        Attack(builtins.eval, f"open({str(target)!r}, 'w')"),
        Attack(Path.touch, target),
        {"weight": Attack(subprocess.call, ["touch", str(target)])},
        Attack(torch.load, str(target)),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_something_is_refused(number, protocol, tmp_path):
    """A file of weights from anywhere must not own the machine it is loaded on."""
    target = tmp_path / "owned"
    program = pickle.dumps(attacks(target)[number], protocol)

    with pytest.raises(BadCheckpoint):
        read_archive(archive(tmp_path / "x.pt", program))
    assert not target.exists()


def test_what_was_asked_for_is_named(tmp_path):
    """An operator should know what was in that file."""
    program = b"cposix\nsystem\n(X\x04\x00\x00\x00trueq\x00tq\x01R."

    with pytest.raises(BadCheckpoint, match=r"posix\.system: refused, and nothing of it was run"):
        read_archive(archive(tmp_path / "x.pt", program))


def test_code_in_a_torchscript_is_not_looked_at(script, tmp_path):
    """It would be compiled by torch.jit.load; here it is bytes in a zip."""
    poisoned = tmp_path / "poisoned.pt"
    with zipfile.ZipFile(script) as old, zipfile.ZipFile(poisoned, "w") as new:
        for part in old.infolist():
            data = b"import os; os.abort()" if part.filename.endswith(".py") else old.read(part)
            new.writestr(part.filename, data)

    assert weights().keys() == read_archive(poisoned).keys()


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    b"%s(%st(%st\x89}tR."
)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (b"K\x01", b"K\x04", b"K\x01"),  # one number past the end
        (b"K\x00", b"K\x04", b"K\x02"),
        (b"K\x00", b"J\xff\xff\xff\x7f", b"K\x00"),  # two billion views of one number
        (b"J\xff\xff\xff\xff", b"K\x04", b"K\x01"),  # before the beginning
        (b"X\x01\x00\x00\x00x", b"K\x04", b"K\x01"),
        (b"K\x00", b"K\x04K\x01", b"K\x01"),
    ],
)
def test_a_tensor_stays_within_its_storage(offset, size, stride, tmp_path):
    """Past it lies somebody else's memory."""
    numbers = torch.arange(4.0).numpy().tobytes()
    good = archive(
        tmp_path / "good.pt", TENSOR % (b"K\x00", b"K\x04", b"K\x01"), [("data/0", numbers)]
    )
    bad = archive(tmp_path / "bad.pt", TENSOR % (offset, size, stride), [("data/0", numbers)])

    assert [0, 1, 2, 3] == read_archive(good)[""].tolist()
    with pytest.raises(BadCheckpoint):
        read_archive(bad)


def test_what_is_cut_short_or_no_zip_is_refused(script, tmp_path):
    """Every length of a broken download, in steps."""
    data, path = script.read_bytes(), tmp_path / "x.pt"
    for length in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(BadCheckpoint):
            read_archive(path)


def test_compressed_parts_are_refused(tmp_path):
    """A kilobyte that unpacks to a gigabyte; torch compresses nothing that counts."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data.pkl", b"\x80\x02}." + b"\0" * 10_000)

    with pytest.raises(BadCheckpoint, match="compressed"):
        read_archive(path)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02h\x07.",
        b"(((((t.",
        b"]ccollections\nOrderedDict\n)Ra.",
        b"}K\x01e.",
        b"\x80\x02(K\x01K\x02K\x03u.",
        b"K\x01K\x02R.",
        b"i os\nsystem\n.",
    ],
)
def test_a_pickle_that_makes_no_sense_is_refused(program, tmp_path):
    """Whatever it does to the stack, the answer is a sentence, or no tensor."""
    path = archive(tmp_path / "x.pt", program)
    try:
        assert {} == read_archive(path)
    except BadCheckpoint as error:
        assert "is not what torch writes" in str(error)


def test_a_tree_that_doubles_is_given_up(tmp_path):
    """Thirty levels of a dictionary that holds the one below twice are a billion names."""
    tree = {"x": 1}
    for _ in range(30):
        tree = {"a": tree, "b": tree}

    with pytest.raises(BadCheckpoint, match="more than 100000 values"):
        read_archive(archive(tmp_path / "x.pt", pickle.dumps(tree, 2)))


def test_classes_become_notes():
    """A class of the archived module is a name and its fields, nothing else."""
    notes = read_notes(b"c__torch__\nFilm\n)\x81}X\x01\x00\x00\x00nK\x07sb.")

    assert ("__torch__ Film", {"n": 7}) == (notes.name, notes.state)
