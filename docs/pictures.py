"""Draw the documentation's pictures with a trained model: `python docs/pictures.py [MODEL]`, after `make repro`."""

import subprocess
import sys
from pathlib import Path

import PIL.Image

from posegan.people.pose_library import SIDES, library_pose
from posegan.pictures import draw_skeleton, image_grid

IMAGES = Path(__file__).parent / "images"
PEOPLE = Path(__file__).parent.parent / "posegan" / "demo" / "people"
SHOWN = ("standing", "sitting", "waving", "arms-raised", "walking-1", "walking-3")


def main() -> None:
    """Write docs/images/{grid,poses,transfer,walk}.png, the first the upper half of the report's; ablation.jpg after an ablation."""
    with PIL.Image.open(Path("reports/evaluation/grid.png")) as grid:
        grid.crop((0, 0, grid.width, grid.height // 2)).save(IMAGES / "grid.png", optimize=True)
    if (ablation := Path("reports/ablation.png")).is_file():
        with PIL.Image.open(ablation) as grid:
            grid.convert("RGB").save(IMAGES / "ablation.jpg", quality=88, optimize=True)
    model = ["--model", sys.argv[1] if len(sys.argv) > 1 else "models/generator.safetensors"]
    rows = [[draw_skeleton(library_pose(f"{pose}/{side}", 128, 64), 128, 64) for side in SIDES] for pose in SHOWN]
    image_grid(rows, SIDES, scale=1).save(IMAGES / "poses.png")
    posegan = [sys.executable, "-m", "posegan"]
    person = str(PEOPLE / "1.jpg")
    subprocess.run(
        [*posegan, "transfer", person, "--pose", "walking-3/left", "--grid", "--out", str(IMAGES / "transfer.png"), *model], check=True
    )
    walk = ["--poses", "walking/left", "--frames", "8", "--scale", "1", "--out", str(IMAGES / "walk.png")]
    subprocess.run([*posegan, "animate", person, *walk, *model], check=True)


if __name__ == "__main__":
    main()
