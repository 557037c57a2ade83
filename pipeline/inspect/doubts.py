"""What in a table is hard to believe, as a section of a page."""

from pipeline.doubts import by_camera, doubts
from pipeline.inspect.sections import Tables
from pipeline.pages.page import Section, Table
from posegan.formats.table import MENDED


def doubts_section(tables: Tables) -> Section:
    """Everything that was looked at: in how many images it was found, of how many that could show it, and the first of them."""
    rows, cameras = [], []
    for doubt in doubts(tables.keypoints):
        count, of = int(doubt.images.sum()), int(doubt.looked_at.sum())
        example = f"{doubt.example(tables.keypoints)} ({doubt.hint})" if count else "-"
        rows.append([doubt.name, f"{count:,}", f"{of:,}", f"{count / max(of, 1):.1%}", example])
        cameras = by_camera(doubt, tables.keypoints)
    found = Table("What was looked at", ["", "images", "of", "share", "first example"], rows)
    sides = Table("Left and right exchanged, by camera", ["camera", "images", "of", "share"], cameras)
    mended = (tables.keypoints.table.schema.metadata or {}).get(MENDED)
    note = "Whoever shows nose, eyes and a broad torso has the right eye, shoulder and hip left of the left ones."
    return Section("Doubts", [*([mended.decode()] if mended else []), note], tables=[found, sides] if cameras else [found])
