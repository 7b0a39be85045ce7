"""A FILM that has grown wider: the same pictures as before, and room to learn."""

from __future__ import annotations

import pytest
import torch

from wan_local.interpolation.film import Film, FilmLayout
from weights.train.grow import channels, grow

NARROW, WIDE = FilmLayout(2, (2, 4, 6, 8)), FilmLayout(3, (4, 4, 8, 10))


@pytest.fixture
def narrow():
    torch.manual_seed(0)
    return Film(NARROW)


def middle(net):
    torch.manual_seed(1)
    first = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        return next(net.between(net.see(first), net.see(first.roll(3, -1)), [0.5]))


def test_every_convolution_is_known():
    """One that was forgotten would keep its random weights."""
    net = Film(WIDE)

    assert {
        name for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d)
    } == (channels(WIDE).keys())
    for name, conv in channels(WIDE).items():
        assert net.get_submodule(name).weight.shape[:2] == (conv.outputs, sum(conv.parts)), name


def test_it_makes_the_same_pictures(narrow):
    """What was learned is not lost, however random what is beside it."""
    wide = Film(WIDE)
    assert not torch.allclose(middle(wide), middle(narrow), atol=1e-3)
    grow(WIDE, wide, narrow.state_dict())

    assert torch.allclose(middle(wide), middle(narrow), atol=1e-5)


def test_what_is_new_can_be_learned(narrow):
    """Zeros on both sides of a channel would leave it dead for ever."""
    wide = Film(WIDE)
    grow(WIDE, wide, narrow.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    seen, other = wide.see(picture), wide.see(picture.roll(3, -1))
    wide.render(seen, other, wide.motion(seen, other), 0.5).square().mean().backward()
    output = wide.fuse.output_conv.weight

    assert (output[:, 2] == 0).all()
    assert (output.grad[:, 2] != 0).all()


def test_none_is_cut_narrower(narrow):
    """Channels would be lost without a word."""
    with pytest.raises(ValueError, match=r"base=3.* does not fit into .*base=2"):
        grow(NARROW, narrow, Film(WIDE).state_dict())
