from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from wan_local.errors import BadCheckpoint
from wan_local.models.taehv import TinyDecoder, load_tiny_decoder

KINDS = {"taew2_1": (16, 1), "taew2_2": (48, 2)}


def published(channels, patch, seed=0):
    """Return random tensors with the names and shapes of a published file, encoder and all."""
    shapes = encoder_shapes(channels, patch)
    with torch.device("meta"):
        decoder = TinyDecoder(channels, patch).state_dict()
    shapes |= {name: tuple(tensor.shape) for name, tensor in decoder.items()}
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
        for name, shape in shapes.items()
    }


def encoder_shapes(channels, patch):
    """Return the encoder's half of the layout, which this project has no use for."""
    shapes = {"encoder.0.weight": (64, 3 * patch**2, 3, 3), "encoder.0.bias": (64,)}
    for place, times in ((2, 2), (7, 2), (12, 1)):
        shapes[f"encoder.{place}.conv.weight"] = (64, 64 * times, 1, 1)
        shapes[f"encoder.{place + 1}.weight"] = (64, 64, 3, 3)
        for block in range(place + 2, place + 5):
            for layer, wide in ((0, 128), (2, 64), (4, 64)):
                shapes[f"encoder.{block}.conv.{layer}.weight"] = (64, wide, 3, 3)
                shapes[f"encoder.{block}.conv.{layer}.bias"] = (64,)
    return shapes | {"encoder.17.weight": (channels, 64, 3, 3), "encoder.17.bias": (channels,)}


def all_at_once(tensors, latents, *, in_time=True, doublings=3):
    """Decode [time, channels, h, w] layer by layer over the whole clip, in plain functions.

    The other way round from the product, which carries one time step through all layers: here each
    layer sees the clip whole, and a memory is the clip shifted by one.
    """

    def conv(x, name, padding=1):
        return functional.conv2d(
            x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), padding=padding
        )

    x = conv((latents / 3).tanh() * 3, "decoder.1").relu()
    for level, first in enumerate((3, 9, 15)):
        for block in range(first, first + 3):
            before = torch.cat((torch.zeros_like(x[:1]), x[:-1]))
            y = conv(torch.cat((x, before), 1), f"decoder.{block}.conv.0").relu()
            y = conv(conv(y, f"decoder.{block}.conv.2").relu(), f"decoder.{block}.conv.4")
            x = (y + x).relu()
        if level < doublings:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        kernel = tensors[f"decoder.{first + 4}.conv.weight"]
        if not in_time:
            kernel = kernel[-x.shape[1] :]
        x = functional.conv2d(x, kernel).reshape(-1, x.shape[1], *x.shape[2:])
        x = conv(x, f"decoder.{first + 5}")
    x = conv(x.relu(), "decoder.22")
    patch = round((x.shape[1] / 3) ** 0.5)
    return functional.pixel_shuffle(x, patch).clamp(0, 1)[3 if in_time else 0 :]


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def latents(kind):
    return torch.randn(3, kind[0], 4, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def file(kind, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(published(*kind), path)
    return path


@pytest.mark.parametrize("in_time", [True, False])
@pytest.mark.parametrize("doublings", [0, 2, 3])
def test_it_computes_what_the_paper_form_of_it_computes(kind, file, latents, in_time, doublings):
    """A stream of steps and a clip at once are two readings of one network; both must agree."""
    switches = {"in_time": in_time, "doublings": doublings}
    decoder = load_tiny_decoder(file, kind[0], **switches)

    frames = torch.cat(list(decoder.frames(latents.split(1))))
    expected = all_at_once(published(*kind), latents, **switches)

    assert expected.shape == frames.shape
    assert (expected - frames).abs().max() <= 1e-5
    assert 0.05 < frames.std()
    assert (9 if in_time else 3) == len(frames)
    assert (latents.shape[2] * decoder.scale) == frames.shape[2]


def test_the_second_stream_remembers_nothing_of_the_first(kind, file, latents):
    """A preview that was given up must not shine through the next one."""
    decoder = load_tiny_decoder(file, kind[0])
    whole = list(decoder.frames(latents.split(1)))

    next(decoder.frames(latents.flip(0).split(1)))
    again = list(decoder.frames(latents.split(1)))

    assert all(map(torch.equal, whole, again))


def test_it_has_the_parameters_and_the_names_of_the_published_files():
    """128 tensors, 64 of them the decoder's: names by which any published file can be told."""
    with torch.device("meta"):
        decoder = TinyDecoder(16, 1)
    names = set(decoder.state_dict())
    places = {name.split(".")[1] for name in names}
    count = sum(p.numel() for p in decoder.parameters())
    encoder = sum(torch.Size(s).numel() for s in encoder_shapes(16, 1).values())

    assert 9_844_611 == count
    assert 1_470_928 == encoder
    assert 64 == len(names)
    assert 128 == len(published(16, 1))
    assert set(map(int, places)) == {1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 19, 20, 22}
    assert {"decoder.7.conv.weight", "decoder.8.weight", "decoder.5.conv.4.bias"} <= names
    assert not any(name.endswith("8.bias") for name in names)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.pop("decoder.9.conv.2.weight"), "decoder.9.conv.2.weight"),
        (lambda t: t.update({"decoder.22.bias": torch.zeros(4)}), "writes no RGB"),
        (lambda t: t.pop("decoder.22.bias"), "writes no RGB"),
        (lambda t: t.update({"decoder.20.weight": torch.zeros(32, 64, 3, 3)}), "[32, 64, 3, 3]"),
    ],
)
def test_a_file_that_is_not_one_is_named_with_what_is_wrong(tmp_path, spoil, words):
    tensors = published(16, 1)
    spoil(tensors)
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path)

    with pytest.raises(BadCheckpoint, match=words.replace("[", r"\[").replace("]", r"\]")):
        load_tiny_decoder(path, 16)


def test_the_other_models_decoder_is_refused(tmp_path):
    """taew2_1 on the 5B's latents would be a crash in the middle of a job."""
    path = tmp_path / "taew2_1.safetensors"
    save_file(published(16, 1), path)

    with pytest.raises(BadCheckpoint, match="48 channels"):
        load_tiny_decoder(path, 48)


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    """A `.pth` renamed, or an HTML page that curl took for the file."""
    path = tmp_path / "taew2_1.safetensors"
    path.write_bytes(b"<!DOCTYPE html>")

    with pytest.raises(BadCheckpoint, match="cannot be read"):
        load_tiny_decoder(path, 16)
