"""A short queue and a thread behind it: whoever makes frames need not wait for who stores them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from wan_local.tensors import Frames

CHUNKS_WAITING = 2


class Belt:
    """Carries chunks of frames to *consume*, which runs in a thread of its own.

    Once *consume* has raised an OSError, chunks are taken off unread, so that nobody is blocked;
    the error is kept for whoever wants to know why.
    """

    error: OSError | None = None

    def __init__(self, name: str, consume: Callable[[Frames], object]) -> None:
        self._consume = consume
        self._chunks: queue.Queue[Frames | None] = queue.Queue(CHUNKS_WAITING)
        self._broken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._carry, name=name, daemon=True)
        self._thread.start()

    @property
    def broken(self) -> bool:
        """Whether chunks go nowhere any more."""
        return self._broken.is_set()

    def put(self, frames: Frames, *, within: float | None) -> bool:
        """Return whether there was room for *frames* within so many seconds; None waits."""
        try:
            self._chunks.put(frames, timeout=within)
        except queue.Full:
            return False
        return True

    def end(self) -> None:
        """Say that no more chunks come; the thread ends once it is through."""
        if not self._ended:
            self._ended = True
            self._chunks.put(None)

    def drop(self) -> None:
        """Let what is still waiting fall off, and wait for the thread."""
        self._broken.set()
        self.end()
        self._thread.join()

    def through(self, *, within: float | None) -> bool:
        """Return whether every chunk has been consumed within so many seconds; None waits."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def _carry(self) -> None:
        while (frames := self._chunks.get()) is not None:
            if self._broken.is_set():
                continue
            try:
                self._consume(frames)
            except OSError as error:
                self.error = error
                self._broken.set()
