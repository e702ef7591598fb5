"""``moeplan compare``: machines side by side, as measured and as modelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from moeplan.commands import parameters as given

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = given.examples(
    "moeplan compare gb200 b200 --targets 25,45,60,75,90,100,125,150",
    "moeplan compare gb200 b200 --targets 75,125 --price gb200=2.50 --price b200=1.95 --csv",
    "moeplan compare gb300 gb200 b200 --targets 50,100 --json",
    "moeplan compare gb200 gb200:vllm b200:aggregated --targets 50,100",
    "moeplan compare gb200 b200 --targets 50,100 --rate 40",
    "moeplan compare gb200 b200 --targets 75,125 --report report.html --pdf report.pdf",
    "moeplan compare gb200 b200 --targets 75,125 --format md",
)

Skus = Annotated[
    list[str],
    typer.Argument(
        metavar="SKU SKU...",
        help="Machines, or cluster (YAML) or machine (TOML) files, each with words after colons "
        "for its engine and serving mode, such as gb200:vllm or mine.yaml:aggregated; ratios are "
        "of the first to each other.",
    ),
]
Machines = Annotated[
    list[str] | None,
    typer.Option(
        "--machine", metavar="FILE", help="One of the machines that is your own; repeatable."
    ),
]
Clusters = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="FILE", help="Cluster of one of the machines; repeatable."),
]

ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Also write a page that opens anywhere: words, chart, prices to change.",
    ),
]
PdfFile = Annotated[
    str | None,
    typer.Option(
        "--pdf", metavar="FILE.pdf", help="Also print that page to a file, by Chromium if here."
    ),
]

Format = Annotated[
    str | None,
    typer.Option("--format", metavar="md", help="Print Markdown, for a pull request or a wiki."),
]


@given.takes(
    but=(
        "concurrency",
        "prefill_sku",
        "prefill_price",
        "price",
        "machine",
        "cluster",
        "pool",
        "prefill_pool",
    )
)
def command(
    *,
    skus: Skus,
    targets: given.Targets,
    typed: given.Typed,
    price: given.Prices = None,
    machine: Machines = None,
    cluster: Clusters = None,
    as_json: given.Json = False,
    as_csv: given.Csv = False,
    format_name: Format = None,
    report: ReportFile = None,
    pdf: PdfFile = None,
) -> None:
    """Compare machines at several targets: the measured frontier beside the best as modelled.

    A machine that refuses an option is named, and the others are compared. Exits with 1 where no
    machine meets any target.
    """
    from moeplan import api, output  # --help does without these
    from moeplan.numbers import number_list, one_of
    from moeplan.render import compare as render
    from presets import InfeasibleError

    given.one_format(json=as_json, csv=as_csv, format=format_name is not None)
    if format_name is not None:
        one_of("--format", format_name, ("md",))
    wanted = number_list("--targets", targets, api.UNIT)
    options = given.options_of(typed)
    by_machine = given.options_by_machine(skus, options, price or [], machine or [], cluster or [])
    written = {
        option: name for option, name in (("--report", report), ("--pdf", pdf)) if name is not None
    }
    if not written:
        answer = api.compare(skus, wanted, by_machine)
    else:
        from moeplan.report.build import report_of  # a table needs no page
        from moeplan.report.pdf import pdf_of

        named = {"--price": price, "--machine": machine, "--cluster": cluster}
        paths = {option: _page_file(option, name, named, typed) for option, name in written.items()}
        words = ["compare", *skus, "--targets", targets]
        asked = {option: [name] for option, name in written.items()}
        line = given.command_line(words, named, typed, asked)
        made = report_of(skus, wanted, by_machine, command=line)
        html = made.html()
        for option, path in paths.items():
            output.write_file(option, path, html if option == "--report" else pdf_of(html))
        answer = made.comparison
    output.note(*(f"{sku} is not compared: {reason}" for sku, reason in answer.refused.items()))
    if as_json:
        output.emit_json(answer.to_json())
    elif as_csv:
        output.emit_csv(answer.to_rows())
    elif format_name is not None:
        from moeplan.report.markdown import markdown_of  # as above

        output.emit(markdown_of(answer))
    else:
        output.emit_report(render.report(answer))
    if all(pair.modelled is None for row in answer.rows for pair in row.pairs.values()):
        first = answer.skus[0]
        raise InfeasibleError(f"{first}: {answer.rows[0].answers[first].reason}")


ENDINGS = {"--report": ".html", "--pdf": ".pdf"}


def _page_file(
    option: str, name: str, named: Mapping[str, list[str] | None], typed: given.Typed
) -> Path:
    """Refuse, before any work, a file that is no page or could not be written."""
    from moeplan import output  # --help does without these
    from moeplan.numbers import file_name
    from presets.errors import InputError, shown

    path = file_name(option, name)
    if path.suffix != ENDINGS[option]:
        raise InputError(
            f"{option}: {shown(path.name)} is not valid; give a name that ends in {ENDINGS[option]}"
        )
    read = given.files_of(typed)
    for each in ("--machine", "--cluster"):
        read |= {f"{each} {text}": text for text in named[each] or ()}
    output.check_writable(option, path, read)
    if option == "--pdf":
        from moeplan.report.pdf import browser  # as above

        browser()
    return path
