"""`posegan export`: a trained generator for other programs."""

from pathlib import Path

import click

from posegan.commands.options import MODELS, newest_model
from posegan.errors import PoseGANError
from posegan.places import FILE, OUTPUT_FILE_OR_FOLDER, PlacedCommand


@click.command(cls=PlacedCommand)
@click.argument("out", type=OUTPUT_FILE_OR_FOLDER)
@click.option("--model", type=FILE, help="Trained generator.  [default: the newest in models/]")
def export(out: Path, model: Path | None) -> None:
    """Write the generator to OUT: an ONNX file (NAME.onnx), or a folder in the layout of model hubs.

    The ONNX file takes images and keypoints, any number at a time, and is written only if ONNX Runtime's images agree with
    PyTorch's. The folder holds model.safetensors, config.json and a model card; `--model FOLDER` and
    `PoseTransfer.from_pretrained` read it.
    """
    if out.suffix not in ("", ".onnx"):
        raise PoseGANError(f"{out}: expected a name that ends in .onnx, or a folder's name")
    chosen = model or newest_model(MODELS)
    if out.suffix == ".onnx":
        from posegan.inference.onnx_export import export_onnx

        checked = export_onnx(chosen, out)
        click.echo(f"{out}: {chosen} written; its images differ from PyTorch's by at most {checked.difference:.1g} (of a range of 2)")
        return
    from posegan.model.generator_file import generator_file, save_pretrained

    save_pretrained(generator_file(chosen), out)
    click.echo(f"{out}: {chosen} written")
