"""Bring the lessons' pictures into the documentation: `python docs/lesson_pictures.py`, after `make lessons`.

fashion.png is lesson 5's grid on Fashion-MNIST, from `build/fashion/`, where docs/lessons.md's lines leave it; without that it stays.
"""

import shutil
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "lessons" / "results"
IMAGES = Path(__file__).parent / "images" / "lessons"
SHOWN = {
    "digits.png": "lesson1/pictures/digits.png",
    "one-or-two-layers.png": "lesson1/pictures/curves.png",
    "optimisers.png": "lesson2/pictures/study.png",
    "convolutions.png": "lesson3/pictures/curves.png",
    "objects.png": "lesson4/pictures/objects.png",
    "norm-and-dropout.png": "lesson4/pictures/curves.png",
    "gan.png": "lesson5/pictures/fair.png",
    "collapsed.png": "lesson5/pictures/collapsed.png",
    "gan-losses.png": "lesson5/pictures/losses.png",
    "conditional-gan.png": "lesson6/pictures/digits.png",
    "fashion.png": "../../build/fashion/results/lesson5/pictures/fair.png",
}


def main() -> None:
    """Copy them to docs/images/lessons/, under the names that docs/lessons.md uses."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, made in SHOWN.items():
        if name != "fashion.png" or (RESULTS / made).is_file():
            shutil.copyfile(RESULTS / made, IMAGES / name)


if __name__ == "__main__":
    main()
