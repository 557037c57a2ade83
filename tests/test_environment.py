"""The locked environment: it installs on the first release of each Python that the project takes."""

import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.tiny_run import ROOT


def test_every_locked_version_takes_this_python_s_first_release() -> None:
    """Distributions keep an old patch release for years (Debian 12: 3.11.2), and pip refuses a version that wants a later one."""
    first = f"{sys.version_info.major}.{sys.version_info.minor}.0"
    locked = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    wanted = [requirement for requirement in locked if requirement.marker is None or requirement.marker.evaluate()]
    found, absent = dict[str, str](), list[str]()
    for requirement in wanted:
        try:
            found[str(requirement)] = distribution(requirement.name).metadata["Requires-Python"] or ""
        except PackageNotFoundError:
            absent.append(requirement.name)
    assert len(found) > 100, f"not installed: {absent}"
    assert {name: python for name, python in found.items() if first not in SpecifierSet(python)} == {}
