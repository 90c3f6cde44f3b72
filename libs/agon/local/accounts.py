"""Who Postgres runs as when we are root, which it refuses to be: a user that exists and may do little."""

import os
import pwd
import stat
from pathlib import Path

from agon.errors import SetupError
from agon.local.children import Account

_CANDIDATES = ("postgres", "nobody", "daemon")
"""Users that systems have; no user is ever made."""


def unprivileged(folder: Path) -> Account | None:
    """None unless we are root; else the owner of `folder`, so that later starts fit the first, or an ordinary user."""
    if os.geteuid() != 0:
        return None
    if folder.is_dir() and (uid := folder.stat().st_uid) != 0:
        return Account(_name(uid), uid, folder.stat().st_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise SetupError(f"Postgres must not run as root, and none of the users {', '.join(_CANDIDATES)} exists: add one")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def may_enter(path: Path, account: Account) -> bool:
    """Whether `account` can read below the folder `path`: the execute bit of each folder on the way decides."""
    path = path.resolve()
    return all(_allows(folder.stat(), account, stat.S_IXUSR) for folder in (*reversed(path.parents), path))


def _allows(entry: os.stat_result, account: Account, owner_bit: int) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & owner_bit)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & (owner_bit >> 3))
    return bool(entry.st_mode & (owner_bit >> 6))
