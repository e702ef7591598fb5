"""Help that names the arguments of a command alike in every Typer."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose arguments stand in its help as their metavar says, without their Python type.

    A metavar of a repeatable argument ends in "..." itself.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Write what follows the name of the command in its usage."""
        return [usage_piece(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            parameters = [each for each in self.get_params(ctx) if each.param_type_name == kind]
            found = [each.get_help_record(ctx) for each in parameters]
            records = [record for record in found if record is not None]
            if kind == "argument":
                records = [(argument_name(name), text) for name, text in records]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def usage_piece(piece: str) -> str:
    """Take away the braces that some Typers put around what must be given.

    Examples
    --------
    >>> [usage_piece(piece) for piece in ("{ROWS.csv...}...", "ROWS.csv...", "[ROWS.csv]")]
    ['ROWS.csv...', 'ROWS.csv...', '[ROWS.csv]']
    """
    return re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1", piece)


def argument_name(name: str) -> str:
    """Take away the type that some Typers put behind a name, and the brackets of others.

    Examples
    --------
    >>> [argument_name(name) for name in ("A <str>", "A... <list[str]>", "[A]", "A...")]
    ['A', 'A...', 'A', 'A...']
    """
    return re.sub(r" <.*>$", "", name).strip("[]")
