"""The documentation says what the program says: quoted errors exist, named options exist, and Sphinx builds it without a warning."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.__main__ import STAGES
from pipeline.__main__ import cli as pipeline_cli
from pipeline.evaluate.metrics import METRICS
from posegan.__main__ import cli as posegan_cli
from posegan.inference.shipped import CARD, FOLDER
from tests.support import forked
from tests.support.tiny_run import ROOT

DOCS = ROOT / "docs"


def sources() -> str:
    """All program text, its adjacent string literals joined."""
    text = "".join(path.read_text() for package in ("posegan", "pipeline") for path in sorted((ROOT / package).rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_quoted_errors_are_the_program_s_own_words() -> None:
    table = (DOCS / "troubleshooting.md").read_text().split("## DVC itself")[0]
    quoted = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(quoted) > 15
    text = sources()
    # What the program fills in is written as three dots, or stands before the first colon.
    fragments = [part.strip(" ()") for words in quoted for part in words.split("...") if len(part) > 8]
    assert [words for words in fragments if words not in text and words.partition(": ")[2] not in text] == []


def commands(text: str) -> list[list[str]]:
    """The lines of code blocks that call one of the two programs."""
    lines = [line.split("  #")[0].strip() for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line.split() for line in lines if line.startswith(("posegan ", "python -m pipeline "))]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/first-run.md", "docs/using.md", "docs/experiments.md", "docs/market1501.md", "docs/deepfashion.md"]
)
def test_commands_and_options_exist(page: str) -> None:
    helps: dict[tuple[str, str], str] = {}
    for words in commands((ROOT / page).read_text()):
        cli, name = (posegan_cli, words[1]) if words[0] == "posegan" else (pipeline_cli, words[3] if len(words) > 3 else "")
        if name and not name.startswith("-"):
            shown = helps.setdefault((words[0], name), CliRunner().invoke(cli, [name, "--help"]).output)
            assert "Usage:" in shown, words
            options = [word.split("=")[0] for word in words if word.startswith("--")]
            assert [option for option in options if option not in shown] == [], words


def test_every_metric_is_defined() -> None:
    defined = set(re.findall(r"`(\w+)`", (DOCS / "metrics.md").read_text()))
    assert not [name for name in METRICS if name not in defined], "docs/metrics.md lacks its row"


HEADINGS = {"SSIM": "ssim", "mask-SSIM": "mask_ssim", "L1 in the mask": "mask_l1", "PCK": "pck", "DS": "ds", "sharpness": "sharpness"}
Table = dict[str, dict[str, str]]  # row -> heading -> cell


def tables(page: str) -> list[Table]:
    """The tables of a page that have one of the headings above."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        if "PCK" in head:
            found.append({row[0]: dict(zip(head[1:], [*row[1:], *[""] * len(head)], strict=False)) for row in rows})
    return found


def shown_as(cell: str, value: float | None) -> bool:
    """Whether a cell has the value, rounded as it stands there."""
    return cell == "" if value is None else cell == f"{value:.{len(cell.partition('.')[2])}f}"


def figures_of(kind: str) -> dict[str, dict[str, float | None]]:
    """Rows that were measured on drawn or on real people, as the cards of the generators have them."""
    cards = {name: json.loads((FOLDER / name / CARD).read_text())["measured"][kind] for name in ("drawn", "real")}
    rows = {f"by `{name}`": card["rows"]["generated"] for name, card in cards.items()}
    return rows | {row: cards["real"]["rows"][row] for row in ("warped", "copied", "real")}


README_ROWS = {
    "generated": "by `drawn`",
    "warp the source by its parts (floor)": "warped",
    "copy the source": "copied",
    "the real target (ceiling)": "real",
}
MARKET_ROWS = {"generated": "by `real`", "source, warped by parts (floor)": "warped", "source, copied": "copied", "real": "real"}


@pytest.mark.parametrize(
    ("page", "number", "kind", "rows"),
    [
        ("docs/results.md", 0, "drawn", {row: row for row in figures_of("drawn")}),
        ("docs/results.md", 1, "real", {row: row for row in figures_of("real")}),
        ("docs/market1501.md", 0, "real", MARKET_ROWS),
        ("README.md", 0, "drawn", README_ROWS),
    ],
)
def test_measured_tables_are_those_of_the_cards(page: str, number: int, kind: str, rows: dict[str, str]) -> None:
    table, measured = tables(page)[number], figures_of(kind)
    assert set(table) == set(rows)
    wrong = [
        (row, heading, cells[heading], measured[rows[row]][column])
        for row, cells in table.items()
        for heading, column in HEADINGS.items()
        if not shown_as(cells[heading], measured[rows[row]][column])
    ]
    assert wrong == []


def test_results_have_the_published_models_figures_and_the_numbers_of_pairs() -> None:
    assert tables("docs/results.md")[2] == tables("docs/market1501.md")[1]
    text = (DOCS / "results.md").read_text()
    for kind in ("drawn", "real"):
        card = json.loads((FOLDER / kind / CARD).read_text())
        assert f"{card['measured'][kind]['pairs']:,} " in text
        assert card["trained_on"].partition(" pairs")[0] + " pairs" in text


def test_the_readme_s_sentence_on_real_people_is_the_card_s() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    reached, floor, ceiling = (figures_of("real")[row]["pck"] for row in ("by `real`", "warped", "real"))
    assert f"the shipped generator reaches PCK {reached:.3f} (floor {floor:.3f}, real images {ceiling:.3f})" in text


def test_every_picture_is_there_and_shown() -> None:
    pages = [path.read_text() for path in (*DOCS.glob("*.md"), ROOT / "README.md")]
    named = {Path(name).name for text in pages for name in re.findall(r"\]\((?:docs/)?images/([^)]+)\)", text)}
    assert named == {path.name for path in (DOCS / "images").rglob("*") if path.is_file()}


def test_every_picture_can_be_made_again() -> None:
    scripts = "".join(path.read_text() for path in DOCS.glob("*picture*.py"))
    names = [path.name for path in (DOCS / "images").rglob("*") if path.is_file()]
    assert len(names) > 15
    assert [name for name in names if f'"{name}"' not in scripts] == []


def test_every_stage_has_its_row() -> None:
    assert not [stage for stage in STAGES if f"| `{stage}` |" not in (DOCS / "design.md").read_text()], "docs/design.md lacks its row"


PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_text_has_air(page: Path) -> None:
    """Lines of at most 120 characters, but for tables, pictures, addresses and code; README in under 200 lines."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    long = [line for line in text.splitlines() if len(re.sub(r"\]\([^)]*\)", "", line)) > 120 and not line.startswith(("|", "!["))]
    assert long == []
    assert page.name != "README.md" or len(page.read_text().splitlines()) < 200


def test_sphinx_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs the extra posegan[docs]")
    pytest.importorskip("myst_nb", reason="needs the extra posegan[docs]")
    line = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")]
    built = forked.run("-m", "sphinx", *line)
    assert built.returncode == 0, built.stderr
    assert "from_pretrained" in (tmp_path / "html" / "api.html").read_text()
    notebook = (tmp_path / "html" / "keypoints.html").read_text()
    assert "real - drawn: from" in notebook  # a heading of its last table: it ran to the end
    assert notebook.count("data:image/png") + notebook.count(".png") >= 6


def test_notebooks_keep_no_outputs() -> None:
    notebooks = [json.loads(path.read_text()) for path in DOCS.glob("*.ipynb")]
    assert notebooks
    for cell in (cell for notebook in notebooks for cell in notebook["cells"] if cell["cell_type"] == "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
