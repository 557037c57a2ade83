"""`posegan export`: a trained generator for other programs."""

from pathlib import Path

import click

from posegan.cli import FILE
from posegan.commands.options import MODEL_HELP, chosen_model
from posegan.errors import PoseGANError
from posegan.inference.shipped import named_model


@click.command()
@click.argument("out", type=FILE)
@click.option("--model", type=FILE, help=MODEL_HELP)
def export(out: Path, model: Path | None) -> None:
    """Write the generator to OUT: an ONNX file (NAME.onnx), or a folder in the layout of model hubs.

    The ONNX file takes images and keypoints, any number at a time, and is written only if ONNX Runtime's images agree with
    PyTorch's. The folder holds model.safetensors, config.json and a model card; `--model FOLDER` and
    `PoseTransfer.from_pretrained` read it.
    """
    if out.suffix not in ("", ".onnx"):
        raise PoseGANError(f"{out}: expected a name that ends in .onnx, or a folder's name")
    chosen = named_model(chosen_model(model))
    if out.suffix == ".onnx":
        from posegan.inference.onnx_export import export_onnx

        checked = export_onnx(chosen, out)
        click.echo(f"{out}: {chosen} written; its images differ from PyTorch's by at most {checked.difference:.1g} (of a range of 2)")
        return
    from posegan.model.generator_file import generator_file, save_pretrained

    save_pretrained(generator_file(chosen), out)
    click.echo(f"{out}: {chosen} written")
