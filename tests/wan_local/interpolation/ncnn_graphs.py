"""RIFE's published graphs, filled with random weights and run by ncnn's own runtime."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import ncnn
import numpy as np
import torch

from wan_local.interpolation.ncnn import FLOAT16, layers, layout, names

WARP = "rife.Warp"
"""The one layer that ncnn does not bring."""


def random_weights(text, seed=1):
    """Weights for the graph, by their published names, large enough to move and to mask."""
    generator = torch.Generator().manual_seed(seed)
    records = layout(layers(text))
    weights = {}
    for record, name in zip(records, names(records), strict=True):
        if name in weights:
            continue
        if record.role == "beta":
            weights[name] = 1 + 0.1 * torch.randn(1, record.count, 1, 1, generator=generator)
        elif record.role == "bias":
            weights[name] = 0.05 * torch.randn(record.shape, generator=generator)
        else:
            fan = np.prod(record.shape[1:]) / (4 if record.layer.kind == "Deconvolution" else 1)
            gain = 0.35 if ".convblock." in name else 0.8 if ".lastconv." in name else 1.0
            weight = gain * torch.randn(record.shape, generator=generator) / float(fan) ** 0.5
            if record.layer.kind == "Deconvolution":
                weight = weight.transpose(0, 1).contiguous()
            weights[name] = weight
    for name in [n for n in weights if re.search(r"convblock\.\d\.conv\.bias$", n)]:
        weights.setdefault(
            name.replace("conv.bias", "beta"), torch.ones(1, len(weights[name]), 1, 1)
        )
    return weights


def write_bin(text, weights, path: Path, stored="float32"):
    """Write *weights* as ncnn would: tagged, padded, transposed convolutions the other way."""
    records = layout(layers(text))
    data = bytearray()
    for record, name in zip(records, names(records), strict=True):
        values = weights[name]
        if record.role == "weight" and record.layer.kind == "Deconvolution":
            values = values.transpose(0, 1)
        numbers = np.ascontiguousarray(values.numpy(), np.float32).reshape(-1)
        if record.role != "weight":
            data += numbers.tobytes()
        elif stored == "float32":
            data += struct.pack("<I", 0) + numbers.tobytes()
        elif stored == "float16":
            data += struct.pack("<I", FLOAT16) + numbers.astype("<f2").tobytes()
            data += b"\0" * (-len(data) % 4)
        else:  # a table of 256 values
            low, high = numbers.min(), numbers.max()
            table = np.linspace(low, high, 256, dtype=np.float32)
            places = np.rint((numbers - low) / (high - low) * 255).astype(np.uint8)
            data += struct.pack("<I", 1) + table.tobytes() + places.tobytes()
            data += b"\0" * (-len(data) % 4)
    path.write_bytes(bytes(data))


def run(text, binary: Path, first, second, time):
    """Let ncnn compute the frame at *time*; warps are done here, everything else there.

    Each warp becomes an input of the graph, which is filled when the ones before it are known.
    """
    warps = [line.split() for line in text.splitlines() if line.startswith(WARP)]
    inputs_instead = "\n".join(
        f"Input {line.split()[1]} 0 1 {line.split()[6]}" if line.startswith(WARP) else line
        for line in text.splitlines()
    )
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_winograd_convolution = False
    net.opt.lightmode = False
    graph = binary.with_suffix(".inputs.param")
    graph.write_text(inputs_instead + "\n")
    assert net.load_param(str(graph)) == 0
    assert net.load_model(str(binary)) == 0
    extractor = net.create_extractor()
    plane = np.full((1, *first.shape[-2:]), time, np.float32)
    given = [("in0", first[0].numpy()), ("in1", second[0].numpy()), ("in2", plane)]
    for name, value in given:
        extractor.input(name, ncnn.Mat(value))
    for warp in warps:
        picture, flow = (take(extractor, blob) for blob in warp[4:6])
        # A Mat only points to the array, which has to outlive the extractor.
        given.append((warp[6], read_at(picture, flow)))
        extractor.input(warp[6], ncnn.Mat(given[-1][1]))
    return torch.from_numpy(take(extractor, "out0"))[None]


def take(extractor, blob):
    """Copy a blob out: what `extract` returns is a view of memory that ncnn frees with the Mat."""
    _, mat = extractor.extract(blob)
    return np.array(mat, copy=True)


def read_at(picture, flow):
    """Read [channels, height, width] at (x + u, y + v), bilinear, edges repeated; in numpy."""
    _, height, width = picture.shape
    ys, xs = np.mgrid[:height, :width].astype(np.float64)
    x = np.clip(xs + flow[0], 0, width - 1)
    y = np.clip(ys + flow[1], 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x, y = x - left, y - top
    upper = picture[:, top, left] * (1 - x) + picture[:, top, right] * x
    lower = picture[:, below, left] * (1 - x) + picture[:, below, right] * x
    return np.ascontiguousarray(upper * (1 - y) + lower * y, np.float32)
