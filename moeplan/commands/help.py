"""Help that names the arguments of a command alike in every Typer."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose arguments stand in its help as their metavar says, without their Python type.

    The metavar of a repeatable argument ends in "..." itself.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Write what follows the name of the command in its usage."""
        names = [
            _name(each) if each.required else f"[{_name(each)}]"
            for each in self._parameters(ctx, "argument")
        ]
        return [self.options_metavar or "", *names]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            records = []
            for each in self._parameters(ctx, kind):
                if (record := each.get_help_record(ctx)) is not None:
                    name = _name(each) if kind == "argument" else record[0]
                    # Some Typers escape brackets for rich, which plain help does without.
                    records.append((name, record[1].replace("\\[", "[")))
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def _parameters(self, ctx: Any, kind: str) -> list[Any]:
        return [each for each in self.get_params(ctx) if each.param_type_name == kind]


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name)
