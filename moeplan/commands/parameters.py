"""The parameters that commands share; those of a question are made from its table of options.

Numbers come as text: each is checked in one place, by the entry of its option.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import chain
from typing import Annotated, Any, get_type_hints

import typer

from moeplan.option_readers import Option
from moeplan.options import Options, entries, read_options

FILES = ("model", "machine", "cluster", "calibration")
"""Options that may name a file."""

Typed = Mapping[str, Any]
"""Options of a question that were typed, by name: text, or True for a switch."""

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
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="MAP.toml",
        help="Map of the file's columns to those of rows; docs/files.md has its keys.",
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price", metavar="[SKU=]USD", help="Price per GPU-hour, of all or of one; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]


def takes(*names: str, but: Sequence[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Give a command options of a question in place of its parameter ``typed``.

    The command takes keywords only.

    Parameters
    ----------
    names : str
        Options; none takes all.
    but : sequence of str
        Options that are left out.
    """
    table = {name: (option, default) for name, option, default in entries()}
    chosen = [name for name in names or table if name not in but]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = inspect.signature(command).parameters
        parameters = []
        for name, parameter in own.items():
            if name == "typed":
                parameters += [_parameter(each, *table[each]) for each in chosen]
            else:
                parameters.append(parameter.replace(annotation=hints[name]))

        @wraps(command)
        def run(**given: Any) -> None:
            typed = {name: given.pop(name) for name in chosen}
            # Text that is blank was typed: its reader refuses it.
            said = {name: text for name, text in typed.items() if text not in (None, False)}
            command(typed=said, **given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameter(name: str, option: Option, default: Any) -> inspect.Parameter:
    """Write an option for the command line; what is not typed is None."""
    if option.metavar:
        # Click writes a default in brackets of its own where it is not that of the parameter.
        text = option.help if default is None else f"{option.help} [default: {default}]"
        info = typer.Option(flag(name), metavar=option.metavar, help=text)
        annotation: Any = Annotated[str | None, info]
    else:
        annotation = Annotated[bool, typer.Option(flag(name), help=option.help)]
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if option.metavar else False,
        annotation=annotation,
    )


def flag(name: str) -> str:
    """Write an option as it is typed.

    >>> flag("max_ttft")
    '--max-ttft'
    """
    return f"--{name.replace('_', '-')}"


def options_of(typed: Typed) -> Options:
    """Check what was typed, and make it options.

    Raises
    ------
    InputError
        Naming the option, its value and what is valid.
    """
    return read_options(typed, flag)


def files_of(typed: Typed) -> dict[str, str | None]:
    """Files that were typed, by option: nothing may be written over them."""
    return {flag(name): typed.get(name) for name in FILES}


def options_by_machine(
    skus: list[str],
    options: Options,
    prices: list[str],
    machines: list[str],
    clusters: list[str],
) -> dict[str, Options]:
    """Options of each machine: prices as ``USD`` for all or ``NAME=USD`` for one, others by file.

    A machine that stands there more than once takes what is of it everywhere.

    Raises
    ------
    InputError
        Where a price, a machine or a cluster is of no machine that is compared.
    """
    from moeplan import numbers  # the checks come with pydantic, which --help does without
    from moeplan.machines import SEPARATOR, machine_of
    from presets import ClusterPools, InputError, load_machine, read_cluster
    from presets.errors import closest_hint, shown

    result = dict.fromkeys(skus, options)
    own = [load_machine(numbers.file_name("--machine", text)) for text in machines]
    known = {machine.name: replace(options, machine=machine) for machine in own}
    named = {text: machine_of(text, known.get(text.split(SEPARATOR)[0], options)) for text in skus}

    def set_of(option: str, value: object, names: Sequence[str], **given: Any) -> None:
        """Set options of the machines of some names, of all that have them."""
        chosen = [text for text, found in named.items() if {text, *found.skus} & {*names}]
        if not chosen:
            raise InputError(
                f"{option}: {shown(value)} is of a machine that is not compared; "
                f"{closest_hint(names[0], skus)}"
            )
        for text in chosen:
            result[text] = replace(result[text], **given)

    # One of all, then of all of a machine, then of one by its whole name.
    for text in sorted(prices, key=lambda price: ("=" in price, SEPARATOR in price)):
        sku, equals, number = text.rpartition("=")
        price = numbers.noted_price("--price", number)
        set_of("--price", text, [sku] if equals else skus, price=price)
    for text, machine in zip(machines, own, strict=True):
        set_of("--machine", text, [machine.name], machine=machine)
    for text in clusters:
        cluster = read_cluster(numbers.file_name("--cluster", text))
        pools = cluster.pools.values() if isinstance(cluster, ClusterPools) else [cluster]
        set_of("--cluster", text, sorted({each.sku for each in pools}), cluster=cluster)
    return result


def command_line(
    words: Sequence[str],
    named: Mapping[str, Sequence[str] | None],
    typed: Typed,
    more: Mapping[str, Sequence[str]],
) -> str:
    """Write what was typed as a shell takes it, for whoever wants to run it again.

    >>> command_line(["compare", "gb200", "b200"], {"--targets": ["50"], "--price": None},
    ...              {"model": "my model", "within_data": True}, {"--report": ["r.html"]})
    "moeplan compare gb200 b200 --targets 50 --model 'my model' --within-data --report r.html"
    """
    parts = ["moeplan", *words]
    values = {flag(name): [text] for name, text in typed.items()}
    for option, texts in chain(named.items(), values.items(), more.items()):
        for text in texts or ():
            parts += [option] if text is True else [option, str(text)]
    return shlex.join(parts)


def one_format(**asked: bool) -> None:
    """Refuse two formats at once, by name."""
    from presets.errors import InputError  # as above

    names = [flag(name) for name, is_asked in asked.items() if is_asked]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names[:2])}: both are given; give one")


def examples(*lines: str) -> str:
    """Epilogue of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
