"""``moeplan curve``: the best deployment for one machine and several targets."""

from __future__ import annotations

from moeplan.commands import parameters as given

EXAMPLES = given.examples(
    "moeplan curve --sku gb200 --targets 25,50,75,100,125",
    "moeplan curve --sku b200 --targets 25,50,75 --csv",
)


@given.takes()
def command(
    *,
    targets: given.Targets,
    sku: given.Sku = None,
    typed: given.Typed,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
) -> None:
    """Find the configuration of most throughput per dollar at each of several targets.

    Exits with 1 where nothing meets any of them.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.numbers import number_list
    from moeplan.render import curve as render
    from presets import InfeasibleError

    given.one_format(json=as_json, csv=as_csv)
    wanted = number_list("--targets", targets, api.UNIT)
    answer = api.curve(sku, wanted, given.options_of(typed))
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    else:
        output.emit_report(render.report(answer))
    if all(row.config is None for row in answer.rows):
        raise InfeasibleError(str(answer.rows[0].reason))
