"""The data folder of one stack: its lock, its secrets, its logs, and where each server keeps its data."""

import fcntl
import json
import os
import pwd
import secrets
import stat
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Self

from agon.errors import SetupError
from agon.local.server import disk_full

_LEAST_FREE = 400 * 1024 * 1024
"""A fresh Postgres takes 40 MB, Kafka's first segments about as much; below this a start would fail half way."""
_PATIENCE = 1.0
"""Seconds in which nobody who only looks has the lock any more."""
_LOG_LIMIT = 32 * 1024 * 1024
_IGNORED = "*\n"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once per data folder, so that a second start finds the servers' passwords and old tickets stay valid."""

    postgres: str
    redis: str
    analyst: str
    session: str
    keys: str

    @classmethod
    def make(cls) -> Self:
        return cls(*(secrets.token_urlsafe(24) for _ in fields(cls)))


class DataFolder:
    """Everything that one stack keeps, under one folder that only its user can read."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def folder(self, name: str) -> Path:
        return self.path / name

    def take(self) -> None:
        """Make the folder and hold it until this process ends, however it ends.

        Raises `SetupError` when somebody holds it, it is another user's or for other things, it can't be written, or
        the disk is full.
        """
        try:
            self._check_ours()
            self.logs.mkdir(parents=True, exist_ok=True)
            self._take_lock()  # from here on it can be seen to be ours, whatever else a full disk leaves out
            self.path.chmod(0o700)
            (self.path / ".gitignore").write_text(_IGNORED)
            status = os.statvfs(self.path)
            if status.f_bavail * status.f_frsize < _LEAST_FREE:
                self.release()
                raise SetupError(disk_full(self.path))
        except OSError as error:
            self.release()
            raise SetupError(
                f"{self.path} can't be used as the data folder ({error.strerror}): give another with --data"
            ) from error

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def is_held(self) -> bool:
        """Whether a running stack has it. A lock whose process was killed is no lock.

        Raises `SetupError` where it is another user's.
        """
        try:
            with (self.path / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except PermissionError as error:
            raise SetupError(f"{self.path} is not yours to read: run this as the user that started agon") from error
        except OSError:
            return False
        return False

    def secrets(self) -> Secrets:
        """Read them, or make them at the first start; a folder of an older agon gets those that it lacks."""
        place = self.path / "secrets.json"
        try:
            kept = json.loads(place.read_text()) if place.exists() else {}
            made = asdict(Secrets.make()) | kept
            if made != kept:
                write_private(place, json.dumps(made))
            return Secrets(**made)
        except (ValueError, TypeError) as error:
            raise SetupError(f"{place} is damaged: put it back, or start with another --data") from error

    def fresh_logs(self) -> None:
        """Begin every log anew; what the run before wrote stays beside it until the next."""
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))

    def trim_logs(self) -> None:
        """Start each log anew that has become too long, and keep its last part beside it."""
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > _LOG_LIMIT:
                with log.open("rb+") as file:
                    file.seek(-_LOG_LIMIT // 2, os.SEEK_END)
                    log.with_suffix(".log.1").write_bytes(file.read())
                    file.truncate(0)  # writers append, so they go on at the new end

    def _check_ours(self) -> None:
        """What is made private and kept out of git must be no home, no checkout, and no folder that all write to."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise SetupError(f"{self.path} is no folder: give another with --data")
        status, there = self.path.stat(), {entry.name for entry in self.path.iterdir()}
        owner = status.st_uid
        if owner != os.geteuid() and there:
            try:
                name = pwd.getpwuid(owner).pw_name
            except KeyError:
                name = str(owner)
            raise SetupError(f"{self.path} belongs to the user {name}: run agon as that user, or give another --data")
        ignores, home = self.path / ".gitignore", os.environ.get("HOME")
        others = ".git" in there or (ignores.exists() and ignores.read_text(errors="replace") != _IGNORED)
        shared = bool(status.st_mode & stat.S_IWOTH) or (
            bool(home) and self.path.resolve() == Path(str(home)).resolve()
        )
        if there and "lock" not in there and (others or shared):
            raise SetupError(f"{self.path} is for other things too: give a folder of its own with --data")

    def _take_lock(self) -> None:
        lock = (self.path / "lock").open("a+")
        if not _locked(lock):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise SetupError(
                f"agon already runs on {self.path} (process {holder}): `agon status --data {self.path}` tells where; "
                "stop it, or give another --data"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock


def _locked(lock: IO[str]) -> bool:
    """Whether it is ours now. Who looks whether the folder is held (`is_held`) has the lock for a moment, too, so it is
    tried for a while."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
        time.sleep(0.02)


def write_private(place: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone."""
    waiting = place.with_name(f".{place.name}.{os.getpid()}")
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    waiting.replace(place)
