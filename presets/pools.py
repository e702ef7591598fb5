"""One pool of workers or two: what a configuration says of them fits together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Serving = Literal["aggregated", "disaggregated"]
"""One pool whose workers prefill and decode, or a pool for each."""

SERVINGS: tuple[Serving, ...] = ("disaggregated", "aggregated")

NO_PREFILL_WORKERS = {"prefill_workers": 0, "prefill_gpus_per_worker": 0}
"""What an aggregated configuration says of prefill: its workers stand under the keys of decode."""


def with_pools(given: Any) -> Any:
    """Fill in what a configuration of one pool need not say.

    No prefill workers are one pool, also where `serving` is not said.

    >>> with_pools({"prefill_workers": 0})["serving"], with_pools({"prefill_workers": 2})
    ('aggregated', {'prefill_workers': 2})
    """
    if not isinstance(given, Mapping):
        return given
    none = str(given.get("prefill_workers")) == "0"
    serving = given.get("serving", "aggregated" if none else None)
    if serving != "aggregated":
        return given
    filled = {**NO_PREFILL_WORKERS, **given, "serving": serving}
    # The size of workers that are not there says nothing.
    return filled | ({"prefill_gpus_per_worker": 0} if none else {})


def check_pools(serving: Serving, prefill_workers: int, prefill_gpus_per_worker: int) -> None:
    """Refuse prefill workers in one pool, and none where there are two.

    Raises
    ------
    ValueError
        Naming the key, its value and what would be valid.
    """
    if serving == "aggregated":
        if prefill_workers:
            raise ValueError(
                f"prefill_workers is {prefill_workers}; it must be 0 where serving is aggregated, "
                "whose workers stand under the decode_ keys"
            )
        return
    for name, value in (
        ("prefill_workers", prefill_workers),
        ("prefill_gpus_per_worker", prefill_gpus_per_worker),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1 in disaggregated serving")
