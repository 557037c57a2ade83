"""The files of a folder that a user names, listed as an archive's are."""

import os
from pathlib import Path

from pipeline.download.archives import Member
from posegan.errors import PoseGANError


def folder_members(source: Path) -> list[Member]:
    """The files below `source` by their paths in it; links are left out, but for those at its top that mean folders.

    Raises:
        PoseGANError: a folder cannot be read.
    """
    linked = [path for path in source.iterdir() if path.is_symlink() and path.is_dir()]  # such as to the folders on another disk
    listed = [path for top in (source, *linked) for path in list_files(top)]
    files = [path for path in listed if path.is_file() and not path.is_symlink()]
    return [Member(path.relative_to(source).as_posix(), path.stat().st_size, path.read_bytes) for path in files]


def list_files(folder: Path) -> list[Path]:
    """Everything below `folder` that is no folder, links to folders included, sorted by path.

    Raises:
        PoseGANError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise PoseGANError(f"{error.filename}: could not be read ({error.strerror}); make it readable, or move it away")

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        found += [Path(parent, name) for name in names]
        found += [path for name in folders if (path := Path(parent, name)).is_symlink()]
    return sorted(found)
