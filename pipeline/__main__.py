"""`python -m pipeline`: the stages in the order in which they run, and what goes around them, each a subcommand."""

import os
import signal

import click

from pipeline.processes import die_with_parent
from posegan.cli import LateGroup

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
SHARDS = {
    "export-dataset": "Write the pairs of a split, images and all, as a Parquet file that Hugging Face's datasets reads.",
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
    "Shards, for other programs": SHARDS,
    "With a trained model": USES,
    "Experiments": EXPERIMENTS,
}


def module_of(command: str) -> str:
    """A stage or a command is the folder of its own name; what several share is a file."""
    if command in STAGES:
        return f"pipeline.{command}.stage"
    if command in EXCHANGE:
        return "pipeline.exchange"
    return f"pipeline.{command.replace('-', '_')}" if command in SHARDS | USES else f"pipeline.{command}.command"


@click.group(cls=LateGroup, sections=SECTIONS, find=module_of, invoke_without_command=True)
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
