"""Tensors out of a torch archive (TorchScript, or a saved state dict) without running any of it.

Such a file is a zip with the numbers in it, and a pickle that says which of them are which tensor.
A pickle is a program. Here it is read, not run: what it would call becomes a note of the name and
the arguments, names that have no place in a file of weights are refused, and of the rest only the
notes that rebuild a tensor mean anything.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wan_local.errors import BadCheckpoint

LARGEST = 2**30
"""Bytes a part may have; the largest published one, FILM in float32, has 138 MB in all."""
MOST_VALUES = 100_000
"""Values looked at on the way to the tensors; FILM's archive has some thousand."""

STORAGES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
}
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
DICT = "collections OrderedDict"
KNOWN = {TENSOR, PARAMETER, DICT, *STORAGES}
KNOWN_PREFIXES = ("__torch__", "torch.jit._pickle ")
"""Classes of the archived module, and lists of plain numbers."""


@dataclass(slots=True)
class Note:
    """What the pickle would have called or made."""

    name: str
    arguments: Any
    state: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a run of values on the stack begins."""


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Stored:
    reference: Any


def read_archive(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the archive at *path* by their dotted names.

    Raises:
        BadCheckpoint: If it is no such archive, or asks for anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {part.filename: part for part in archive.infolist()}
            program = [name for name in parts if name.endswith("/data.pkl")]
            if len(program) != 1:
                msg = f"{path} is not an archive of torch: it has {len(program)} data.pkl"
                raise BadCheckpoint(msg)
            folder = program[0].removesuffix("data.pkl")
            notes = read_notes(_part(archive, parts[program[0]], 2**24))
            shelf = _Shelf(lambda key: _part(archive, parts[f"{folder}data/{key}"], LARGEST))
            return dict(_tensors(notes, shelf))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError) as error:
        msg = f"{path} is not an archive of torch: {error}"
        raise BadCheckpoint(msg) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        msg = f"{path} is not what torch writes: {type(error).__name__}: {error}"
        raise BadCheckpoint(msg) from error


def _part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, most: int) -> bytes:
    # torch compresses nothing that is read here; what is not compressed cannot be a bomb.
    if part.compress_type != zipfile.ZIP_STORED or part.file_size > most:
        msg = f"{part.filename} is compressed, or larger than {most} bytes"
        raise ValueError(msg)
    return archive.read(part)


def read_notes(program: bytes) -> Any:
    """Follow the pickle *program* and return what it leaves, nothing of it called.

    Raises:
        BadCheckpoint: If it names something that weights have no use for.
        ValueError: If it is no pickle, or uses what torch does not.
    """
    reader = _Reader()
    for opcode, argument, _ in pickletools.genops(program):
        reader.follow(opcode.name, argument)
    return reader.result


class _Reader:
    """The stack machine of a pickle, with data on it only."""

    def __init__(self) -> None:
        self.result: Any = None
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSHED:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _SMALL_TUPLES:
            self._stack.append(tuple(self._pop(_SMALL_TUPLES[opcode])))
        elif opcode in {"BINPUT", "LONG_BINPUT"}:
            self._memo[argument] = self._stack[-1]
        elif opcode in {"BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[argument])
        elif opcode not in {"PROTO", "FRAME"}:
            act = _ACTS.get(opcode)
            if act is None:
                msg = f"{opcode} is nothing that torch writes"
                raise ValueError(msg)
            act(self, argument)

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            msg = "it takes more off its stack than it has put there"
            raise ValueError(msg)
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        for place in reversed(range(len(self._stack))):
            if isinstance(self._stack[place], _Mark):
                return self._pop(len(self._stack) - place)[1:]
        msg = "a mark is missing"
        raise ValueError(msg)

    def name(self, argument: str) -> None:
        if argument not in KNOWN and not argument.startswith(KNOWN_PREFIXES):
            asked = argument.replace(" ", ".")
            msg = f"these weights ask for {asked}: refused, and nothing of it was run"
            raise BadCheckpoint(msg)
        self._stack.append(_Name(argument))

    def note(self, _argument: None) -> None:
        called, arguments = self._pop(2)
        if not isinstance(called, _Name):
            msg = f"it calls {called!r}"
            raise TypeError(msg)
        self._stack.append({} if called.name == DICT else Note(called.name, arguments))

    def build(self, _argument: None) -> None:
        made, state = self._pop(2)
        if isinstance(made, Note):
            made.state = state
        self._stack.append(made)

    def memoize(self, _argument: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def stored(self, _argument: None) -> None:
        self._stack.append(_Stored(*self._pop(1)))

    def tuple_of_marked(self, _argument: None) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def append(self, _argument: None) -> None:
        (value,) = self._pop(1)
        self._stack[-1].append(value)

    def append_marked(self, _argument: None) -> None:
        values = self._pop_to_mark()
        self._stack[-1].extend(values)

    def set_item(self, _argument: None) -> None:
        key, value = self._pop(2)
        self._stack[-1][key] = value

    def set_marked(self, _argument: None) -> None:
        pairs = self._pop_to_mark()
        self._stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def stop(self, _argument: None) -> None:
        (self.result,) = self._pop(1)


_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
_SMALL_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTS: dict[str, Callable[[_Reader, Any], None]] = {
    "GLOBAL": _Reader.name,
    "REDUCE": _Reader.note,
    "NEWOBJ": _Reader.note,
    "BUILD": _Reader.build,
    "MEMOIZE": _Reader.memoize,
    "BINPERSID": _Reader.stored,
    "TUPLE": _Reader.tuple_of_marked,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.append_marked,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_marked,
    "STOP": _Reader.stop,
}


class _Shelf:
    """The numbers of an archive, each part read once."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._parts: dict[str, Tensor] = {}

    def tensor(self, note: Note) -> Tensor:
        """Rebuild the tensor that *note* describes.

        Raises:
            ValueError: If it reaches past its storage.
        """
        stored, offset, size, stride = note.arguments[:4]
        _, kind, key, _, _ = stored.reference
        dtype = STORAGES[kind.name]
        if key not in self._parts:
            data = bytearray(self._read(str(key)))
            self._parts[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0)
        numbers = self._parts[key]
        layout = [offset, *size, *stride]
        whole = all(type(number) is int and 0 <= number < 2**40 for number in layout)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if not whole or math.prod(size) > len(numbers) or last >= len(numbers):
            msg = f"a tensor of {size} from {offset} reaches past its {len(numbers)} numbers"
            raise ValueError(msg)
        return numbers.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)


def _tensors(notes: Any, shelf: _Shelf) -> Iterator[tuple[str, Tensor]]:
    """Walk through modules and dictionaries, and yield what is a tensor, by its dotted name."""
    waiting: list[tuple[str, Any]] = [("", notes)]
    size = 0
    for _ in range(MOST_VALUES):
        if not waiting:
            return
        if size > LARGEST:  # one part may be called for again and again
            break
        name, value = waiting.pop()
        if isinstance(value, Note) and value.name == PARAMETER:
            waiting.append((name, value.arguments[0]))
        elif isinstance(value, Note) and value.name == TENSOR:
            tensor = shelf.tensor(value)
            size += tensor.nbytes
            yield name, tensor
        else:
            inside = value.state if isinstance(value, Note) else value
            if isinstance(inside, dict):
                waiting += [(f"{name}.{key}" if name else str(key), x) for key, x in inside.items()]
    msg = f"it holds more than {MOST_VALUES} values or {LARGEST} bytes"
    raise ValueError(msg)
