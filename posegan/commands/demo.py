"""`posegan demo`: the page in the browser."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posegan.cli import is_debug
from posegan.commands.options import chosen_model, generator_options, open_transfer
from posegan.errors import PoseGANError
from posegan.inference.shipped import DEFAULT, FOR_DRAWN
from posegan.places import PlacedCommand

if TYPE_CHECKING:
    from posegan.inference.transfer import PoseTransfer


@click.command(cls=PlacedCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; any but loopback lets others in.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0: any free one.")
@click.option("--open/--no-open", "show", default=False, show_default=True, help="Open it in the browser.")
@generator_options
def demo(host: str, port: int, show: bool, model: Path | None, detector: str | None, params: Path | None, device: str) -> None:
    """Serve a page: pick a person, pick or bend a pose, see and download the drawing, and what of it was copied.

    It opens with drawn people, whose joints are known: photographs alone need a detector (posegan[detect]). It runs on this computer,
    without network and without telemetry. There is no password: keep it on loopback, or behind a server of your own.
    """
    transfer = open_transfer(model, detector, params, device)
    blind = _blindness(transfer, was_named=detector is not None)
    from posegan.demo.server import LOOPBACK, open_server
    from posegan.demo.studio import Studio
    from posegan.inference.transfer import PoseTransfer

    # Each of the two that come with posegan draws its own kind of people; one that the user trained or named draws all.
    for_drawn = PoseTransfer(FOR_DRAWN, device) if model is None and chosen_model(None) == Path(DEFAULT) else None
    if for_drawn is not None:
        click.echo(f"model of the page's own people: {FOR_DRAWN} ({for_drawn.origin})", err=True)
    server = open_server(Studio(transfer, for_drawn, blind), host, port, debug=is_debug())
    if host not in LOOPBACK:
        click.echo(f"warning: everybody who can reach {host} can use this page", err=True)
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}/"
    click.echo(f"demo: {address} (Ctrl-C ends it)")
    if show:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("demo: ended")
    finally:
        server.server_close()


def _blindness(transfer: "PoseTransfer", was_named: bool) -> str:
    """Load the detector now, so that the first visitor does not wait; why there is none, or "".

    Raises:
        PoseGANError: there is none, and the user named it.
    """
    try:
        transfer.detector.estimate([])
    except PoseGANError as error:
        if was_named:
            raise
        click.echo(f"warning: the page takes no photographs: {error}", err=True)
        return str(error)
    return ""
