"""The page of predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import moeplan
from moeplan.render import plot
from moeplan.render.plot import figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.samples import Command


def test_a_plot_has_a_dot_for_every_measured_row(
    command: Command, measurements: Mapping[str, Path], tmp_path: Path
) -> None:
    page = tmp_path / "predictions.html"
    rows = measurements["measured_serving"]
    assert command("validate", str(rows), "--plot", str(page)).status == 0
    text = page.read_text()
    assert "<html>" in text
    assert "<script src=" not in text  # it needs no network
    drawn = figure(moeplan.validate(rows))
    dots: dict[str, int] = {}
    for trace in drawn.data:
        if trace.mode == "markers":
            dots[trace.xaxis] = dots.get(trace.xaxis, 0) + len(trace.x)
            assert min(trace.x) > 0 < min(trace.y)
    assert dots == {"x": 202, "x2": 131, "x3": 202}
    assert sum(trace.mode == "lines" for trace in drawn.data) == 3


def test_a_plot_escapes_what_the_file_says() -> None:
    line: dict[str, object] = dict.fromkeys(moeplan.Configuration.model_fields, 1)
    line |= {"prefill_attention": "dp", "decode_attention": "dp", "mtp_depth": 0, "eplb_slots": 0}
    line |= {"serving": "disaggregated", "exchange": None, "draft": "none"}
    line |= {"sku": "<b>", "model": "m", "precision": "fp4", "isl": 1, "osl": 2}
    assert plot._note(line).startswith("&lt;b&gt; m fp4 1/2: 1x1P 1x1D dp")


@pytest.mark.parametrize("name", ["plot.png", "missing/plot.html", "plot"])
def test_a_plot_that_cannot_be_written(
    command: Command, measurements: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    rows = measurements["measured_serving"]
    run = command("validate", str(rows), "--plot", str(tmp_path / name))
    assert run.status == 2
    assert "--plot" in run.err
    assert not list(tmp_path.iterdir())
