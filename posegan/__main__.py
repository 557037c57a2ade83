"""`posegan`: the command line for people who have a trained generator.

A command's module is imported only when it runs, so that --help answers at once.
"""

import importlib
import logging
import signal
from importlib.metadata import PackageNotFoundError, version

import click

from posegan.cli import ProgramGroup

COMMANDS = {
    "transfer": "Draw a person, or a folder of them, in another pose.",
    "animate": "Draw a person moving: a walk, a list of poses, a folder of pictures, a video.",
    "demo": "Serve a page: pick a person, pick or bend a pose, see the drawing.",
    "export": "Write the generator as ONNX, or as a folder for a model hub.",
}


class LateGroup(ProgramGroup):
    """The commands, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command from the module of its name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"posegan.commands.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version() -> str:
    try:
        return version("posegan")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


@click.group(cls=LateGroup, name="posegan")
@click.version_option(_version(), prog_name="posegan")
def cli() -> None:
    """Draw a person in another person's pose."""


def main() -> None:
    """Entry point of the console script; SIGTERM ends it like Ctrl-C, so that temporary files are removed."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="posegan")


if __name__ == "__main__":
    main()
