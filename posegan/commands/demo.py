"""`posegan demo`: the page in the browser."""

import webbrowser
from pathlib import Path

import click

from posegan.cli import is_debug
from posegan.commands.options import generator_options, open_transfer
from posegan.places import PlacedCommand


@click.command(cls=PlacedCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; any but loopback lets others in.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0: any free one.")
@click.option("--open/--no-open", "show", default=False, show_default=True, help="Open it in the browser.")
@generator_options
def demo(host: str, port: int, show: bool, model: Path | None, detector: str | None, params: Path | None, device: str) -> None:
    """Serve a page: pick a person, pick or bend a pose, see and download the drawing.

    It runs on this computer, without network and without telemetry. There is no password: keep it on loopback, or behind a
    server of your own.
    """
    transfer = open_transfer(model, detector, params, device)
    transfer.detector.estimate([])  # loaded now, so that the first visitor does not wait
    from posegan.demo.server import LOOPBACK, open_server
    from posegan.demo.studio import Studio

    server = open_server(Studio(transfer), host, port, debug=is_debug())
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
