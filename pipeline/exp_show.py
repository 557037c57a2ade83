"""`make exp-show`: DVC's table of experiments, as narrow as a terminal: the headline metrics, and what differs."""

import re
import subprocess
import sys

import click

from pipeline.evaluate.metrics import METHODS, METRICS
from pipeline.repository import place_in_git
from posegan.errors import PoseGANError

_FILES = (r".*\.py", "data/.*", "models/.*", "pipeline/.*", "posegan/.*", "dvclive/.*")
_OF_DVC = ("Executor", "State", "rev", "typ", "parent", "Created")
_OF_TRAINING = ("val_.*", "loss_.*", "step")


def dropped() -> str:
    """A pattern of the columns that make room: files, DVC's own, training's, and every metric that is no headline."""
    metrics = [re.escape(name) for name, metric in METRICS.items() if not metric.headline or metric.stands_in]
    others = [f"{method.prefix}.*" for method in METHODS.values() if method.prefix]
    return "|".join([*_FILES, *_OF_DVC, *_OF_TRAINING, *metrics, *others, "pairs"])


if __name__ == "__main__":
    try:
        place_in_git()
    except PoseGANError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    line = ["dvc", "exp", "show", "--only-changed", "--no-pager", "--hide-workspace", "--drop", dropped()]
    sys.exit(subprocess.run([sys.executable, "-m", *line], check=False).returncode)
