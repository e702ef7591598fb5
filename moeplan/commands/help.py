"""Commands as Typer has them, with help and refusals of their own, alike in every Typer."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose arguments stand in its help as their metavar says, without their Python type.

    The metavar of a repeatable argument ends in "..." itself.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what is no command line in one sentence that says what would do."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # those of usage have no public class
            raise _explained(error, ctx) from None

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


class Group(TyperGroup):
    """Commands under one name; refuses as a command does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # as above
            raise _explained(error, ctx) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an unknown command."""
        if args[0] not in self.commands:
            from presets.errors import unknown_name  # a command that is known does without

            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def _explained(error: Exception, ctx: Any) -> Exception:
    if not hasattr(error, "format_message"):
        return error
    from moeplan.commands.usage import usage_error  # as above

    return usage_error(error, ctx)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name)
