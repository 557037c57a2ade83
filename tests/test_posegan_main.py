"""The `posegan` command: what a stranger sees when it works and when it does not."""

from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from posegan.__main__ import cli
from posegan.cli import ProgramGroup
from posegan.commands.options import save_image
from posegan.errors import PoseGANError
from tests.support import forked
from tests.support.tiny_run import ROOT

PARAMS = str(ROOT / "params.yaml")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="posegan")


def test_help_and_version() -> None:
    assert "transfer" in run("--help").output
    shown = run("transfer", "--help").output
    for option in ("--pose", "--out", "--grid", "--model", "--params"):
        assert option in shown
    assert run("--version").output.startswith("posegan")


def test_usage_errors_exit_with_2() -> None:
    for line in (["a.jpg", "--pose", "b.jpg"], ["a.jpg", "--out", "o.png"], ["--pose", "b.jpg", "--out", "o.png"]):
        assert run("transfer", *line).exit_code == 2
    assert run("transfer", "a.jpg", "--pose", "b.jpg", "--out", "o.png", "--grid", "--paste").exit_code == 2
    assert run("transform").exit_code == 2


def test_an_unknown_extension_is_refused_before_any_work(tmp_path: Path) -> None:
    result = run("transfer", "a.jpg", "--pose", "b.jpg", "--out", str(tmp_path / "out.gif"), "--params", PARAMS)
    assert result.exit_code == 1
    assert "expected a name that ends in .png, .jpg, .jpeg, .json, got '.gif'" in result.output


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    line = ["-m", "posegan", "transfer", "a.jpg", "--pose", "b.jpg", "--out", str(tmp_path / "out.png")]
    result = forked.run(*line, "--model", str(tmp_path / "absent.safetensors"), "--params", PARAMS)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "absent.safetensors: no such file; run make repro first" in result.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("name", "image_format"), [("out.png", "PNG"), ("out.JPG", "JPEG"), ("out.jpeg", "JPEG")])
def test_the_extension_decides_the_format(tmp_path: Path, name: str, image_format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    save_image(tmp_path / name, PIL.Image.fromarray(pixels))
    with PIL.Image.open(tmp_path / name) as image:
        assert image.format == image_format
        assert image.size == (6, 4)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_letter_that_the_terminal_lacks_ends_no_command() -> None:
    @click.group(cls=ProgramGroup)
    def group() -> None:
        """A program."""

    @group.command()
    def tell() -> None:
        click.echo("雪.png: written")

    result = CliRunner(charset="cp1252").invoke(group, ["tell"], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "\\u96ea.png: written\n")


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (PoseGANError("thing: broken; mend it"), 1, "error: thing: broken; mend it\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "file.bin"), 1, "error: file.bin: no space left"),
    ],
)
def test_failures_end_with_one_line(failure: BaseException, code: int, text: str) -> None:
    @click.group(cls=ProgramGroup)
    def group() -> None:
        """A program."""

    @group.command()
    def fail() -> None:
        raise failure

    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == code
    assert text in result.output
    for line in (["fail", "--debug"], ["--debug", "fail"]):
        debugged = CliRunner().invoke(group, line)
        assert "error: " not in debugged.output
        assert debugged.exit_code != 0
