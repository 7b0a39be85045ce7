"""The slot: one GPU (or one gang of them) that runs one plan at a time, and what is said to it.

Messages travel as JSON lines, never as pickles: the same ones cross a Unix socket to a child
process and, later, a network to another machine.
"""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from wan_local.events import Event, Finished
from wan_local.plan import VideoPlan


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Errand(_Message):
    """Which attempt of which job a message is about."""

    job: str
    attempt: int


# ── to the slot ──────────────────────────────────────────────────────────────────────────────────


class Run(_Message):
    """Carry this plan out and write the video to *output* (which does not exist yet)."""

    say: Literal["run"] = "run"
    errand: Errand
    plan: VideoPlan
    output: str


class Cancel(_Message):
    """Drop what you are doing, if it is still this."""

    say: Literal["cancel"] = "cancel"
    errand: Errand


class Quit(_Message):
    """End the process; a running plan is dropped."""

    say: Literal["quit"] = "quit"


# ── from the slot ────────────────────────────────────────────────────────────────────────────────


class Done(_Message):
    """The plan is carried out and the file is on disk, whole and synced."""

    say: Literal["done"] = "done"
    errand: Errand
    finished: Finished
    sha256: str
    size_bytes: int


class Failed(_Message):
    """The plan could not be carried out."""

    say: Literal["failed"] = "failed"
    errand: Errand
    error: str
    """Name of the class in `wan_local.errors`, or `InternalError` for anything unexpected."""
    message: str
    """One sentence about the user's problem; internals stay in the log."""
    part: str = ""
    """The part of the plan that it is about, such as `first_frame`; empty for none of them."""


class Cancelled(_Message):
    """The plan was dropped; nothing is left of it."""

    say: Literal["cancelled"] = "cancelled"
    errand: Errand


Ending = Annotated[Done | Failed | Cancelled, Field(discriminator="say")]


class Hello(_Message):
    """First word on every connection: who I am, what I hold, and what I am in the middle of.

    `running` lets a restarted server adopt the attempt instead of starting it again; `ending` is
    the last outcome, for a server that was away when it was said.
    """

    say: Literal["hello"] = "hello"
    slot: str
    pid: int
    device: str
    """In words: `cpu`, or the name of the GPU."""
    running: Errand | None = None
    ending: Ending | None = None


class Alive(_Message):
    """Still here. Sent every second from a thread of its own, whatever the engine is busy with."""

    say: Literal["alive"] = "alive"
    idle_seconds: float = 0.0
    """Seconds since the engine last said anything while running; 0 when nothing runs."""


class Said(_Message):
    """The engine said this."""

    say: Literal["said"] = "said"
    errand: Errand
    event: Annotated[Event, Field(discriminator="kind")]


ToSlot = Annotated[Run | Cancel | Quit, Field(discriminator="say")]
FromSlot = Annotated[Hello | Alive | Said | Done | Failed | Cancelled, Field(discriminator="say")]

TO_SLOT: TypeAdapter[Run | Cancel | Quit] = TypeAdapter(ToSlot)
FROM_SLOT: TypeAdapter[Hello | Alive | Said | Done | Failed | Cancelled] = TypeAdapter(FromSlot)


class Lost(Exception):
    """The slot's process is gone; whatever it was doing did not finish."""


class Slot(Protocol):
    """What the dispatcher needs of a slot, wherever its GPU is.

    All methods may be called from any thread.
    """

    name: str

    def start(self) -> Hello:
        """Start the process, or find the one that outlived the last server, and return its hello.

        Raises:
            Lost: If it does not come up.
        """
        ...

    def send(self, message: Run | Cancel | Quit) -> None:
        """Send one message; a slot that is gone swallows it and reports itself in `receive`."""
        ...

    def receive(self) -> Alive | Said | Done | Failed | Cancelled:
        """Wait for the next message.

        Raises:
            Lost: If the process ended, or was silent for too long and has been killed.
        """
        ...

    def kill(self) -> None:
        """End the process at once and wait until it is gone."""
        ...
