"""Arguments of the public functions: whatever is given, errors are of the one tree."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import moeplan
from moeplan.arguments import KINDS
from moeplan.options import Options
from moeplan.own_rows import read_rows
from optimizer import Space
from tests.samples import changed


@cache
def answer() -> moeplan.Best:
    """One deployment of a space of its own."""
    space = Space(prefill_workers=(1,), decode_workers=(1,), decode_gpus=(8,), batch_ratio=2.0)
    return moeplan.best("b200", 50.0, space=space)


ODD: list[Any] = [
    None, 3, -1, math.nan, math.inf, "x", "", b"x", [], {}, object(), True, (1, 2), 10**400, [None],
    1e-320, 1j, {1}, range(3), "x" * 5000, "\0", np.bool_(True), np.array([1.0, 2.0]),
]  # fmt: skip
CALLS: dict[str, Callable[[Any], object]] = {
    "sku": lambda given: moeplan.best(given, 5000.0),
    "target": lambda given: moeplan.best("b200", given),
    "options": lambda given: moeplan.predict("b200", changed(), given),
    "space": lambda given: given is None or moeplan.best("b200", 5000.0, space=given),
    "targets": lambda given: moeplan.curve("b200", given),
    "items of targets": lambda given: moeplan.curve("b200", [given]),
    "skus": lambda given: moeplan.compare(given, [5000.0]),
    "items of skus": lambda given: moeplan.compare(["b200", given], [5000.0]),
    "options by machine": lambda given: moeplan.compare(["b200", "h200"], [5e3], {"b200": given}),
    "configuration": lambda given: moeplan.predict("b200", given),
    "measured": lambda given: moeplan.measured_frontier("b200", given),
    "rows": moeplan.validate,
    "rows to fit": moeplan.calibrate,
    "files to fit": lambda given: moeplan.calibrate([given]),
    "path": read_rows,
    "columns": lambda given: read_rows("x.csv", columns=given),
    "calibration": lambda given: moeplan.validate("x.csv", given),
    "progress": lambda given: given is None or moeplan.calibrate("x.csv", progress=given),
    "force": lambda given: moeplan.calibrate("x.csv", force=given),
    "path of a cluster": moeplan.load_cluster,
    "answer to explain": lambda given: moeplan.explain(given),
    "answer to try": lambda given: moeplan.robustness(given),
    "draws": lambda given: moeplan.robustness(answer(), draws=given),
    "seed": lambda given: moeplan.robustness(answer(), draws=2, seed=given),
}


def odd(function: Callable[..., object]) -> Callable[..., object]:
    """Take a function as one that may be given anything."""
    return function


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_raise_errors_of_the_tree_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ODD:
        if name in ("sku", "target", "items of targets") and (given is None or given is True):
            continue  # what is valid is answered elsewhere
        if name == "options by machine" and (given is None or isinstance(given, dict)):
            continue
        with contextlib.suppress(moeplan.MoeplanError):
            CALLS[name](given)


@pytest.mark.parametrize("field", [field.name for field in fields(Options)])
def test_odd_options_raise_errors_of_the_tree_alone(field: str) -> None:
    for given in ODD:
        with contextlib.suppress(moeplan.MoeplanError):
            moeplan.predict("b200", changed(), Options(**{field: given}))


def test_every_kind_of_an_option_is_known() -> None:
    for field in fields(Options):
        assert {kind.strip() for kind in str(field.type).split("|")} <= set(KINDS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: odd(moeplan.best)("b200", 50.0, {}),
            r"options: \{\} is not valid; give an Options",
        ),
        (lambda: odd(moeplan.predict)("b200", {}), "configuration: .* give a Configuration"),
        (lambda: odd(moeplan.curve)("b200", 50.0), "targets: 50.0 is not valid; give a sequence"),
        (lambda: moeplan.compare("b200", [50.0]), "skus: 'b200' is not valid; give a sequence"),
        (
            lambda: moeplan.best("b200", 50.0, Options(isl="8k")),  # type: ignore[arg-type]
            "isl: '8k' is not valid; give a number, not text",
        ),
        (
            lambda: moeplan.best("b200", 50.0, Options(rate=10**400)),
            r"rate: 1000.*\(401 characters\) is not valid; give a finite number above 0",
        ),
        (
            lambda: moeplan.best("b200", 50.0, Options(calibration=3)),  # type: ignore[arg-type]
            "calibration: 3 is not valid; give the path of a file",
        ),
    ],
)
def test_the_argument_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(moeplan.InputError, match=message):
        call()
