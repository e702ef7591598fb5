"""``moeplan best``: the best deployment for one machine and one target."""

from __future__ import annotations

from moeplan import parameters as given

EXAMPLES = given.examples(
    "moeplan best --sku gb200 --target 125",
    "moeplan best --sku b200 --target 60 --max-ttft 2 --json",
    "moeplan best --cluster cluster.yaml --target 100 --price 1.80",
    "moeplan best --sku gb200 --target 125 --billing domain --min-confidence 0.95",
    "moeplan best --sku gb200 --target 60 --objective gpus --rate 50",
    "moeplan best --sku gb200 --prefill-sku b200 --target 100 --objective power",
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
    objective: given.Objective = given.OBJECTIVE,
    billing: given.Billing = given.BILLING,
    rate: given.Rate = None,
    concurrency: given.Concurrency = None,
    min_confidence: given.MinConfidence = None,
    prefill_sku: given.PrefillSku = None,
    price: given.Price = None,
    cluster: given.Cluster = None,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
) -> None:
    """Find the configuration of most throughput per dollar, or of another objective, at a target.

    Exits with 1 where nothing meets the target.
    """
    from moeplan import api, output
    from moeplan.numbers import positive_number
    from presets import InfeasibleError

    wanted = positive_number("--target", target, api.UNIT)
    options = given.options_of(
        model, precision, isl, osl, engine, cluster, calibration, price, max_gpus, max_ttft
    )
    options = given.with_goal(
        options, objective, billing, rate, concurrency, min_confidence, prefill_sku
    )
    answer = api.best(sku, wanted, options)
    if as_json:
        output.emit_json(answer.to_json())
    elif answer.reason is None:
        from moeplan.render.best import report

        output.emit_report(report(answer))
    if answer.reason is not None:
        raise InfeasibleError(answer.reason)
