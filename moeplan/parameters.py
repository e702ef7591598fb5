"""The options that commands share. Numbers come as text: each is checked by hand, in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.options import BILLINGS, DEFAULTS, ENGINES, OBJECTIVES, Options

if TYPE_CHECKING:
    from presets import ClusterSpec

LARGEST_USERS = 1_000_000
SCENARIO, LIMITS, OUTPUT = "Scenario", "Limits", "Output"

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]

MODEL, ISL, OSL = DEFAULTS.model, str(DEFAULTS.isl), str(DEFAULTS.osl)
ENGINE, MAX_GPUS = DEFAULTS.engine, str(DEFAULTS.max_gpus)
FRONTENDS = str(DEFAULTS.frontends)
OBJECTIVE, BILLING = DEFAULTS.objective, DEFAULTS.billing


def options_of(
    model: str,
    precision: str | None,
    isl: str,
    osl: str,
    engine: str,
    cluster: str | None,
    calibration: str | None,
    price: str | None = None,
    max_gpus: str = MAX_GPUS,
    max_ttft: str | None = None,
    frontends: str = FRONTENDS,
) -> Options:
    """Options of a question from the text of its options on the command line.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.
    """
    from moeplan import numbers
    from moeplan.scenario import PRECISIONS
    from presets import load_cluster

    named = None if precision is None else numbers.one_of("--precision", precision, PRECISIONS)
    return Options(
        model=model,
        precision=named,
        isl=numbers.whole_number("--isl", isl, 1, numbers.LARGEST_LENGTH, "tokens"),
        osl=numbers.whole_number("--osl", osl, 2, numbers.LARGEST_LENGTH, "tokens"),
        engine=numbers.one_of("--engine", engine, ENGINES),
        frontends=numbers.whole_number("--frontends", frontends, 1, 1000, "frontends"),
        max_gpus=numbers.whole_number("--max-gpus", max_gpus, 1, numbers.LARGEST_GPUS, "GPUs"),
        max_ttft=(
            None if max_ttft is None else numbers.positive_number("--max-ttft", max_ttft, "seconds")
        ),
        price=None if price is None else numbers.price("--price", price),
        cluster=None if cluster is None else load_cluster(numbers.file_name("--cluster", cluster)),
        calibration=(
            None if calibration is None else numbers.file_name("--calibration", calibration)
        ),
    )


def with_goal(
    options: Options,
    objective: str,
    billing: str,
    rate: str | None,
    concurrency: str | None,
    min_confidence: str | None,
    prefill_sku: str | None,
    prefill_price: str | None = None,
) -> Options:
    """Add to the options of a question what is made best, and for whom.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.
    """
    from moeplan import numbers

    users = None
    if concurrency is not None:
        users = numbers.whole_number("--concurrency", concurrency, 1, LARGEST_USERS, "users")
    sure = None
    if min_confidence is not None:
        sure = numbers.positive_number("--min-confidence", min_confidence, "probability")
    return replace(
        options,
        objective=numbers.one_of("--objective", objective, OBJECTIVES),
        billing=numbers.one_of("--billing", billing, BILLINGS),
        rate=None if rate is None else numbers.positive_number("--rate", rate, "requests/s"),
        concurrency=users,
        min_confidence=sure,
        prefill_sku=prefill_sku,
        prefill_price=(
            None if prefill_price is None else numbers.price("--prefill-price", prefill_price)
        ),
    )


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
        price = numbers.price("--price", number)
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
