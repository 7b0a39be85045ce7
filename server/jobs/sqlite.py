"""One SQLite file: durable when `write` returns, and many writes to one fsync.

WAL with `synchronous=FULL`: NORMAL would lose acknowledged jobs in a power failure, and saves
0.3 ms on a write that precedes minutes of work.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

BATCH = 256
"""Most writes that share one commit; more would make the first of them wait for the last."""
RESERVE_BYTES = 16 * 2**20
"""Room for about 10 000 endings: a completion writes some pages to the WAL."""
RESERVE_PAUSE = 10.0
"""Seconds between two attempts to lay a spent reserve aside again."""


class StoreUnavailable(Exception):
    """The job database cannot be written at the moment."""


class BadDatabase(Exception):
    """The job database cannot be used."""


class Reserve:
    """Disk space laid aside, so that on a full disk running jobs can still be ended.

    While it is spent, only vital writes are let through: anything else would eat what is left.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size = size_bytes
        self._next_try = 0.0
        self.held = False
        self.restore()

    def spend(self) -> bool:
        """Give the space free; return whether there was any."""
        was_held, self.held = self.held, False
        self._path.unlink(missing_ok=True)
        self._next_try = time.monotonic() + RESERVE_PAUSE
        return was_held

    def restore(self) -> bool:
        """Lay the space aside if it is not yet, and the disk has room again."""
        if self.held or time.monotonic() < self._next_try:
            return self.held
        self._next_try = time.monotonic() + RESERVE_PAUSE
        if self._path.exists() and self._path.stat().st_size == self._size:
            self.held = True
            return True
        disk = os.statvfs(self._path.parent)
        # Twice the size: a reserve that takes the last free byte would be spent by the next write.
        if disk.f_bavail * disk.f_frsize < 2 * self._size:
            return False
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            # Somebody else took the room between the question and the answer.
            self._path.unlink(missing_ok=True)
            return False
        self.held = True
        return True


@dataclass(slots=True)
class _Order(Generic[T]):
    operation: Callable[[sqlite3.Connection], T]
    after: Callable[[T], None]
    vital: bool
    answer: Future[T] = field(default_factory=Future)


class Database:
    """The file, the thread that writes it, and a connection to read it."""

    def __init__(
        self, path: Path, *, busy_timeout: float = 5.0, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        """Open the database, bringing its schema up to date.

        Args:
            path: The file; its directory holds the WAL and the reserve as well.
            busy_timeout: Seconds to wait for another process that holds the file locked.
            reserve_bytes: Disk space laid aside for the endings of running jobs.

        Raises:
            BadDatabase: If it is damaged, not a database, or of a newer version.
        """
        self.commits = 0
        self._writer = _connect(path, busy_timeout)
        _prepare(self._writer, path)
        migrate(self._writer, MIGRATIONS)
        self._reader = _connect(path, busy_timeout)
        self._reader.execute("PRAGMA query_only = 1")
        self._reader_lock = threading.Lock()
        self._reserve = Reserve(path.with_suffix(".reserve"), reserve_bytes)
        self._orders: queue.SimpleQueue[_Order[Any] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="job-writer", daemon=True)
        self._thread.start()

    def write(
        self,
        operation: Callable[[sqlite3.Connection], T],
        *,
        after: Callable[[T], None] = lambda _: None,
        vital: bool = False,
    ) -> T:
        """Run *operation* in a transaction and return its result once that is on the disk.

        *after* gets the result on the writer's thread, in the order of the commits and before
        this call returns; it must be quick. *vital* writes may use the reserve of a full disk.

        Raises:
            StoreUnavailable: If the database could not be written; nothing has changed.
        """
        order = _Order(operation, after, vital)
        with self._closing:
            if self._closed:
                msg = "the job database is closed"
                raise StoreUnavailable(msg)
            self._orders.put(order)
        return order.answer.result()

    def read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        """Run one query beside the writer and return its rows.

        Raises:
            StoreUnavailable: If the database cannot be read.
        """
        with self._reader_lock:
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                msg = f"the job database cannot be read: {error}"
                raise StoreUnavailable(msg) from error

    def close(self) -> None:
        """Finish what was ordered and close the file."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._orders.put(None)
        self._thread.join()
        with self._reader_lock:
            self._reader.close()
        self._writer.close()

    def _serve(self) -> None:
        while True:
            batch = self._gather()
            orders = [order for order in batch if order is not None]
            if orders:
                self._settle(orders)
            if len(orders) < len(batch):
                return

    def _gather(self) -> list[_Order[Any] | None]:
        batch = [self._orders.get()]
        while len(batch) < BATCH and batch[-1] is not None:
            try:
                batch.append(self._orders.get_nowait())
            except queue.Empty:
                break
        return batch

    def _settle(self, batch: list[_Order[Any]]) -> None:
        if not self._reserve.restore():
            batch = _refuse(batch, "the disk is full")
        try:
            self._commit(batch)
        except sqlite3.Error as error:
            if _is_full(error) and self._reserve.spend():
                log.warning("the disk is full: only endings of jobs are written until it is not")
                self._settle_vital(_refuse(batch, str(error)))
            else:
                _refuse(batch, str(error), vital_too=True)

    def _settle_vital(self, batch: list[_Order[Any]]) -> None:
        try:
            self._commit(batch)
        except sqlite3.Error as error:
            _refuse(batch, str(error), vital_too=True)

    def _commit(self, batch: list[_Order[Any]]) -> None:
        if not batch:
            return
        # Error in COMMIT (full, locked, a bad disk) fails the batch and must not end this thread:
        # the next batch may go through.
        with _transaction(self._writer):
            answers = [self._carry_out(order) for order in batch]
        self.commits += 1
        for order, (result, error) in zip(batch, answers, strict=True):
            if error is not None:
                order.answer.set_exception(error)
                continue
            try:
                order.after(result)
            except Exception as bug:  # noqa: BLE001 - without this thread nobody is answered again
                order.answer.set_exception(bug)
                continue
            order.answer.set_result(result)

    def _carry_out(self, order: _Order[Any]) -> tuple[Any, Exception | None]:
        self._writer.execute("SAVEPOINT one_order")
        try:
            result = order.operation(self._writer)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it
            self._writer.execute("ROLLBACK TO one_order")
            self._writer.execute("RELEASE one_order")
            return None, error
        self._writer.execute("RELEASE one_order")
        return result, None


def migrate(connection: sqlite3.Connection, scripts: Sequence[str]) -> None:
    """Bring the schema up to version `len(scripts)`, each script in a transaction of its own.

    Raises:
        BadDatabase: If it has a later version already.
    """
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        msg = (
            f"the job database has schema version {version} and this release knows {len(scripts)}: "
            "it was written by a newer wan-local; install that one, or use another data directory"
        )
        raise BadDatabase(msg)
    for number, script in enumerate(scripts[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;"
        )


def _migrations() -> list[str]:
    folder = resources.files("server.jobs").joinpath("migrations")
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    return [found[name] for name in sorted(found) if re.fullmatch(r"\d{4}_\w+\.sql", name)]


MIGRATIONS = _migrations()


def _connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the writer's settings, and refuse a file that is damaged or no database at all.

    Raises:
        BadDatabase: With what the operator can do.
    """
    try:
        [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        connection.close()
        msg = (
            f"the job database {path} cannot be used ({verdict}): put a backup of it back, "
            "or move it away to start with an empty queue"
        )
        raise BadDatabase(msg)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # SQLite itself has rolled back after some errors, a full disk among them.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _refuse(batch: list[_Order[Any]], reason: str, *, vital_too: bool = False) -> list[_Order[Any]]:
    """Fail the orders of *batch* that may be failed; return the rest."""
    for order in batch:
        if vital_too or not order.vital:
            msg = f"the job database cannot be written: {reason}"
            order.answer.set_exception(StoreUnavailable(msg))
    return [] if vital_too else [order for order in batch if order.vital]


def _is_full(error: sqlite3.Error) -> bool:
    # Not every sqlite3.Error carries a code: those of the module itself have none.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL
