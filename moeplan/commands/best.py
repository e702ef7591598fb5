"""``moeplan best``: the best deployment for one machine and one target."""

from __future__ import annotations

from moeplan import parameters as given

EXAMPLES = given.examples(
    "moeplan best --sku gb200 --target 125",
    "moeplan best --sku b200 --target 60 --max-ttft 2 --json",
    "moeplan best --cluster cluster.yaml --target 100 --price 1.80",
)


def command(
    target: given.Target,
    sku: given.Sku = None,
    model: given.Model = given.MODEL,
    precision: given.Precision = None,
    isl: given.Isl = given.ISL,
    osl: given.Osl = given.OSL,
    engine: given.Engine = given.ENGINE,
    max_gpus: given.MaxGpus = given.MAX_GPUS,
    max_ttft: given.MaxTtft = None,
    price: given.Price = None,
    cluster: given.Cluster = None,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
) -> None:
    """Find the configuration of most throughput per dollar at an interactivity target.

    Exits with 1 where nothing meets the target.
    """
    from moeplan import api, output
    from moeplan.numbers import positive_number
    from presets import InfeasibleError

    wanted = positive_number("--target", target, api.UNIT)
    options = given.options_of(
        model, precision, isl, osl, engine, cluster, calibration, price, max_gpus, max_ttft
    )
    answer = api.best(sku, wanted, options)
    if as_json:
        output.emit_json(answer.to_json())
    elif answer.reason is None:
        from moeplan.render.best import report

        output.emit_report(report(answer))
    if answer.reason is not None:
        raise InfeasibleError(answer.reason)
