"""Write ``docs/accuracy.md``: ``python -m tools.accuracy FILE``, as ``make accuracy`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from costmodel.accuracy import measure_accuracy
from costmodel.calibration_file import shipped_calibration
from moeplan.render.accuracy import markdown
from presets import published_rows, serving_rows
from presets.files import write_whole

NOTICE = "<!-- Made by `make accuracy`, as `moeplan validate --cross-validate` prints it. -->\n\n"


def write_report(path: Path) -> None:
    """Measure the accuracy of the shipped model and write the report, whole or not at all."""
    accuracy = measure_accuracy(serving_rows(), published_rows(), shipped_calibration())
    write_whole(path, NOTICE + markdown(accuracy))


if __name__ == "__main__":
    write_report(Path(sys.argv[1]))
