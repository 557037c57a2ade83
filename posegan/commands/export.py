"""`posegan export`: a trained generator for other programs."""

import tempfile
from pathlib import Path

import click

from posegan.commands.options import MODEL_HELP, chosen_model
from posegan.errors import PoseGANError
from posegan.places import FILE, OUTPUT_FILE_OR_FOLDER, PlacedCommand


@click.command(cls=PlacedCommand)
@click.argument("out", type=OUTPUT_FILE_OR_FOLDER, required=False)
@click.option("--model", type=FILE, help=MODEL_HELP)
@click.option("--hub", help="Publish it as user/model on the Hugging Face hub, where you are logged in.")
def export(out: Path | None, model: Path | None, hub: str | None) -> None:
    """Write the generator to OUT: an ONNX file (NAME.onnx), or a folder in the layout of model hubs.

    The ONNX file takes images and keypoints, any number at a time, and is written only if ONNX Runtime's images agree with
    PyTorch's. The folder holds model.safetensors, config.json and a model card; `--model FOLDER` and
    `PoseTransfer.from_pretrained` read it. With --hub the same folder goes to a hub.
    """
    if (out is None) == (hub is None):
        raise click.UsageError("name either OUT or --hub")
    if out is not None and out.suffix not in ("", ".onnx"):
        raise PoseGANError(f"{out}: expected a name that ends in .onnx, or a folder's name")
    from posegan.inference.model_names import named_model

    chosen = named_model(chosen_model(model))
    if out is not None and out.suffix == ".onnx":
        from posegan.inference.onnx_export import export_onnx

        checked = export_onnx(chosen, out)
        differ = f"by at most {checked.grey_levels} of 255 grey levels as they are saved, {checked.mean:.1g} on average"
        click.echo(f"{out}: {chosen} written; its pictures differ from PyTorch's {differ}")
        return
    from posegan.model.generator_file import generator_file, save_pretrained

    if out is not None:
        save_pretrained(generator_file(chosen), out)
        click.echo(f"{out}: {chosen} written")
    elif hub is not None:
        from posegan.inference.hub import publish_model

        with tempfile.TemporaryDirectory() as folder:
            save_pretrained(generator_file(chosen), Path(folder) / "model")
            click.echo(f"{publish_model(Path(folder) / 'model', hub)}: {chosen} published")
