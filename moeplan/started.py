"""How this process was started, and what must hold before anything else is imported.

It imports next to nothing itself: Ctrl-C is answered from here on.
"""

import os
import signal
import sys

TYPE_CHECKING = False  # that of `typing` takes longer to import than all else here
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

BAD_INPUT, INTERRUPTED = 2, 130


def is_command() -> bool:
    """Whether this process is the command: ``moeplan``, or ``python -m moeplan``."""
    program = sys.argv[0] if sys.argv else ""
    return program == "-m" or os.path.basename(program).partition(".")[0] == "moeplan"  # noqa: PTH119


def end(reason: str, status: int) -> "NoReturn":
    """End the process at once, with one sentence."""
    os.write(2, f"Error: {reason}\n".encode())
    os._exit(status)


def interrupt(number: int, frame: "FrameType | None") -> None:
    """Answer Ctrl-C: the command cleans up, but an import ends the process at once.

    Imports have places that lose an exception, and others that print it.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            end("interrupted", INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def take_interruptions() -> None:
    """Answer Ctrl-C without a traceback, where it is not ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
