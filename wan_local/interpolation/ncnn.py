"""RIFE's weights out of ncnn's two files: a graph as text (.param) and its numbers (.bin).

The numbers stand in the order of the graph's layers, without names; names come from the order in
which RIFE's parts follow one another. Formats: https://github.com/Tencent/ncnn/wiki, "param and
model file structure".
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wan_local.errors import BadCheckpoint

MAGIC = "7767517"
FLOAT16, FLOAT32, INT8 = 0x01306B47, 0x0002C056, 0x000D4B38
LONGEST = 2**20
"""Characters of a graph; the longest published one has 68,000."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the graph."""

    kind: str
    name: str
    values: dict[int, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One run of numbers in the .bin file."""

    layer: Layer
    role: Literal["weight", "bias", "beta"]
    """Weights begin with a tag that says how they are stored; the others are plain float32."""
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def read_ncnn(param: Path) -> dict[str, Tensor]:
    """Return RIFE's weights by their published names, from *param* and the .bin beside it.

    Raises:
        BadCheckpoint: If the two are not a RIFE.
    """
    try:
        text = param.read_bytes()[: LONGEST + 1].decode("ascii")
        records = layout(layers(text))
        numbers = _numbers(records, param.with_suffix(".bin").read_bytes())
        return _named(records, numbers)
    except BadCheckpoint as error:
        msg = f"{param}: {error}"
        raise BadCheckpoint(msg) from error
    except (OSError, ValueError, LookupError, ArithmeticError, struct.error) as error:
        msg = f"{param} and its .bin cannot be read as a RIFE: {type(error).__name__}: {error}"
        raise BadCheckpoint(msg) from error


def layers(text: str) -> list[Layer]:
    """Read the graph's lines."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(text) > LONGEST or lines[:1] != [[MAGIC]]:
        msg = "this is not a graph of ncnn"
        raise BadCheckpoint(msg)
    found = []
    for kind, name, inputs, outputs, *rest in lines[2:]:
        pairs = [pair.split("=", 1) for pair in rest[int(inputs) + int(outputs) :]]
        found.append(Layer(kind, name, {int(key): value for key, value in pairs}))
    return found


def layout(graph: Sequence[Layer]) -> list[Record]:
    """Return the records that *graph* has in its .bin, in order."""
    records = []
    for layer in graph:
        number = _reader(layer)
        if layer.kind in {"Convolution", "Deconvolution"}:
            outputs, width, count = number(0), number(1), number(6)
            height = number(11, width)
            inputs = count // (outputs * width * height)
            # Both kinds are (out, in, height, width) here; torch has (in, out, …) for the second.
            records.append(Record(layer, "weight", (outputs, inputs, height, width)))
            if number(5):
                records.append(Record(layer, "bias", (outputs,)))
        elif layer.kind == "MemoryData":
            records.append(Record(layer, "beta", (number(2) * number(1) * number(0),)))
        elif layer.kind in {"InnerProduct", "ConvolutionDepthWise", "PReLU", "BatchNorm", "Scale"}:
            msg = f"no RIFE from 4.5 to 4.26 has a layer {layer.kind}"
            raise BadCheckpoint(msg)
    return records


def _reader(layer: Layer) -> Callable[..., int]:
    def number(key: int, default: int = 0) -> int:
        value = int(layer.values.get(key, default))
        if not 0 <= value < 2**28:
            msg = f"{layer.name} has {key}={value}"
            raise BadCheckpoint(msg)
        return value

    return number


def _numbers(records: Sequence[Record], data: bytes) -> list[Floats]:
    found, place = [], 0
    for record in records:
        tag = FLOAT32
        if record.role == "weight":
            (tag,) = struct.unpack_from("<I", data, place)
            place += 4
        numbers, length = _decoded(tag, data, place, record.count)
        place += length
        found.append(numbers.reshape(record.shape))
    if place != len(data):
        msg = f"{len(data) - place} bytes of the .bin belong to no layer"
        raise BadCheckpoint(msg)
    return found


def _decoded(tag: int, data: bytes, place: int, count: int) -> tuple[Floats, int]:
    """Return *count* numbers stored as *tag* says, and the bytes they take, padded to four."""
    if tag == FLOAT16:
        halves = np.frombuffer(data, "<f2", count, place)
        return halves.astype(np.float32), -(-count * 2 // 4) * 4
    if tag in {0, FLOAT32}:
        return np.frombuffer(data, "<f4", count, place).copy(), count * 4
    if tag == INT8:
        msg = "int8 weights are not supported: take the fp16 or fp32 file"
        raise BadCheckpoint(msg)
    # Any other tag means a table of 256 numbers, and then a byte for each weight.
    table = np.frombuffer(data, "<f4", 256, place)
    places = np.frombuffer(data, "u1", count, place + 1024)
    return table[places].astype(np.float32), 1024 + -(-count // 4) * 4


def names(records: Sequence[Record]) -> list[str]:
    """Return the published name of each record, by walking the convolutions in order.

    The encoder, which runs on both frames, stands twice at the front; then come the blocks, each
    two convolutions, eight residual ones and a transposed one.
    """
    convolutions = [record for record in records if record.role == "weight"]
    # A block begins where at least two frames and the time come in, as many as never go out.
    encoder = next(
        place
        for place, record in enumerate(convolutions)
        if record.layer.kind == "Convolution" and record.shape[1] >= 7
        if record.shape[1] != record.shape[0]
    )
    parts = {
        0: [],
        4: ["encode.0", "encode.1"] * 2,
        8: [f"encode.cnn{index}" for index in range(4)] * 2,
    }[encoder]
    block = 0
    while len(parts) < len(convolutions):
        parts += [f"block{block}.conv0.0.0", f"block{block}.conv0.1.0"]
        parts += [f"block{block}.convblock.{index}.conv" for index in range(8)]
        parts.append(f"block{block}.lastconv.0")
        block += 1
    part_of = {record.layer.name: part for record, part in zip(convolutions, parts, strict=True)}
    return [
        f"{record.layer.name.removesuffix('.beta')}.beta"
        if record.role == "beta"
        else f"{part_of[record.layer.name]}.{record.role}"
        for record in records
    ]


def _named(records: Sequence[Record], numbers: Sequence[Floats]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for record, name, values in zip(records, names(records), numbers, strict=True):
        tensor = torch.from_numpy(values)
        if record.role == "beta":
            tensor = tensor.reshape(1, -1, 1, 1)
        elif record.role == "weight" and record.layer.kind == "Deconvolution":
            tensor = tensor.transpose(0, 1).contiguous()
        if name in weights and not torch.equal(weights[name], tensor):
            msg = f"the file holds two different copies of {name}"
            raise BadCheckpoint(msg)
        weights[name] = tensor
    return weights | _folded_gains(weights)


def _folded_gains(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a gain of one for each residual convolution whose gain is in its weights already."""
    gains = {}
    for name, tensor in weights.items():
        if re.search(r"convblock\.\d\.conv\.bias$", name):
            beta = name.replace("conv.bias", "beta")
            if beta not in weights:
                gains[beta] = torch.ones(1, len(tensor), 1, 1)
    return gains
