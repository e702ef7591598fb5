"""The process of a command: ``moeplan``, or ``python -m moeplan``.

What holds for a process as a whole is set here, before anything heavy is imported.
"""

import gc
import os
import sys

from moeplan.started import INTERRUPTED, end, take_interruptions

RARELY = 100_000
"""Objects made between two looks for garbage. [1]"""

ENVIRONMENT = {
    # Matrices are small here: threads would start, and wait, for nothing.
    "OPENBLAS_NUM_THREADS": "1",
    # No plugin changes what is read here: none is looked for among all packages.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}
"""Settings of libraries where the user has none."""


def run() -> int:
    """Run the command that this process was started for, and give its exit status."""
    # What libraries make as they are imported lives until the end: to look for garbage among it
    # takes a tenth of a short command's time.
    gc.set_threshold(RARELY)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if hasattr(sys, "setdlopenflags"):
        # Most functions of the solver's libraries are never called: they need not be looked up.
        sys.setdlopenflags(os.RTLD_LAZY)
    take_interruptions()
    try:
        # what is set above must hold before anything heavy is imported
        from moeplan.cli import main

        return _end(main())
    except KeyboardInterrupt:
        end("interrupted", INTERRUPTED)


def _end(status: int) -> int:
    """End the process at once, as all is written: to free its objects one by one takes longer.

    Where something cannot be written the interpreter ends, and says so.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # one that is closed
                stream.flush()
    except (OSError, ValueError):
        return status
    os._exit(status)


if __name__ == "__main__":
    sys.exit(run())
