"""``moeplan curve``: the best deployment for one machine and several targets."""

from __future__ import annotations

from moeplan import parameters as given

EXAMPLES = given.examples(
    "moeplan curve --sku gb200 --targets 25,50,75,100,125",
    "moeplan curve --sku b200 --targets 25,50,75 --csv",
)


def command(
    targets: given.Targets,
    sku: given.Sku = None,
    model: given.Model = given.MODEL,
    precision: given.Precision = None,
    isl: given.Isl = given.ISL,
    osl: given.Osl = given.OSL,
    engine: given.Engine = given.ENGINE,
    frontends: given.Frontends = given.FRONTENDS,
    max_gpus: given.MaxGpus = given.MAX_GPUS,
    max_ttft: given.MaxTtft = None,
    objective: given.Objective = given.OBJECTIVE,
    billing: given.Billing = given.BILLING,
    rate: given.Rate = None,
    concurrency: given.Concurrency = None,
    min_confidence: given.MinConfidence = None,
    within_data: given.WithinData = False,
    prefill_sku: given.PrefillSku = None,
    prefill_price: given.PrefillPrice = None,
    price: given.Price = None,
    cluster: given.Cluster = None,
    calibration: given.Calibration = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Find the configuration of most throughput per dollar at each of several targets.

    Exits with 1 where nothing meets any of them.
    """
    from moeplan import api, output
    from moeplan.numbers import number_list
    from moeplan.render import curve as render
    from presets import InfeasibleError

    given.one_format(as_json, as_csv)
    wanted = number_list("--targets", targets, api.UNIT)
    options = given.options_of(
        model=model,
        precision=precision,
        isl=isl,
        osl=osl,
        engine=engine,
        frontends=frontends,
        max_gpus=max_gpus,
        max_ttft=max_ttft,
        objective=objective,
        billing=billing,
        rate=rate,
        concurrency=concurrency,
        min_confidence=min_confidence,
        within_data=within_data,
        prefill_sku=prefill_sku,
        prefill_price=prefill_price,
        price=price,
        cluster=cluster,
        calibration=calibration,
    )
    answer = api.curve(sku, wanted, options)
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(render.lines(answer))
    else:
        output.emit_report(render.report(answer))
    if all(row.config is None for row in answer.rows):
        raise InfeasibleError(str(answer.rows[0].reason))
