"""`python -m pipeline`: the stages in the order in which they run, each a subcommand.

A stage's module is imported only when that stage runs, so that `python -m pipeline shard` never loads the
training code or the pose detector.
"""

import ctypes
import importlib
import os
import signal
import sys

import click

from posegan.cli import ProgramGroup

STAGES = {
    "download": "Get the images, from the drawn sample or a Market-1501 copy, and verify them.",
    "pose": "Find the person and the 18 joints in every image.",
    "pair": "Choose the (source, target) pairs of each identity.",
    "shard": "Pack the paired images into WebDataset tars with an index.",
    "train": "Train the generator and the discriminator; resumes where it was stopped.",
    "evaluate": "Judge the generator on held-out pairs and write the report.",
}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StageGroup(ProgramGroup):
    """The stages, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The stages in the order in which they run."""
        return list(STAGES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a stage, from the module of its name."""
        if cmd_name not in STAGES:
            return None
        command: click.Command = getattr(importlib.import_module(f"pipeline.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the stages without importing them."""
        with formatter.section("Stages, in order"):
            formatter.write_dl(list(STAGES.items()))


@click.group(cls=StageGroup, invoke_without_command=True)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """PoseGAN's pipeline. `dvc repro` runs the stages that need it; this runs a single one.

    Values stand in params.yaml, paths on the command line. `python -m pipeline STAGE --help` explains a stage.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def die_with_dvc() -> None:
    """Under DVC on Linux, ask for SIGTERM when the parent dies.

    Otherwise a killed `dvc repro` leaves the stage running, to write over the next run's outputs. Started by
    hand, a stage may outlive its shell (nohup), so nothing is asked there.
    """
    if sys.platform == "linux" and "DVC_STAGE" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def main() -> None:
    """Entry point: SIGTERM ends a stage like Ctrl-C, so that temporary files are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with_dvc()
    cli(prog_name="python -m pipeline")


if __name__ == "__main__":
    main()
