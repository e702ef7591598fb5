"""Many questions at once: every combination of a grid, as rows that say all they rest on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from moeplan.answers.build import version
from moeplan.api import UNIT, curves
from moeplan.machines import machine_of
from moeplan.numbers import noted_price, positive_number
from moeplan.options import Options, read_options
from presets import DataFileError, InputError
from presets.errors import closest_hint, shown
from presets.files import write_whole
from presets.yaml_file import read_yaml

MOST_QUESTIONS = 1_000_000
"""Questions of one grid. [1]"""

MACHINES, TARGETS, PRICES = "machines", "targets", "prices_usd_per_hour"
OPTIONS = tuple(each.name for each in fields(Options) if each.name not in ("price", "machine"))

Row = dict[str, Any]


class Group(NamedTuple):
    """Questions that share their operating points: they differ in target and price alone.

    Attributes
    ----------
    machine : str
        As `moeplan.compare` names it.
    options : dict
        Of the question, by name.
    targets : tuple of float
        [token/s]
    prices : tuple of float
        None takes that of the machine. [USD/h]
    """

    machine: str
    options: Mapping[str, Any]
    targets: tuple[float, ...]
    prices: tuple[float | None, ...]

    @property
    def questions(self) -> int:
        """How many there are [1]."""
        return len(self.targets) * len(self.prices)

    @property
    def key(self) -> str:
        """What tells it, what its files hold, and the version that answers, from all others."""
        files = [_digest(each) for each in (self.machine, *self.options.values())]
        text = json.dumps([version(), *self, files], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(named: Any) -> str | None:
    """Tell what stands in a file that a question names, or in the folder of a checkpoint."""
    path = Path(str(named).partition(":")[0])
    files = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.is_file() else []
    texts = [file.read_bytes() for file in files]
    return hashlib.sha256(b"".join(texts)).hexdigest() if texts else None


def read_grid(path: Path) -> list[Group]:
    """Read a grid: machines, targets, prices and options, each one value or a list.

    Raises
    ------
    InputError
        Naming the key, its value and what is valid.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataFileError("must hold keys and values, such as 'targets: [25, 75]'", path)
    known = (MACHINES, TARGETS, PRICES, *OPTIONS)
    for key in content:
        if key not in known:
            raise DataFileError(
                f"is not a known key; {closest_hint(str(key), known)}", path, key=key
            )
    for key in (MACHINES, TARGETS):
        if key not in content:
            raise DataFileError("is missing; give one value or a list", path, key=key)
    values = {key: _listed(content[key], path, key) for key in content}
    targets = tuple(positive_number(TARGETS, each, UNIT) for each in values.pop(TARGETS))
    prices = tuple(noted_price(PRICES, each) for each in values.pop(PRICES, ())) or (None,)
    machines = values.pop(MACHINES)
    groups = [
        Group(str(machine), dict(zip(values, each, strict=True)), targets, prices)
        for machine in machines
        for each in product(*values.values())
    ]
    if (count := sum(group.questions for group in groups)) > MOST_QUESTIONS:
        raise DataFileError(f"asks {count:,} questions; ask at most {MOST_QUESTIONS:,}", path)
    for group in groups:
        machine_of(group.machine, read_options(group.options))
    return groups


def _listed(value: Any, path: Path, key: str) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    texts = [json.dumps(each, default=str) for each in values]
    if not values or len({*texts}) < len(texts):
        raise DataFileError(
            f"{shown(value)} is not valid; give one value, or a list without repeats", path, key=key
        )
    return values


def answer_group(group: Group) -> list[Row]:
    """Answer the questions of a group: each target searched for once, prices scaled.

    The price of a GPU-hour multiplies the cost of every deployment of its machine alike, so that
    none changes which is best; where prefill stands on another machine each price has a search.
    """
    options = read_options(group.options)
    rows: list[Row] = []
    scalable = options.prefill_sku is None and options.prefill_pool is None
    try:
        for price in group.prices[:1] if scalable else group.prices:
            found = curves([group.machine], group.targets, replace(options, price=price))
            rows += found.to_rows()
    except InputError as error:
        return [
            {"label": group.machine, "target_tok_s_per_user": target, "status": "refused"}
            | {"price_usd_per_hour": price, "reason": str(error)}
            for price in group.prices
            for target in group.targets
        ]
    if not scalable:
        return rows
    return [at_price(row, price) for price in group.prices for row in rows]


def at_price(row: Row, price: float | None) -> Row:
    """Give a row at another price of its only machine.

    Examples
    --------
    >>> row = {"price_usd_per_hour": 2.0, "usd_per_m_total_tokens": 0.1, "gpus": 8}
    >>> at_price(row, 4.0)
    {'price_usd_per_hour': 4.0, 'usd_per_m_total_tokens': 0.2, 'gpus': 8}
    """
    before = row["price_usd_per_hour"]
    if price is None or price == before:
        return row
    factor = price / before
    scaled = row | {"price_usd_per_hour": price}
    if "prices" in row:
        scaled["prices"] = None
    for name, value in row.items():
        per_usd = name.endswith("_per_usd")
        is_cost = "usd_per_m_" in name or (
            name.endswith("objective_amount") and "USD" in str(row.get("objective_unit"))
        )
        if value is not None and (per_usd or is_cost):
            scaled[name] = value / factor if per_usd else value * factor
    return scaled


def sweep(
    groups: Sequence[Group],
    parts: Path,
    jobs: int,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Answer all groups on several cores; what stands in a folder of parts is not asked again.

    Parameters
    ----------
    groups : sequence of Group
        From `read_grid`.
    parts : Path
        Folder in which each group is kept once answered.
    jobs : int
        Processes. [1]
    progress : callable, optional
        Called with the questions of each group that is answered.

    Returns
    -------
    list of dict
        With equal keys, in the order of the groups.
    """
    parts.mkdir(exist_ok=True)
    done = {path.stem for path in parts.glob("*.json")}
    open_groups = [group for group in groups if group.key not in done]
    for group in groups:
        if group.key in done and progress:
            progress(group.questions)
    for group, rows in _answered(open_groups, jobs):
        write_whole(parts / f"{group.key}.json", json.dumps(rows, allow_nan=False))
        if progress:
            progress(group.questions)
    every = [
        row
        for group in groups
        for row in json.loads((parts / f"{group.key}.json").read_text(encoding="utf-8"))
    ]
    names = dict.fromkeys(name for row in sorted(every, key=len, reverse=True)[:1] for name in row)
    names |= dict.fromkeys(name for row in every for name in row)
    return [{name: row.get(name) for name in names} for row in every]


def _answered(groups: Sequence[Group], jobs: int) -> Iterator[tuple[Group, list[Row]]]:
    if jobs == 1 or len(groups) < 2:
        for group in groups:
            yield group, answer_group(group)
        return
    with ProcessPoolExecutor(max_workers=min(jobs, len(groups))) as pool:
        asked = {pool.submit(answer_group, group): group for group in groups}
        try:
            for future in as_completed(asked):
                yield asked[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Write rows as columns of one type each: a whole number beside others is one of them."""
    result = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [None if value is None else float(value) for value in values]
        elif len(kinds) > 1:
            values = [None if value is None else str(value) for value in values]
        result[name] = values
    return result
