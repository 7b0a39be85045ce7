"""Published files, under whatever names they come."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.wan_local.interpolation.pictures import moving
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.interpolation.film import Film, FilmLayout
from wan_local.interpolation.opening import load_network, network_dtype, open_interpolator
from wan_local.interpolation.rife import Rife, RifeLayout

RIFE = RifeLayout((16, 8, 8, 8, 8), "long", 4, 4, 8, 0)
FILM = FilmLayout(4, (4, 4, 4, 4))


def weights(kind):
    torch.manual_seed(0)
    return (Rife(RIFE) if kind == "rife" else Film(FILM)).state_dict()


def renamed(kind, style):
    """The same tensors as another project names them."""
    found = weights(kind)
    if style == "upstream":
        extra = {"teacher.x": torch.zeros(1), "caltime.0.weight": torch.zeros(1)}
        return {f"module.{name}": tensor for name, tensor in (found | extra).items()}
    if style == "repacked":
        return {name.replace("block", "blocks.", 1): x for name, x in found.items()} | {
            name: x for name, x in found.items() if name.startswith("encode")
        }
    if style == "conv":
        return {
            name.replace(".0.weight", ".conv.weight").replace(".0.bias", ".conv.bias"): x
            for name, x in found.items()
        }
    return found


STYLES = [
    ("rife", "plain"),
    ("rife", "upstream"),
    ("rife", "repacked"),
    ("film", "plain"),
    ("film", "conv"),
]


@pytest.mark.parametrize(("kind", "style"), STYLES)
def test_every_naming_gives_the_same_network(kind, style, tmp_path):
    """People rename keys when they repack; the numbers are the same."""
    path = tmp_path / "weights.safetensors"
    save_file({name: x.half().contiguous() for name, x in renamed(kind, style).items()}, path)
    network = load_network(kind, path, torch.float32)

    assert weights(kind).keys() == network.state_dict().keys()
    for name, tensor in weights(kind).items():
        assert torch.equal(tensor.half().float(), network.state_dict()[name])
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("kind", ["rife", "film"])
def test_the_other_networks_file_is_refused(kind, tmp_path):
    """Somebody put RIFE into FILM's folder."""
    other = "film" if kind == "rife" else "rife"
    save_file({n: x.contiguous() for n, x in weights(other).items()}, tmp_path / "x.safetensors")

    with pytest.raises(BadCheckpoint, match=r"x\.safetensors: .*not the weights of"):
        load_network(kind, tmp_path / "x.safetensors", torch.float32)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_a_file_is_loaded_whole_or_not_at_all(change, tmp_path):
    """A layer that kept its random start would make pictures, nearly right ones."""
    found = {name: tensor.contiguous() for name, tensor in weights("film").items()}
    if change == "missing":
        del found["fuse.convs.1.2.0.bias"]
    elif change == "extra":
        found["fuse.another.bias"] = torch.zeros(3)
    else:
        found["fuse.output_conv.bias"] = torch.zeros(4)
    save_file(found, tmp_path / "x.safetensors")

    with pytest.raises(BadCheckpoint, match="not the weights of this network: fuse"):
        load_network("film", tmp_path / "x.safetensors", torch.float32)


def test_a_pickle_is_not_opened(tmp_path):
    """Not even by the reader that would be safe: the converter is for that."""
    torch.save(weights("rife"), tmp_path / "flownet.pkl")

    with pytest.raises(BadCheckpoint, match=r"is none of \.safetensors, \.param, \.pt"):
        load_network("rife", tmp_path / "flownet.pkl", torch.float32)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_safetensors_file_is_a_sentence(content, tmp_path):
    """Half a download, or something else altogether."""
    (tmp_path / "x.safetensors").write_bytes(content)

    with pytest.raises(BadCheckpoint):
        load_network("rife", tmp_path / "x.safetensors", torch.float32)


def test_an_interpolator_is_opened_from_the_weights_directory(tmp_path):
    """By its name, from the folder that the catalog says."""
    folder = tmp_path / "interpolation" / "rife"
    folder.mkdir(parents=True)
    save_file({n: x.contiguous() for n, x in weights("rife").items()}, folder / "a.safetensors")
    (frame,) = open_interpolator("rife", tmp_path, torch.device("cpu")).between(
        *moving(64, 64, shift=(1, 0)), [0.5]
    )

    assert (1, 3, 64, 64) == tuple(frame.shape)
    with pytest.raises(WeightsMissing, match="FILM is not on this machine"):
        open_interpolator("film", tmp_path, torch.device("cpu"))


def test_networks_compute_in_half_precision_on_a_gpu():
    """Twice as fast, and half the memory; a CPU has nothing of it."""
    assert torch.float16 == network_dtype(torch.device("cuda", 0))
    assert torch.float32 == network_dtype(torch.device("cpu"))


def test_a_scripted_film_is_known_by_its_tensors(tmp_path):
    """The archive in circulation, in small: modules inside modules, names with numbers."""
    path = tmp_path / "film.pt"
    torch.save(nested(weights("film")), path)
    network = load_network("film", path, torch.float32)

    assert torch.equal(weights("film")["fuse.output_conv.bias"], network.fuse.output_conv.bias)


def nested(flat):
    """A tree of dictionaries out of dotted names."""
    tree = {}
    for name, tensor in flat.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = nn.Parameter(tensor)
    return tree
