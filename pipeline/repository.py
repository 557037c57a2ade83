"""What git says of the project: where it lies in its repository, and which of the inputs git does not have."""

import subprocess
from pathlib import Path

from posegan.errors import PoseGANError

INPUTS = ("data/photos", "data/annotations", "data/pair_lists", "data/weights")  # where people put what the stages read


def place_in_git() -> str:
    """Where the project lies in its git repository: `some/folder/`, or nothing where it is all of it.

    Raises:
        PoseGANError: it lies in none, or git is not installed.
    """
    try:
        done = subprocess.run(["git", "rev-parse", "--show-prefix"], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise PoseGANError("git: not installed; experiments are commits of git: install it") from None
    if done.returncode:
        raise PoseGANError(
            f"{Path.cwd()}: in no git repository, and experiments are commits of one; `git init`, `git add .`, `git commit`, then run again"
        )
    return done.stdout.strip()


def unknown_to_git(project: Path) -> list[str]:
    """What git does not have of the INPUTS, ignored or not: files, and folders of which it has nothing, by their places in the project."""
    line = ["git", "ls-files", "--others", "--directory", "--no-empty-directory", "-z", *INPUTS]
    listed = subprocess.run(line, cwd=project, check=True, capture_output=True).stdout
    return [name.decode("utf-8", "surrogateescape") for name in listed.split(b"\0") if name]
