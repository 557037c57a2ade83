"""Both command lines: commands imported when they run; one line for what a user can mend, a traceback only on demand."""

import errno
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from posegan.errors import PoseGANError
from posegan.places import FILE, PlacedCommand, fullest_disk

INTERRUPTED = 130
_DEBUG = "posegan.debug"  # key in click's context


class ProgramGroup(click.Group):
    """A click group that ends a `PoseGANError` or a full disk with one line and exit code 1, Ctrl-C with 130.

    Usage errors exit with 2, as in every click program. `--debug`, before or after the subcommand's
    name, lets the traceback through, and Pillow's warnings.
    """

    command_class = PlacedCommand

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The group's options, with --debug among them so that --help shows it."""
        debug = click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks instead of one-line errors.")
        return [*super().get_params(ctx), debug]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take --debug out of the line, then parse the rest as usual."""
        ctx.meta[_DEBUG] = "--debug" in args
        return super().parse_args(ctx, [arg for arg in args if arg != "--debug"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand and end its failures."""
        if reconfigure := getattr(sys.stdout, "reconfigure", None):  # whoever wraps it: colorama does, where DVC was imported
            reconfigure(errors="backslashreplace")  # for names that are no text, or none of the terminal's
        if ctx.meta[_DEBUG]:
            return super().invoke(ctx)
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of damage that a picture can do without, such as in its EXIF
        try:
            return super().invoke(ctx)
        except PoseGANError as error:
            _fail(ctx, f"error: {error}", 1)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted; nothing half-written was left, run the same command again", INTERRUPTED)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            _fail(
                ctx,
                f"error: {error.filename or fullest_disk(ctx) or 'the disk'}: no space left; free some and run the same command again",
                1,
            )
        return None


class LateGroup(ProgramGroup):
    """Commands that are imported when they run, so that --help answers at once, and `shard` never loads what `train` needs.

    Args:
        sections: heading -> command -> what it does in one line, in the order in which they are listed.
        find: the module of a command, whose function has the command's name.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, str]], find: Callable[[str], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sections, self._find = sections, find

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return [name for commands in self._sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = getattr(importlib.import_module(self._find(cmd_name)), cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        for heading, commands in self._sections.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))


def is_debug() -> bool:
    """Whether the command that runs was given --debug."""
    return bool(click.get_current_context().meta.get(_DEBUG))


def params_option(what: str = "Parameters.") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--params` of a stage, which it gets as `params_path`."""
    return click.option("--params", "params_path", type=FILE, default=Path("params.yaml"), show_default=True, help=what)


def _fail(ctx: click.Context, message: str, code: int) -> None:
    click.echo(message, err=True)
    ctx.exit(code)
