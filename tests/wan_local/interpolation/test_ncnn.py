"""RIFE's weights from ncnn's files, and RIFE itself against ncnn's runtime."""

from __future__ import annotations

import pytest
import torch

from tests.shared_data import shared
from tests.wan_local.interpolation.ncnn_graphs import random_weights, run, write_bin
from tests.wan_local.interpolation.pictures import moving
from wan_local.errors import BadCheckpoint
from wan_local.interpolation.ncnn import read_ncnn
from wan_local.interpolation.opening import load_network

GRAPHS = [
    "nihui-rife-v4.6",
    "rife-v4.6",
    "rife-v4.17_lite",
    "rife-v4.22_lite",
    "rife-v4.25",
    "rife-v4.25-lite",
    "rife-v4.26",
]
TIME = 0.3


def graph(name):
    return shared(f"data/rife_params/{name}.param").read_text()


def files(text, folder, stored="float32", seed=1):
    param = folder / "flownet.param"
    param.write_text(text)
    weights = random_weights(text, seed)
    write_bin(text, weights, param.with_suffix(".bin"), stored)
    return param, weights


@pytest.mark.parametrize("name", GRAPHS)
def test_our_rife_is_the_published_graph(name, tmp_path):
    """Every layout, mask rule and scale is checked against somebody else's arithmetic."""
    text = graph(name)
    param, _ = files(text, tmp_path)
    first, second = moving(64, 128, shift=(5, 3))
    theirs = run(text, param.with_suffix(".bin"), first, second, TIME)
    net = load_network("rife", param, torch.float32)
    with torch.inference_mode():
        one, two = net.see(first), net.see(second)
        *_, last = net.refine(one, two, torch.full_like(first[:, :1], TIME))

    assert last.flow.abs().max() > 1  # or nothing was warped
    assert (last.blend() - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("stored", "tolerance"), [("float32", 0), ("float16", 1e-3), ("table", 0.05)]
)
def test_every_way_that_ncnn_stores_numbers_is_read(stored, tolerance, tmp_path):
    """Published .bin files are float16; optimised ones may have tables."""
    param, weights = files(graph("rife-v4.17_lite"), tmp_path, stored)
    read = read_ncnn(param)

    assert weights.keys() == read.keys()
    assert max(float((read[name] - weights[name]).abs().max()) for name in weights) <= tolerance


def test_a_file_cut_short_is_refused(tmp_path):
    """A broken download must not become a network of zeros."""
    param, _ = files(graph("rife-v4.6"), tmp_path)
    binary = param.with_suffix(".bin")
    binary.write_bytes(binary.read_bytes()[:-1000])

    with pytest.raises(BadCheckpoint, match="cannot be read as a RIFE"):
        read_ncnn(param)


def test_bytes_too_many_are_refused(tmp_path):
    """They mean that the graph and the numbers are of different releases."""
    param, _ = files(graph("rife-v4.6"), tmp_path)
    with param.with_suffix(".bin").open("ab") as file:
        file.write(b"\0" * 8)

    with pytest.raises(BadCheckpoint, match=r"8 bytes of the \.bin belong to no layer"):
        read_ncnn(param)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7767517\n1 1\n",
        "7767517\n1 1\nConvolution c 1 1 a b 0=-1 1=3 6=9\n",
        "7767517\n1 1\nConvolution c 1 1 a b 0=0 1=3 6=9\n",
        "7767517\n1 1\nConvolution c 1 1 a b 0=99999999 1=3 6=99999999\n",
        "7767517\n1 1\nConvolution c x 1 a b\n",
        "7767517\n1 1\nInnerProduct c 1 1 a b 0=4\n",
        "not a graph",
    ],
)
def test_what_is_no_graph_of_rife_is_refused(text, tmp_path):
    """Whatever lies there, the answer is a sentence."""
    param = tmp_path / "flownet.param"
    param.write_text(text)
    param.with_suffix(".bin").write_bytes(b"\0" * 64)

    with pytest.raises(BadCheckpoint):
        read_ncnn(param)
