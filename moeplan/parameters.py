"""The options that commands share. Numbers come as text: each is checked by hand, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moeplan.options import BILLINGS, DEFAULTS, ENGINES, OBJECTIVES, Options

if TYPE_CHECKING:
    from presets import ClusterSpec

LARGEST_USERS = 1_000_000

Sku = Annotated[
    str | None,
    typer.Option(
        "--sku", metavar="NAME", help="Machine, such as gb200; see `moeplan presets list`."
    ),
]
Target = Annotated[
    str, typer.Option("--target", metavar="TOK/S", help="Interactivity each user sees, tok/s/user.")
]
Targets = Annotated[
    str, typer.Option("--targets", metavar="A,B,...", help="Interactivities, tok/s/user.")
]
Model = Annotated[
    str, typer.Option("--model", metavar="NAME|PATH", help="Preset, or path of a config.json.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="fp4, fp8 or bf16. [default: fp4 where machine and model offer it, else fp8]",
    ),
]
Isl = Annotated[str, typer.Option("--isl", metavar="TOKENS", help="Nominal input length.")]
Osl = Annotated[str, typer.Option("--osl", metavar="TOKENS", help="Nominal output length.")]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help=f"{', '.join(ENGINES)}.")]
Frontends = Annotated[
    str,
    typer.Option(
        "--frontends", metavar="NUMBER", help="Frontends that route requests, each for itself."
    ),
]
MaxGpus = Annotated[
    str, typer.Option("--max-gpus", metavar="GPUS", help="Most GPUs of a deployment.")
]
MaxTtft = Annotated[
    str | None,
    typer.Option("--max-ttft", metavar="SECONDS", help="Longest mean time to first token."),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective",
        metavar="NAME",
        help=f"What is made best: {', '.join(OBJECTIVES)}.",
    ),
]
Billing = Annotated[
    str,
    typer.Option(
        "--billing",
        metavar="NAME",
        help="What is paid: gpu (GPUs that serve) or domain (whole NVLink domains).",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="REQ/S", help="Requests/s to serve, for --objective gpus."),
]
Concurrency = Annotated[
    str | None,
    typer.Option(
        "--concurrency",
        metavar="USERS",
        help="Users served at once. [default: as many as fill the slots]",
    ),
]
MinConfidence = Annotated[
    str | None,
    typer.Option(
        "--min-confidence",
        metavar="P",
        help="Probability with which the target is met; 0.95 is the low end of the interval.",
    ),
]
WithinData = Annotated[
    bool,
    typer.Option(
        "--within-data",
        help="Look only at what lies inside the data of the calibration: answers are modelled, "
        "never extrapolated.",
    ),
]
PrefillSku = Annotated[
    str | None,
    typer.Option(
        "--prefill-sku", metavar="NAME", help="Machine of prefill. [default: that of decode]"
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        "--price", metavar="USD", help="Price per GPU-hour. [default: that of the machine]"
    ),
]
PrefillPrice = Annotated[
    str | None,
    typer.Option(
        "--prefill-price",
        metavar="USD",
        help="Price per GPU-hour of the machine of --prefill-sku; --price is then that of decode "
        "alone. [default: that of the machine]",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="YAML file that describes the cluster; docs/files.md has the keys.",
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option("--calibration", metavar="FILE", help="Calibration file. [default: shipped]"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="MAP.toml",
        help="Map of the file's columns to those of rows; docs/files.md has its keys.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]

MODEL, ISL, OSL = DEFAULTS.model, str(DEFAULTS.isl), str(DEFAULTS.osl)
ENGINE, MAX_GPUS = DEFAULTS.engine, str(DEFAULTS.max_gpus)
FRONTENDS = str(DEFAULTS.frontends)
OBJECTIVE, BILLING = DEFAULTS.objective, DEFAULTS.billing


def options_of(*, within_data: bool = False, **given: str | None) -> Options:
    """Options of a question from the text of its options on the command line, by field.

    What is None takes its default; a switch has no text.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.

    Examples
    --------
    >>> options_of(isl="8192", max_ttft=None) == Options(isl=8192)
    True
    """
    readers = _readers()
    values = {
        field: readers[field](f"--{field.replace('_', '-')}", text)
        for field, text in given.items()
        if text is not None
    }
    return Options(within_data=within_data, **values)


def _readers() -> dict[str, Callable[[str, str], Any]]:
    """Give what checks the text of an option and makes it a value, by field."""
    from moeplan import numbers
    from moeplan.scenario import PRECISIONS
    from presets import load_cluster

    def text_of(_: str, text: str) -> str:
        return text

    def one_of(valid: Sequence[str]) -> Callable[[str, str], str]:
        return lambda option, text: numbers.one_of(option, text, valid)

    def whole(low: int, high: int, unit: str) -> Callable[[str, str], int]:
        return lambda option, text: numbers.whole_number(option, text, low, high, unit)

    def positive(unit: str) -> Callable[[str, str], float]:
        return lambda option, text: numbers.positive_number(option, text, unit)

    return {
        "model": text_of,
        "precision": one_of(PRECISIONS),
        "isl": whole(1, numbers.LARGEST_LENGTH, "tokens"),
        "osl": whole(2, numbers.LARGEST_LENGTH, "tokens"),
        "engine": one_of(ENGINES),
        "frontends": whole(1, 1000, "frontends"),
        "max_gpus": whole(1, numbers.LARGEST_GPUS, "GPUs"),
        "max_ttft": numbers.ttft_limit,
        "objective": one_of(OBJECTIVES),
        "billing": one_of(BILLINGS),
        "rate": positive("requests/s"),
        "concurrency": whole(1, LARGEST_USERS, "users"),
        "min_confidence": positive("probability"),
        "prefill_sku": text_of,
        "prefill_price": numbers.noted_price,
        "price": numbers.noted_price,
        "cluster": lambda option, text: load_cluster(numbers.file_name(option, text)),
        "calibration": numbers.file_name,
    }


def options_by_machine(
    skus: list[str], options: Options, prices: list[str], clusters: list[str]
) -> dict[str, Options]:
    """Options of each machine: prices as ``USD`` for all or ``SKU=USD`` for one, clusters by file.

    Raises
    ------
    InputError
        Where a price or a cluster is of no machine that is compared.
    """
    from moeplan import numbers
    from presets import InputError, load_cluster
    from presets.errors import closest_hint, shown

    result = dict.fromkeys(skus, options)

    def check(option: str, value: object, sku: str) -> None:
        if sku not in result:
            raise InputError(
                f"{option}: {shown(value)} is of a machine that is not compared; "
                f"{closest_hint(sku, skus)}"
            )

    for text in sorted(prices, key=lambda price: "=" in price):
        sku, equals, number = text.rpartition("=")
        price = numbers.noted_price("--price", number)
        if equals:
            check("--price", text, sku)
        for name in [sku] if equals else skus:
            result[name] = replace(result[name], price=price)
    for text in clusters:
        cluster: ClusterSpec = load_cluster(numbers.file_name("--cluster", text))
        check("--cluster", text, cluster.sku)
        result[cluster.sku] = replace(result[cluster.sku], cluster=cluster)
    return result


def one_format(as_json: bool, as_csv: bool) -> None:
    """Refuse two formats at once."""
    from presets.errors import InputError

    if as_json and as_csv:
        raise InputError("--json and --csv: both are given; give one")


def examples(*lines: str) -> str:
    """Epilogue of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
