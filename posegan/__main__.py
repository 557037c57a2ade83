"""`posegan`: the command line for people who have a trained generator."""

import logging
import signal
from importlib.metadata import PackageNotFoundError, version

import click

from posegan.cli import LateGroup

COMMANDS = {
    "transfer": "Draw a person, or a folder of them, in another pose.",
    "animate": "Draw a person moving: a walk, a list of poses, a folder of pictures, a video.",
    "demo": "Serve a page: pick a person, pick or bend a pose, see the drawing.",
    "export": "Write the generator as ONNX, or as a folder for a model hub.",
}


def _version() -> str:
    try:
        return version("posegan")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


@click.group(cls=LateGroup, name="posegan", sections={"Commands": COMMANDS}, find="posegan.commands.{}".format)
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
