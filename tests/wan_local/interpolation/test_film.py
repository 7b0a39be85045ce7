"""FILM: the published names, its arithmetic stated a second time, and the order of halving."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as fn

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.film import Film, FilmLayout, film_layout, order

SMALL = FilmLayout(base=4, flow_widths=(4, 4, 6, 8))


def published_shapes():
    """Name -> shape of the archive in circulation, as its description lists them."""
    shapes = {}

    def conv(name, inputs, outputs, kernel):
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{name}.bias"] = (outputs,)

    for stage, (inputs, outputs) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512)]):
        conv(f"extract.extract_sublevels.convs.{stage}.0.0", inputs, outputs, 3)
        conv(f"extract.extract_sublevels.convs.{stage}.1.0", outputs, outputs, 3)
    predictors = [("_predictor", 960, 256)]
    predictors += [
        ("_predictors.0", 448, 128),
        ("_predictors.1", 192, 64),
        ("_predictors.2", 64, 32),
    ]
    for name, features, width in predictors:
        sizes = [(2 * features, width, 3), (width, width, 3), (width, width, 3)]
        sizes += [(width, width // 2, 1), (width // 2, 2, 1)]
        for index, size in enumerate(sizes):
            conv(f"predict_flow.{name}._convs.{index}.0", *size)
    below = 1930
    for index, (skip, width) in enumerate([(1930, 512), (906, 256), (394, 128), (138, 64)]):
        conv(f"fuse.convs.{index}.0.0", below, width, 2)
        conv(f"fuse.convs.{index}.1.0", skip + width, width, 3)
        conv(f"fuse.convs.{index}.2.0", width, width, 3)
        below = width
    conv("fuse.output_conv", 64, 3, 1)
    return shapes


def test_every_name_and_shape_is_the_published_one():
    """34,436,667 parameters in 82 tensors: what loads, loads whole."""
    with torch.device("meta"):
        weights = Film().state_dict()

    assert published_shapes() == {name: tuple(weight.shape) for name, weight in weights.items()}
    assert 82 == len(weights)
    assert 34_436_667 == sum(weight.numel() for weight in weights.values())


def test_the_widths_are_read_off_the_shapes():
    """A small FILM of our own training is the same class."""
    with torch.device("meta"):
        assert SMALL == film_layout(Film(SMALL).state_dict())
        assert FilmLayout() == film_layout(Film().state_dict())


def test_other_networks_are_refused():
    """The first name that is missing says enough."""
    with pytest.raises(BadCheckpoint, match=r"not the weights of FILM: there is no 'extract\."):
        film_layout({"block0.conv0.0.0.weight": torch.zeros(1)})


# ── the arithmetic, stated again from the paper, one function on a dictionary of weights ─────────


def restated(weights, first, second, time):  # noqa: C901 - one piece, to be read beside the paper
    """FILM in the plainest words; nothing is shared with the module under test."""

    def conv(name, x, act=True):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if weight.shape[-1] == 2:
            x = fn.pad(x, (0, 1, 0, 1))
        x = fn.conv2d(x, weight, bias, padding=1 if weight.shape[-1] == 3 else 0)
        return torch.where(x > 0, x, 0.2 * x) if act else x

    def warp(x, flow):
        height, width = flow.shape[-2:]
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        px = (xs + flow[0, 0]).clamp(0, width - 1)
        py = (ys + flow[0, 1]).clamp(0, height - 1)
        x0, y0 = px.floor().long(), py.floor().long()
        x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
        fx, fy = px - x0, py - y0
        upper = x[..., y0, x0] * (1 - fx) + x[..., y0, x1] * fx
        lower = x[..., y1, x0] * (1 - fx) + x[..., y1, x1] * fx
        return upper * (1 - fy) + lower * fy

    def pyramid(picture):
        pictures = [picture]
        while len(pictures) < 7:
            pictures.append(fn.avg_pool2d(pictures[-1], 2))
        trees = []
        for picture in pictures:
            stages = []
            for stage in range(min(4, 7 - len(trees))):
                x = fn.avg_pool2d(stages[-1], 2) if stages else picture
                name = f"extract.extract_sublevels.convs.{stage}"
                stages.append(conv(f"{name}.1.0", conv(f"{name}.0.0", x)))
            trees.append(stages)
        return pictures, [
            torch.cat([trees[i - j][j] for j in range(min(i, 3) + 1)], 1) for i in range(7)
        ]

    def flows(one, two):
        found, flow = {}, None
        for level in range(6, -1, -1):
            name = "_predictor" if level >= 3 else f"_predictors.{2 - level}"
            if flow is not None:
                flow = fn.interpolate(2 * flow, scale_factor=2, mode="bilinear")
            x = torch.cat([one[level], two[level] if flow is None else warp(two[level], flow)], 1)
            for index in range(5):
                x = conv(f"predict_flow.{name}._convs.{index}.0", x, act=index < 4)
            flow = x if flow is None else flow + x
            found[level] = flow
        return found

    (one, ones), (two, twos) = pyramid(first), pyramid(second)
    forth, back = flows(ones, twos), flows(twos, ones)
    levels = []
    for level in range(5):
        to_one, to_two = time * back[level], (1 - time) * forth[level]
        levels.append(
            torch.cat(
                [
                    warp(torch.cat([one[level], ones[level]], 1), to_one),
                    warp(torch.cat([two[level], twos[level]], 1), to_two),
                    to_one,
                    to_two,
                ],
                1,
            )
        )
    x = levels[4]
    for index, level in enumerate((3, 2, 1, 0)):
        x = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        x = torch.cat([levels[level], conv(f"fuse.convs.{index}.0.0", x, act=False)], 1)
        x = conv(f"fuse.convs.{index}.2.0", conv(f"fuse.convs.{index}.1.0", x))
    return conv("fuse.output_conv", x, act=False), forth[0]


@pytest.mark.parametrize("time", [0.5, 0.2])
def test_the_network_computes_what_the_paper_says(time):
    """Flows of several pixels, or the warps would not be tested."""
    net, (first, second) = small_film(), frames()
    with torch.inference_mode():
        theirs, flow = restated(net.state_dict(), first, second, time)
        one, two = net.see(first), net.see(second)
        ours = net.render(one, two, net.motion(one, two), time)

    assert flow.abs().max() > 2
    assert torch.allclose(theirs, ours, atol=1e-4 * float(theirs.abs().max()))


def small_film():
    torch.manual_seed(0)
    net = Film(SMALL).eval()
    for name, weight in net.state_dict().items():
        if name.endswith("weight"):
            fan = weight[0].numel()
            weight.normal_(0, (1.9 if "predict_flow" in name else 1.4) / fan**0.5)
    return net


def frames():
    generator = torch.Generator().manual_seed(3)
    small = torch.rand(1, 3, 10, 18, generator=generator)
    whole = fn.interpolate(small, size=(70, 140), mode="bicubic").clamp(0, 1)
    return whole[..., :64, :128].contiguous(), whole[..., 6:, 5:133].contiguous()


# ── several frames ───────────────────────────────────────────────────────────────────────────────

THIRD = 1 / 3


@pytest.mark.parametrize(
    ("count", "middles"),
    [
        (1, [0.5]),
        (2, [THIRD, 0.5]),
        (3, [0.5, 0.5, 0.5]),
        (4, [0.4, 0.5, THIRD, 0.5]),
    ],
)
def test_the_time_nearest_its_gaps_middle_is_made_first(count, middles):
    """FILM was trained half-way: nothing else is asked of it where a half-way exists."""
    made = order([number / (count + 1) for number in range(1, count + 1)])
    asked = [(time - before) / (after - before) for before, time, after in made]

    assert asked == pytest.approx(middles)


def test_frames_made_are_neighbours_of_the_next():
    """Three frames are three times half-way, and come out in the order of time."""
    net, (first, second) = small_film(), frames()
    with torch.inference_mode():
        one, two = net.see(first), net.see(second)

        def halfway(left, right):
            return net.render(left, right, net.motion(left, right), 0.5).clamp(0, 1)

        middle = halfway(one, two)
        early, late = halfway(one, net.see(middle)), halfway(net.see(middle), two)
        made = list(net.between(one, two, [0.25, 0.5, 0.75]))

    assert [True] * 3 == [
        torch.equal(*pair) for pair in zip([early, middle, late], made, strict=True)
    ]
