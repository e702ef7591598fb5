"""``moeplan predict``: one given configuration, with its time breakdown."""

from __future__ import annotations

from typing import Annotated

import typer

from moeplan import parameters as given

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


def command(
    config: Config,
    sku: given.Sku = None,
    model: given.Model = given.MODEL,
    precision: given.Precision = None,
    isl: given.Isl = given.ISL,
    osl: given.Osl = given.OSL,
    engine: given.Engine = given.ENGINE,
    price: given.Price = None,
    cluster: given.Cluster = None,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
) -> None:
    """Predict one given configuration, and say what its decode step spends its time on.

    The machine and what is served come from the options, not from the file.
    """
    from moeplan import api, output
    from moeplan.config_file import read_configuration
    from moeplan.numbers import file_name
    from moeplan.render.predict import report

    options = given.options_of(
        model=model,
        precision=precision,
        isl=isl,
        osl=osl,
        engine=engine,
        price=price,
        cluster=cluster,
        calibration=calibration,
    )
    configuration = read_configuration(file_name("--config", config))
    answer = api.predict(sku, configuration, options)
    if as_json:
        output.emit_json(answer.to_json())
    else:
        output.emit_report(report(answer))
