"""The options of a question: one entry each, from which all else about it follows.

An entry says the default, the help, how a value is read and checked, and the key under which an
answer's JSON repeats it. The command line, the Python interface, ``docs/options.md`` and the
``question`` of an answer are made from these entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from moeplan.option_readers import (
    Option,
    Read,
    read_acceptance,
    read_cluster_file,
    read_file,
    read_machine,
    read_one_of,
    read_percentile,
    read_positive,
    read_price,
    read_price_set,
    read_share,
    read_switch,
    read_text,
    read_ttft,
    read_whole,
)
from presets.folders import engine_names

if TYPE_CHECKING:
    from pathlib import Path

    from presets import ClusterPools, ClusterSpec, Hardware

MODEL = "deepseek-r1-0528"
LENGTH = 1024
ENGINE = "trtllm"
PRECISIONS = ("fp4", "fp8", "int4", "bf16")
"""In the order in which they are preferred."""
MAX_GPUS = 72
DRAFTS = ("none", "mtp", "eagle3", "dspark")
OBJECTIVES = ("cost", "throughput", "output-cost", "power", "gpus")
BILLINGS = ("gpu", "domain")
SERVING = ("disaggregated", "aggregated", "either")
LARGEST_USERS = 1_000_000
LARGEST_LENGTH = 1_000_000
LARGEST_GPUS = 131_072


def _entry(key: str, metavar: str, read: Read, help: str) -> dict[str, Option]:
    return {"option": Option(help, metavar, read, key)}


@dataclass(frozen=True)
class Options:
    """Model, workload, limits, price and files of a question.

    ``Options()`` is the published scenario on at most 72 GPUs; ``Options(max_ttft=2.0)`` limits the
    time to first token besides. ``docs/options.md`` has them all.
    """

    model: str = field(
        default=MODEL,
        metadata=_entry("model", "NAME|PATH", read_text, "Preset, or path of a config.json."),
    )
    precision: str | None = field(
        default=None,
        metadata=_entry(
            "precision",
            "NAME",
            read_one_of(PRECISIONS),
            "fp4, fp8, int4 or bf16. [default: that of a quantised checkpoint, else the first "
            "of these that machine and model offer]",
        ),
    )
    isl: int = field(
        default=LENGTH,
        metadata=_entry(
            "isl", "TOKENS", read_whole(1, LARGEST_LENGTH, "tokens"), "Nominal input length."
        ),
    )
    osl: int = field(
        default=LENGTH,
        metadata=_entry(
            "osl", "TOKENS", read_whole(2, LARGEST_LENGTH, "tokens"), "Nominal output length."
        ),
    )
    cached_share: float = field(
        default=0.0,
        metadata=_entry(
            "cached_share",
            "SHARE",
            read_share,
            "Part of the input, from 0 to below 1, whose KV is reused: no prefill work, but its "
            "memory.",
        ),
    )
    engine: str = field(
        default=ENGINE,
        metadata=_entry(
            "engine", "NAME", read_one_of(engine_names()), f"{', '.join(engine_names())}."
        ),
    )
    serving: str = field(
        default=SERVING[0],
        metadata=_entry(
            "serving",
            "NAME",
            read_one_of(SERVING),
            "disaggregated (prefill workers and decode workers), aggregated (one pool that does "
            "both) or either, whichever is better.",
        ),
    )
    frontends: int = field(
        default=1,
        metadata=_entry(
            "frontends",
            "NUMBER",
            read_whole(1, 1000, "frontends"),
            "Frontends that route requests, each for itself.",
        ),
    )
    draft: str | None = field(
        default=None,
        metadata=_entry(
            "draft",
            "NAME",
            read_one_of(DRAFTS),
            "What drafts: none, mtp (layers of the checkpoint), eagle3 (an EAGLE-3 head) or dspark "
            "(a block drafter). [default: mtp where the checkpoint has such layers]",
        ),
    )
    acceptance: str | float | None = field(
        default=None,
        metadata=_entry(
            "acceptance",
            "RATES",
            read_acceptance,
            "Share of steps that keep the first draft, the second, ..., such as 0.8,0.6,0.4; or "
            "tokens kept per step at the depth of a given configuration, such as 2.6; or a text "
            "that was measured: random, coding or maths. [default: random]",
        ),
    )
    max_gpus: int = field(
        default=MAX_GPUS,
        metadata=_entry(
            "max_gpus",
            "GPUS",
            read_whole(1, LARGEST_GPUS, "GPUs"),
            "Most GPUs of a deployment, or for a rate.",
        ),
    )
    max_ttft: float | None = field(
        default=None,
        metadata=_entry("max_ttft_s", "SECONDS", read_ttft, "Longest mean time to first token."),
    )
    target_percentile: float | None = field(
        default=None,
        metadata=_entry(
            "target_percentile",
            "P",
            read_percentile,
            "Requests in a hundred that see the target or better, such as 99. [default: the median "
            "does]",
        ),
    )
    ttft_percentile: float | None = field(
        default=None,
        metadata=_entry(
            "ttft_percentile",
            "P",
            read_percentile,
            "Requests in a hundred whose first token comes within --max-ttft. [default: it is a "
            "limit on the mean]",
        ),
    )
    objective: str | None = field(
        default=None,
        metadata=_entry(
            "objective",
            "NAME",
            read_one_of(OBJECTIVES),
            f"What is made best: {', '.join(OBJECTIVES)}. [default: cost, or gpus with --rate]",
        ),
    )
    billing: str = field(
        default=BILLINGS[0],
        metadata=_entry(
            "billing",
            "NAME",
            read_one_of(BILLINGS),
            "What is paid: gpu (GPUs that serve) or domain (whole NVLink domains).",
        ),
    )
    rate: float | None = field(
        default=None,
        metadata=_entry(
            "rate_requests_per_s",
            "REQ/S",
            read_positive("requests/s"),
            "Requests/s to serve together, with the fewest GPUs.",
        ),
    )
    concurrency: int | None = field(
        default=None,
        metadata=_entry(
            "concurrency",
            "USERS",
            read_whole(1, LARGEST_USERS, "users"),
            "Users served at once. [default: as many as fill the slots]",
        ),
    )
    min_confidence: float | None = field(
        default=None,
        metadata=_entry(
            "min_confidence",
            "P",
            read_positive("probability"),
            "Probability with which the target and a limit on TTFT are met, each for itself; 0.95 "
            "is the end of the interval.",
        ),
    )
    within_data: bool = field(
        default=False,
        metadata=_entry(
            "within_data",
            "",
            read_switch,
            "Look only at what lies inside the data of the calibration: answers are modelled, "
            "never extrapolated.",
        ),
    )
    no_anchors: bool = field(
        default=False,
        metadata=_entry(
            "no_anchors",
            "",
            read_switch,
            "Predict by physics alone: measured rows like the question shift nothing.",
        ),
    )
    prefill_sku: str | None = field(
        default=None,
        metadata=_entry(
            "prefill_sku", "NAME", read_text, "Machine of prefill. [default: that of decode]"
        ),
    )
    prefill_price: float | None = field(
        default=None,
        metadata=_entry(
            "prefill_price_usd_per_hour",
            "USD",
            read_price,
            "Price per GPU-hour of the machine of --prefill-sku; --price is then that of decode "
            "alone. [default: that of the machine]",
        ),
    )
    price: float | None = field(
        default=None,
        metadata=_entry(
            "price_usd_per_hour",
            "USD",
            read_price,
            "Price per GPU-hour. [default: that of the machine]",
        ),
    )
    prices: str | None = field(
        default=None,
        metadata=_entry(
            "prices",
            "SET",
            read_price_set,
            "Dated set of prices, such as 2026-04, for machines without a price of your own. "
            "[default: the newest]",
        ),
    )
    machine: Hardware | Path | str | None = field(
        default=None,
        metadata=_entry(
            "machine",
            "FILE",
            read_machine,
            "TOML file of a machine of your own, in place of --sku; `moeplan presets show NAME "
            "--toml` prints one to start from.",
        ),
    )
    cluster: ClusterSpec | ClusterPools | Path | str | None = field(
        default=None,
        metadata=_entry(
            "cluster",
            "FILE",
            read_cluster_file,
            "YAML file that describes the cluster; docs/files.md has the keys.",
        ),
    )
    pool: str | None = field(
        default=None,
        metadata=_entry(
            "pool",
            "NAME",
            read_text,
            "Pool of the cluster, where it has several. [default: that of --sku]",
        ),
    )
    prefill_pool: str | None = field(
        default=None,
        metadata=_entry(
            "prefill_pool",
            "NAME",
            read_text,
            "Pool of the cluster for prefill. [default: that of --prefill-sku, else the other's]",
        ),
    )
    calibration: Path | str | None = field(
        default=None,
        metadata=_entry("calibration", "FILE", read_file, "Calibration file. [default: shipped]"),
    )


DEFAULTS = Options()
"""The published scenario on at most 72 GPUs."""


def entries() -> Iterator[tuple[str, Option, Any]]:
    """Name, entry and default of every option, in order."""
    for each in fields(Options):
        yield each.name, each.metadata["option"], each.default


def read_options(given: Mapping[str, Any], write: Callable[[str], str] | None = None) -> Options:
    """Check what was given for some options, by name; the others keep their defaults.

    Parameters
    ----------
    given : mapping
        Values; None takes the default.
    write : callable, optional
        How messages write the name of an option that was typed; then numbers may be text.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.

    Examples
    --------
    >>> read_options({"isl": 8192, "max_ttft": None}) == Options(isl=8192)
    True
    >>> read_options({"isl": "8192"}, write=str) == Options(isl=8192)
    True
    """
    if write is None:
        _refuse_text(given)
        write = str
    known = {name: option for name, option, _ in entries()}
    values = {
        name: known[name].read(write(name), value)
        for name, value in given.items()
        if value is not None
    }
    return replace(DEFAULTS, **values)


def _refuse_text(given: Mapping[str, Any]) -> None:
    """Refuse text where a number or a switch is meant."""
    from presets.errors import InputError, shown  # as above

    for each in fields(Options):
        value = given.get(each.name)
        if isinstance(value, str) and "str" not in str(each.type):
            what = "true or false" if each.type == "bool" else "a number, not text"
            raise InputError(f"{each.name}: {shown(value)} is not valid; give {what}")


def checked(options: Options) -> Options:
    """Check options that Python code gave, and read the files that they name.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.
    """
    return read_options({name: getattr(options, name) for name, _, _ in entries()})
