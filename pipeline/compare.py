"""Command compare: two evaluations side by side, as a page."""

import time
from pathlib import Path

import click

from pipeline.judging.pair_scores import METRICS
from pipeline.pages.comparison import Judged, differences, read_evaluation
from pipeline.pages.comparison_page import Pairs, charts_section, facts_section, pictures_section, slices_section, table_section
from pipeline.pages.page import render_sections
from posegan.errors import PoseGANError
from posegan.files import write_atomically

FILE = click.Path(path_type=Path)


def page_of(first: Judged, second: Judged, by: str, pictures: int) -> str:
    """The whole page: `second` measured against `first`, pictures by the metric `by`."""
    pairs = Pairs(first, second)
    gain = pairs.gain(by)
    if gain is None:
        raise PoseGANError(f"--by {by}: one of the evaluations has no {by} of each pair; choose another metric")
    sections = [table_section(pairs, differences(*pairs.tables)), slices_section(pairs, by), charts_section(pairs)]
    sections += [pictures_section(pairs, gain, by, pictures), facts_section(first, second)]
    lead = f"A: {first.folder}, {len(first.table):,} pairs. B: {second.folder}, {len(second.table):,} pairs. In common: {len(gain):,}."
    return render_sections("PoseGAN: two evaluations", lead, sections)


@click.command("compare")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option(
    "--by", type=click.Choice([name for name, *_ in METRICS]), default="ssim", show_default=True, help="Metric that chooses pictures."
)
@click.option("--pictures", type=click.IntRange(0, 1000), default=16, show_default=True, help="At most so many in a row of pictures.")
@click.option("--out", type=FILE, default=Path("reports/comparison.html"), show_default=True, help="Page to write.")
def compare(a: Path, b: Path, by: str, pictures: int, out: Path) -> None:
    """Show two evaluations side by side, as a page that opens in any browser, without network.

    A and B are folders that the evaluate stage wrote, such as reports/evaluation. Only pairs that both judged are compared:
    every metric with a 95 % interval of the difference, by pose difference and view, and the pairs that B draws better and worse.
    """
    started = time.monotonic()
    first, second = read_evaluation(a), read_evaluation(b)
    page = page_of(first, second, by, pictures)
    write_atomically(out, page)
    click.echo(f"compare: {len(page) / 1e6:.1f} MB; {time.monotonic() - started:.1f} s; page in {out}")
