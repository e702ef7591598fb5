"""A folder that is replaced at once: the old content or the new is there at every moment."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = ".moeplan-"
"""Start of the name of a folder that something is built in, beside its place."""

NEW, OLD, TARGET = "new", "old", "target"

LONGEST_WAIT = 30.0
"""For another writer of the same parent folder. [s]"""

RENAME_EXCHANGE, AT_FDCWD = 2, -100
"""Of renameat2, as linux/fs.h and fcntl.h have them."""


@contextmanager
def only_writer(parent: Path) -> Iterator[None]:
    """Keep other writers of a folder out; one that died keeps nobody out.

    The lock is on the folder itself, so that no file of a lock stays behind. Where a file system
    has none, writers go on: a name can still be taken by one of them only.

    Raises
    ------
    TimeoutError
        Where another writer takes longer than `LONGEST_WAIT`.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(parent, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Wait for the lock of an open folder."""
    if sys.platform == "win32":
        return
    end = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "another moeplan writes there") from None
            time.sleep(0.01)
        except OSError:
            return


def clear_left_over(parent: Path) -> None:
    """Remove what writers that were killed left, and put back what one had just moved away.

    To be called by the only writer: nobody else builds anything here then.
    """
    for beside in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            target = parent / (beside / TARGET).read_text(encoding="utf-8")
            if (beside / OLD).exists() and target.parent == parent and not target.exists():
                (beside / OLD).rename(target)
        shutil.rmtree(beside, ignore_errors=True)


def put_in_place(folder: Path, build: Callable[[Path], None], *, replace: bool) -> None:
    """Build a folder beside its place and move it there, whole or not at all.

    Parameters
    ----------
    folder : Path
        Where it goes; its parent exists.
    build : callable
        Fills a new, empty folder.
    replace : bool
        Whether what is there gives way; otherwise the place must be free, or an empty folder.

    Raises
    ------
    OSError
        Where it cannot be built or moved; what was there is there still.
    """
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=PREFIX))
    fresh = beside / NEW
    try:
        (beside / TARGET).write_text(folder.name, encoding="utf-8")
        fresh.mkdir()
        build(fresh)
        if not (replace and folder.exists()):
            fresh.rename(folder)
        elif not _exchanged(fresh, folder):
            _moved_in_two_steps(fresh, folder, beside / OLD)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; tell whether the system can."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done: int = rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # not on this file system
        return False
    raise OSError(number, os.strerror(number), str(other))


def _moved_in_two_steps(fresh: Path, folder: Path, former: Path) -> None:
    """Move the old folder away and the new one in; a writer killed in between is made good for."""
    folder.rename(former)
    try:
        fresh.rename(folder)
    except OSError:
        with suppress(OSError):
            former.rename(folder)
        raise
