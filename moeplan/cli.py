"""The command ``moeplan``: parses, asks the library, prints. Heavy imports wait for their use."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from moeplan.commands.help import Command, Group
from moeplan.commands.parameters import examples
from moeplan.started import BAD_INPUT, INTERRUPTED

INFEASIBLE = 1

COMMANDS = (
    "best",
    "curve",
    "compare",
    "sensitivity",
    "sweep",
    "fleet",
    "predict",
    "validate",
    "calibrate",
)
GROUPS = ("recipe", "topology", "presets")  # commands of their own commands
OF_PLANS = {
    "fleet": ("availability", "replan")
}  # what a command has of its own besides what it does itself

COMPLETION = "_MOEPLAN_COMPLETE"
"""Variable of the environment by which a shell asks for completions."""


def make_app(asked: Sequence[str] = ()) -> typer.Typer:
    """All commands, or the one that is asked for alone: to make them all takes its time."""
    app = typer.Typer(
        name="moeplan",
        cls=Group,
        help="Plan the serving of mixture-of-experts models: which machine and which "
        "configuration give the most throughput per dollar at a given interactivity.",
        epilog=examples(
            "moeplan best --sku gb200 --target 125",
            "moeplan compare gb200 b200 --targets 25,75,125,175",
        ),
        # Plain help needs no rich, and reads the same everywhere.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    every = (*COMMANDS, *GROUPS)
    for name in asked[:1] if asked and asked[0] in every else every:
        of_plans = bool(asked[1:2]) and asked[1] in OF_PLANS.get(name, ())
        module = import_module(f"moeplan.commands.{name}{'_plans' if of_plans else ''}")
        if name in GROUPS or of_plans:
            app.add_typer(module.app)
        else:
            app.command(name, cls=Command, epilog=module.EXAMPLES)(module.command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # only --version asks for it

        typer.echo(f"moeplan {version('moeplan')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the name of the command; None takes those of the process.

    Returns
    -------
    int
        0 done, 1 nothing meets the target, 2 bad input.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with warnings.catch_warnings():
        _show_notes()
        return _run(given)


def _show_notes() -> None:
    """Print what moeplan warns of as one line on standard error, each once."""
    from presets.errors import InputWarning  # --help does without pydantic

    as_before, seen = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *others: Any, **named: Any) -> None:
        if category is not InputWarning:
            as_before(message, category, *others, **named)
        elif str(message) not in seen:
            seen.add(str(message))
            typer.echo(f"Note: {message}", err=True)

    warnings.showwarning = show
    warnings.simplefilter("always", InputWarning)


def _run(given: list[str]) -> int:
    try:
        # What the shell asks for while a command is typed may be any of them.
        asked = [] if COMPLETION in os.environ else given
        command = typer.main.get_command(make_app(asked))
        status = command.main(given, prog_name="moeplan", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        return _explained(error)
    if status == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _explained(error: Exception) -> int:
    """Say what was foreseen in one sentence; anything else is a fault of this program."""
    # Imported here: the errors come with pydantic, which --help does without.
    from presets.errors import InfeasibleError, MoeplanError

    if isinstance(error, MoeplanError):
        reason = "\n  ".join([str(error), *getattr(error, "__notes__", ())])
        return _fail(reason, INFEASIBLE if isinstance(error, InfeasibleError) else BAD_INPUT)
    context = getattr(error, "ctx", None)  # that of errors of usage, which have no public class
    if context is None:
        raise error
    from moeplan.commands.usage import usage_error  # as above

    return _fail(str(usage_error(error, context)), BAD_INPUT)


def _fail(reason: str, status: int) -> int:
    typer.echo(f"Error: {reason}", err=True)
    return status
