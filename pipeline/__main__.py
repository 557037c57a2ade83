"""`python -m pipeline`: the stages in the order in which they run, and what goes around them, each a subcommand.

A command's module is imported only when it runs, so that `python -m pipeline shard` never loads the
training code or the pose detector.
"""

import importlib
import os
import signal

import click

from pipeline.processes import die_with_parent
from posegan.cli import ProgramGroup

STAGES = {
    "download": "Get the images, from the drawn sample or a Market-1501 copy, and verify them.",
    "pose": "Find the person and the 18 joints in every image.",
    "pair": "Choose the (source, target) pairs of each identity.",
    "shard": "Pack the paired images into WebDataset tars with an index.",
    "train": "Train the generator and the discriminator; resumes where it was stopped.",
    "evaluate": "Judge the generator on held-out pairs and write the report.",
}
PAGES = {
    "inspect": "Show a table of keypoints as a page, or compare two.",
    "compare": "Show two evaluations side by side as a page.",
}
EXCHANGE = {
    "import-keypoints": "Turn annotations from elsewhere (CSV, COCO, OpenPose) into a table of keypoints.",
    "export-keypoints": "Write a table of keypoints as CSV, COCO or OpenPose.",
    "export-pairs": "Write the pairs of a split as a CSV.",
    "published-pairs": "Make the field's 12,000 test pairs of Market-1501 from the published annotations.",
}
USES = {
    "augment": "Draw the train images in other poses, as a Market-1501 folder for re-identification.",
}
EXPERIMENTS = {
    "ablation": "Train every recipe with the same budget and compare them in a table and a picture.",
}
SECTIONS = {
    "Stages, in order": STAGES,
    "Pages to look at": PAGES,
    "Keypoints and pairs, to and from other programs": EXCHANGE,
    "With a trained model": USES,
    "Experiments": EXPERIMENTS,
}


class StageGroup(ProgramGroup):
    """The stages and the commands around them, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The stages in the order in which they run, then the rest."""
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command from the module of its name, those of the exchange from `pipeline.exchange`."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = "exchange" if cmd_name in EXCHANGE else cmd_name
        command: click.Command = getattr(importlib.import_module(f"pipeline.{module}"), cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))


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
    if "DVC_STAGE" in os.environ:
        die_with_parent(signal.SIGTERM)


def main() -> None:
    """Entry point: SIGTERM ends a stage like Ctrl-C, so that temporary files are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with_dvc()
    cli(prog_name="python -m pipeline")


if __name__ == "__main__":
    main()
