"""What FILM's decoder takes back of what reading between pixels blurs."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import avg_pool2d, interpolate, pad

from wan_local.interpolation.film import FUSED, Motion
from wan_local.interpolation.warp import backward_warp
from weights.train.motion import Difficulty, triplets
from weights.train.pupils import FILM, NARROW, WIDE, small_film
from weights.train.textures import textures
from weights.train.unblur import AMOUNT, BOUND, unblur, write_decoder

SIZE = 128
INSIDE = slice(4, -4)


@pytest.fixture(scope="module", params=[FILM, WIDE], ids=["film", "wide"])
def net(request):
    torch.manual_seed(0)
    net = small_film(request.param)
    write_decoder(net, request.param)
    return net


@pytest.fixture(scope="module")
def picture():
    whole = textures(1, torch.Generator().manual_seed(0))[0][None]
    return whole[..., : 2 * SIZE, : 2 * SIZE].unfold(2, 1, 2).unfold(3, 1, 2)[..., 0, 0]


def steady(ways):
    """Everything moves by twice *ways*, x and y in pixels, from the first frame to the second."""
    there = torch.tensor(ways).view(1, 2, 1, 1).expand(1, 2, SIZE, SIZE) * 2
    levels = [avg_pool2d(there, 1 << level) / (1 << level) for level in range(FUSED)]
    return Motion(levels, [-level for level in levels])


def moved(picture, motion):
    """The mean of both frames, moved half-way."""
    ways = (motion.back[0] / 2, motion.forth[0] / 2)
    return sum(backward_warp(picture, way) for way in ways) / 2


def unblurred(picture, way):
    """The sentence of `unblur.py`, in tensors; *picture* is the mean of both frames, moved."""
    grey = pad(picture.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    here = grey[..., 1:-1, 1:-1]
    beside = (
        grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:],
        grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1],
    )
    for t, both in zip(way.abs().split(1, 1), beside, strict=True):
        bound = BOUND * (0.5 - (t - 0.5).abs()).clamp(min=0)
        picture = picture + AMOUNT * (2 * here - both).clamp(-bound, bound)
    return picture


@torch.no_grad()
def drawn(net, picture, motion):
    """As `between` gives it out: nothing is darker than black."""
    seen = net.see(picture)
    return net.render(seen, seen, motion, 0.5).clamp(0, 1)


@pytest.mark.parametrize("ways", [(0.5, 0.0), (0.0, 0.5), (0.2, -0.7), (-0.4, 0.1), (1.5, 0.5)])
def test_the_decoder_does_what_is_said_of_it(net, picture, ways):
    """Its convolutions against the sentence that describes them, away from the border."""
    motion = steady(ways)
    mean = moved(picture, motion)
    said = unblurred(mean, motion.back[0] / 2).clamp(0, 1)

    made = drawn(net, picture, motion)

    assert (said - mean)[..., INSIDE, INSIDE].abs().max() > 0.003
    assert torch.allclose(made[..., INSIDE, INSIDE], said[..., INSIDE, INSIDE], atol=1e-5)


@pytest.mark.parametrize("ways", [(0.0, 0.0), (1.0, -1.0), (3.0, 0.0), (-2.6, 7.3)])
def test_whole_pixels_and_fast_things_stay_as_they_are(net, picture, ways):
    """What is not blurred must not be sharpened: still clips lost 0.8 dB by that."""
    motion = steady(ways)

    made = drawn(net, picture, motion)

    assert torch.allclose(made, moved(picture, motion), atol=1e-5)


def test_a_border_is_not_taken_for_an_edge(net):
    """Past it are zeros, beside which every picture would seem curved."""
    motion = steady((0.5, 0.5))
    grey = torch.full((1, 3, SIZE, SIZE), 0.5)  # lighter than white would not be seen

    assert torch.allclose(drawn(net, grey, motion), grey, atol=1e-5)


def test_half_a_pixel_is_nearer_to_the_truth(net):
    """Of a picture that is known between its pixels: one of twice the size, averaged."""
    large = textures(1, torch.Generator().manual_seed(1))[0][None]
    large = interpolate(large[..., : SIZE + 8, : SIZE + 8], scale_factor=2, mode="bicubic")
    first, truth, second = (
        avg_pool2d(large[..., start : start + 2 * SIZE], 2)[..., :SIZE, :] for start in (5, 4, 3)
    )
    motion = steady((0.5, 0.0))
    mean = (
        backward_warp(first, motion.back[0] / 2) + backward_warp(second, motion.forth[0] / 2)
    ) / 2
    with torch.no_grad():
        made = net.render(net.see(first), net.see(second), motion, 0.5)

    assert (made - truth).square().mean() < 0.95 * (mean - truth).square().mean()


@torch.no_grad()
def test_it_follows_the_flows_that_the_network_finds(net):
    """Not only those of a test: the way is that of the second finest level."""
    generator = torch.Generator().manual_seed(0)
    frames = triplets(textures(4, generator), 2, 64, Difficulty(6, 0.03), generator, halfway=True)
    seen = [net.see(frame) for frame in (frames.first, frames.second)]
    motion = net.motion(*seen)
    ways = (motion.back[0] / 2, motion.forth[0] / 2)
    one, two = map(backward_warp, (frames.first, frames.second), ways)
    coarse = interpolate(motion.back[1], scale_factor=2, mode="nearest")  # half of twice as much

    made = net.render(*seen, motion, 0.5).clamp(0, 1)
    said = unblurred((one + two) / 2, coarse).clamp(0, 1)

    assert (one - frames.first).abs().mean() > 1e-4
    assert torch.allclose(made[..., 2:-2, 2:-2], said[..., 2:-2, 2:-2], atol=1e-5)


def test_only_the_decoder_is_replaced(net, tmp_path):
    """By the command that `weights.train` runs last."""
    flows = {name: weight.half().contiguous() for name, weight in net.state_dict().items()}
    for name, weight in flows.items():
        if name.startswith("fuse."):
            weight.normal_()
    save_file(flows, tmp_path / "model.safetensors", {"steps": "7"})
    unblur(tmp_path, tmp_path / "out")
    made = load_file(tmp_path / "out" / "model.safetensors")

    for name, weight in net.state_dict().items():
        assert made[name].equal(weight.half())


def test_one_that_is_too_narrow_is_refused():
    """Three colours and five channels for what is taken back."""
    with pytest.raises(ValueError, match="6 channels wide has no room for 8"):
        write_decoder(small_film(NARROW), NARROW)
