"""The file, its writer thread, and what happens when the disk does not play along."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.jobs import sqlite
from server.jobs.model import Prepared
from server.jobs.sqlite import MIGRATIONS, BadDatabase, Database, StoreUnavailable, migrate
from server.jobs.store import JobStore

RESERVE = 64 * 1024


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "jobs.db", busy_timeout=0.2, reserve_bytes=RESERVE)
    database.write(lambda sql: sql.execute("CREATE TABLE notes (text TEXT UNIQUE)"))
    yield database
    database.close()


def note(text):
    return lambda sql: sql.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(database):
    return [row["text"] for row in database.read("SELECT text FROM notes ORDER BY rowid")]


def test_a_write_waits_for_the_disk(database):
    """Full synchronisation and WAL: what was acknowledged survives a power failure."""
    pragmas = database.write(
        lambda sql: [sql.execute(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS]
    )

    assert list(SETTINGS.values()) == pragmas


SETTINGS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}


def test_writes_that_come_together_share_a_commit(database):
    """An fsync takes milliseconds; a hundred clients must not wait for a hundred of them."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_sql):
        begun.set()
        go_on.wait()

    before = database.commits
    with ThreadPoolExecutor(101) as pool:
        pool.submit(database.write, hold_up)
        begun.wait()
        writes = [pool.submit(database.write, note(f"note {i}")) for i in range(100)]
        while database._orders.qsize() < 100:
            time.sleep(0.01)
        go_on.set()
    for write in writes:
        write.result()

    assert 100 == len(notes(database))
    assert 2 == database.commits - before


def test_one_failing_write_leaves_the_others_of_its_commit_alone(database):
    """Strangers share a transaction; they must not share a fate."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_sql):
        begun.set()
        go_on.wait()

    def half_done(sql):
        note("half")(sql)
        note("half")(sql)

    with ThreadPoolExecutor(4) as pool:
        pool.submit(database.write, hold_up)
        begun.wait()
        good = pool.submit(database.write, note("good"))
        bad = pool.submit(database.write, half_done)
        while database._orders.qsize() < 2:
            time.sleep(0.01)
        go_on.set()
        good.result()
        with pytest.raises(sqlite3.IntegrityError):
            bad.result()

    assert ["good"] == notes(database)


def test_after_is_called_once_the_write_is_on_the_disk(database):
    """The board must never show what a power failure could take back."""
    seen = []
    database.write(note("a"), after=lambda _: seen.append(notes(database)))

    assert [["a"]] == seen


def test_a_bug_after_a_commit_is_the_callers(database):
    """The thread that everybody waits for must not die of it."""

    def trip(_result):
        raise KeyError

    with pytest.raises(KeyError):
        database.write(note("a"), after=trip)
    database.write(note("b"))

    assert ["a", "b"] == notes(database)


def test_a_lock_held_by_another_process_fails_the_write_and_not_the_thread(database, tmp_path):
    """A backup tool that locks the file is an error of one request, not the end of the server."""
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        database.write(note("refused"))

    assert [] == notes(database)

    other.execute("ROLLBACK")
    other.close()
    database.write(note("accepted"))

    assert ["accepted"] == notes(database)


def test_a_full_file_fails_the_write_and_not_the_thread(database):
    """What does not fit is refused whole, and writing goes on once there is room again."""
    pages = database.write(lambda sql: sql.execute("PRAGMA page_count").fetchone()[0])
    database.write(lambda sql: sql.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    with pytest.raises(StoreUnavailable, match="full"):
        database.write(note("x" * 100_000))
    with pytest.raises(StoreUnavailable, match="full"):
        database.write(note("y" * 100_000), vital=True)

    assert [] == notes(database)

    database.write(
        lambda sql: sql.execute("PRAGMA max_page_count = 1000000").fetchall(), vital=True
    )
    database.write(note("x" * 100_000), vital=True)

    assert 1 == len(notes(database))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs root; test_a_full_file_... covers the refusal without it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_jobs_can_still_be_ended(small_disk, monkeypatch):
    """The reserve is for endings: hours of GPU time must not be lost for a few kilobytes."""
    monkeypatch.setattr(sqlite, "RESERVE_PAUSE", 0.0)
    database = Database(small_disk / "jobs.db", reserve_bytes=256 * 1024)
    database.write(lambda sql: sql.execute("CREATE TABLE notes (text TEXT UNIQUE)"))
    somebody_else = small_disk / "footage.mov"
    with pytest.raises(OSError, match="No space"), somebody_else.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096) == 4096:
            pass
    with pytest.raises(StoreUnavailable, match="full"):
        database.write(note("x" * 10_000))
    database.write(note("an ending"), vital=True)
    with pytest.raises(StoreUnavailable, match="full"):
        database.write(note("a submission"))

    assert ["an ending"] == notes(database)
    assert not (small_disk / "jobs.reserve").exists()

    somebody_else.unlink()
    database.write(note("a submission"))
    written = notes(database)
    database.close()

    assert ["an ending", "a submission"] == written
    assert (small_disk / "jobs.reserve").exists()


def test_the_reserve_comes_back_when_there_is_room(tmp_path, monkeypatch):
    """One full disk must not leave the next one unprepared."""
    monkeypatch.setattr(sqlite, "RESERVE_PAUSE", 0.0)
    reserve = sqlite.Reserve(tmp_path / "jobs.reserve", RESERVE)

    assert RESERVE == (tmp_path / "jobs.reserve").stat().st_size
    assert reserve.spend()
    assert not (tmp_path / "jobs.reserve").exists()
    assert not reserve.spend()
    assert reserve.restore()
    assert RESERVE == (tmp_path / "jobs.reserve").stat().st_size


def test_a_closed_database_refuses_to_write(tmp_path):
    """A request that comes while the server ends gets an answer and does not wait for ever."""
    database = Database(tmp_path / "jobs.db", reserve_bytes=RESERVE)
    database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        database.write(lambda sql: sql.execute("SELECT 1"))
    database.close()


def test_a_newer_schema_is_refused(tmp_path):
    """An old release that writes into a new database would destroy what it does not know."""
    sql = sqlite3.connect(tmp_path / "jobs.db")
    sql.execute("PRAGMA user_version = 99")
    sql.close()
    with pytest.raises(BadDatabase, match=r"version 99.*newer wan-local"):
        Database(tmp_path / "jobs.db")


@pytest.mark.parametrize("damage", ["not a database", "a flipped page"])
def test_a_damaged_file_is_refused_with_a_way_out(tmp_path, damage):
    """Serving from a damaged queue would lose jobs quietly; the operator can restore a backup."""
    path = tmp_path / "jobs.db"
    if damage == "not a database":
        path.write_bytes(b"not a database" * 1000)
    else:
        Database(path, reserve_bytes=RESERVE).close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(BadDatabase, match="put a backup of it back"):
        Database(path, reserve_bytes=RESERVE)


def test_a_migration_keeps_what_is_there_and_happens_once(tmp_path):
    """An upgrade in place: version by version, each in a transaction."""
    sql = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    migrate(sql, MIGRATIONS)
    sql.execute("INSERT INTO webhooks (job, url, next_at) VALUES ('a', 'http://x', 0)")
    later = [*MIGRATIONS, "ALTER TABLE webhooks ADD COLUMN note TEXT DEFAULT 'new'"]
    migrate(sql, later)
    migrate(sql, later)
    rows = sql.execute("SELECT url, note FROM webhooks").fetchall()
    version = sql.execute("PRAGMA user_version").fetchone()[0]
    sql.close()

    assert [("http://x", "new")] == rows
    assert len(later) == version


def test_jobs_of_the_first_version_are_ready_for_a_slot(tmp_path):
    """They bring no files; after an update they must not wait for ever."""
    sql = sqlite3.connect(tmp_path / "jobs.db")
    migrate(sql, MIGRATIONS[:1])
    sql.execute(
        "INSERT INTO jobs (id, request, owner, priority, affinity, state, created_at) "
        "VALUES ('a', ?, '', 0, '', 'queued', 1.0)",
        ['{"endpoint": "e", "input": {}, "seed": 1}'],
    )
    sql.commit()
    sql.close()

    store = JobStore(tmp_path / "jobs.db")
    job = store.claim("gpu0", frozenset())
    store.close()

    assert ("a", Prepared()) == (job.id, job.prepared)


def test_a_migration_that_fails_leaves_the_version_alone(tmp_path):
    """Half a migration would be a schema that no release knows."""
    sql = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(sql, ["CREATE TABLE one (a); CREATE TABLE one (b)"])
    sql.rollback()
    tables = sql.execute("SELECT name FROM sqlite_master").fetchall()
    version = sql.execute("PRAGMA user_version").fetchone()[0]
    sql.close()

    assert ([], 0) == (tables, version)
