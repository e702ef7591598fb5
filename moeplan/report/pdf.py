"""A page on paper: printed to PDF by the Chromium of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from presets import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Names of the program, the first that is there prints."""

SECONDS = 120.0
"""After which a browser that does not end is stopped. [s]"""

INSTALL = "--pdf needs Chromium, which is not installed: run 'apt-get install chromium'"


def browser() -> str:
    """Find the program that prints.

    Raises
    ------
    InputError
        Saying what to install.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise InputError(INSTALL)
    return found


def pdf_of(html: str) -> bytes:
    """Print a page of our own, which asks no other host for anything.

    Raises
    ------
    InputError
        Where there is no Chromium, or it prints nothing.
    """
    program = browser()
    with TemporaryDirectory() as name:
        page, printed = Path(name, "page.html"), Path(name, "page.pdf")
        page.write_text(html, encoding="utf-8")
        command = [
            program,
            "--headless",
            "--disable-gpu",
            f"--user-data-dir={name}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={printed}",
            page.as_uri(),
        ]
        if os.name == "posix" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # as root it has none; the page is our own
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"--pdf: {program} does not print the page: {error}") from None
        if done.returncode or not printed.is_file():
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise InputError(f"--pdf: {program} does not print the page: {lines[-1]}")
        return printed.read_bytes()
