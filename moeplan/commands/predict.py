"""``moeplan predict``: one given configuration, with its time breakdown."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan predict --sku gb200 --config config.yaml",
    "moeplan best --sku b200 --target 75 --json > b200.json",
    "moeplan predict --sku b200 --config b200.json --json",
)

Config = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="FILE",
        help="JSON or YAML: a configuration, or what `moeplan best --json` printed; "
        "docs/files.md has the keys.",
    ),
]


@given.takes(
    "model",
    "precision",
    "isl",
    "osl",
    "cached_share",
    "engine",
    "acceptance",
    "target_percentile",
    "ttft_percentile",
    "prefill_sku",
    "prefill_price",
    "price",
    "prices",
    "machine",
    "cluster",
    "pool",
    "prefill_pool",
    "calibration",
    "no_anchors",
)
def command(
    *,
    config: Config,
    sku: given.Sku = None,
    typed: given.Typed,
    as_json: given.Json = False,
) -> None:
    """Predict one given configuration, and say what its decode step spends its time on.

    Of an answer, what was asked comes from the file as well; an option that is given wins.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.config_file import merged, read_stored
    from moeplan.numbers import file_name
    from moeplan.render.predict import report

    stored = read_stored(file_name("--config", config))
    sku, options, notes = merged(stored, sku, given.options_of(typed), typed)
    output.note(*notes)
    answer = api.predict(sku, stored.configuration, options)
    if as_json:
        output.emit_json(answer.to_json())
    else:
        output.emit_report(report(answer))
