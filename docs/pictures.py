"""Draw the documentation's pictures, all of drawn people: `python docs/pictures.py [NAME ...]`.

Three show the default run and need `make repro` before (grid.png, transfer.png, walk.png), ablation.jpg `make ablation`; without names
those that cannot be made are left as they are, and told. The others need nothing but the generators that come with the program.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from PIL import ImageDraw, ImageFilter, ImageFont

from posegan.demo.studio import built_in_people
from posegan.images import Picture, fit_image
from posegan.inference.transfer import Explained, Fitted, PoseTransfer
from posegan.metrics.pose_masks import masked, pose_masks
from posegan.metrics.sharpness import sharpness
from posegan.people.detection import Posed, read_image
from posegan.people.pose_library import SIDES, library_pose
from posegan.pictures import draw_skeleton, draw_skeleton_over, image_grid
from posegan.skeleton import JOINTS

IMAGES = Path(__file__).parent / "images"
RUN = Path("models/generator.safetensors"), Path("reports/evaluation/grid.png")
ABLATION = Path("reports/ablation.png")
SHOWN = ("standing", "sitting", "waving", "arms-raised", "walking-1", "walking-3")
# Number of a built-in person, and a pose: facing us or seen from behind, turned or not.
PAIRS = ((2, "walking-3/front-left"), (1, "arms-raised/front"), (0, "waving/front-right"), (3, "standing/back"))
_GREY = 127.5


def grid() -> PIL.Image.Image:
    """The upper half of the report's grid."""
    with PIL.Image.open(RUN[1]) as whole:
        return whole.crop((0, 0, whole.width, whole.height // 2))


def ablation() -> PIL.Image.Image:
    """What the recipes drew."""
    with PIL.Image.open(ABLATION) as whole:
        return whole.convert("RGB")


def transfer() -> PIL.Image.Image:
    """Source, pose and drawing, as the command writes them."""
    return _written("transfer", "--pose", "walking-3/left", "--grid")


def walk() -> PIL.Image.Image:
    """A walk as a strip."""
    return _written("animate", "--poses", "walking/left", "--frames", "8", "--scale", "1")


def poses() -> PIL.Image.Image:
    """Built-in poses from all sides."""
    rows = [[draw_skeleton(library_pose(f"{pose}/{side}", 128, 64), 128, 64) for side in SIDES] for pose in SHOWN]
    return image_grid(rows, SIDES, scale=1)


def generators() -> PIL.Image.Image:
    """What the two generators that come with the program draw of the same people, beside what needs no network."""
    rows = []
    for number, pose in PAIRS:
        drawn, real = (_explained(name, number, pose) for name in ("drawn", "real"))
        rows.append([_person(number).pixels, _skeleton(pose), drawn.warped, drawn.picture, real.picture])
    return image_grid(rows, ("source", "target pose", "warped", "by drawn", "by real"))


def image_skip() -> PIL.Image.Image:
    """What is copied and what is invented: each pixel's share as grey, and the colours of both, with grey in place of the other."""
    rows = []
    for number, pose in PAIRS[:2]:
        for name in ("drawn", "real"):
            explained = _explained(name, number, pose)
            assert explained.origins is not None
            share, copied, invented, _ = (each.numpy() for each in explained.origins)
            halves = [share * copied, (1 - share) * invented]
            shown = [np.rint((half + 1) * _GREY).astype(np.uint8).transpose(1, 2, 0) for half in halves]
            mask = np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=2)
            rows.append([_person(number).pixels, explained.warped, mask, *shown, explained.picture])
    return image_grid(rows, ("source", "warped", "share copied", "copied", "invented", "drawing"))


def metrics() -> PIL.Image.Image:
    """The mask, and what sharpness says of a blurred, a noisy and a cut picture."""
    source, pose = _person(0), library_pose("walking-3/front-left", 128, 64)
    real = PIL.Image.fromarray(source.pixels)
    noise = np.random.default_rng(0).normal(0, 10, source.pixels.shape)
    pictures = {
        "real": source.pixels,
        "blurred, 1 px": np.asarray(real.filter(ImageFilter.GaussianBlur(1))),
        "blurred, 2 px": np.asarray(real.filter(ImageFilter.GaussianBlur(2))),
        "noise of 10": np.rint(source.pixels + noise).clip(0, 255).astype(np.uint8),
        "warped": _transfer("drawn").explain(source, pose).warped,
    }
    joints = torch.from_numpy(np.stack([source.keypoints, pose]))
    masks = pose_masks(joints, 128, 64)
    target = _batch(source.pixels)
    row, header = [], []
    for name, picture in pictures.items():
        mask = masks[1:] if name == "warped" else masks[:1]
        row.append(picture)
        header.append(f"{name}: {float(sharpness(_batch(picture), target, mask)):.2f}")
    mask = np.repeat((255 * masks[0, 0].numpy()).astype(np.uint8)[..., None], 3, axis=2)
    row[1:1] = [mask, masked(target, masks[:1])[0].permute(1, 2, 0).numpy()]
    header[1:1] = ["mask", "in the mask"]
    return image_grid([row], header)


def joints() -> PIL.Image.Image:
    """The 18 joints by name, over a person who faces us: their right is on the left."""
    source, scale, side = _person(0), 4, 130
    large = np.asarray(PIL.Image.fromarray(source.pixels).resize((64 * scale, 128 * scale), PIL.Image.Resampling.BICUBIC))
    places = source.keypoints.copy()
    places[:, :2] = (places[:, :2] + 0.5) * scale
    canvas = PIL.Image.new("RGB", (64 * scale + 2 * side, 128 * scale), "white")
    canvas.paste(PIL.Image.fromarray(draw_skeleton_over(large, places)), (side, 0))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for at_left in (True, False):
        named = [number for number, name in enumerate(JOINTS) if places[number, 2] > 0 and (_at_left(name) == at_left)]
        below = 0.0
        for number in sorted(named, key=lambda number: places[number, 1]):
            x, y = float(places[number, 0]) + side, float(places[number, 1])
            below = max(y, below + 18)
            edge, anchor = (side - 8, "rm") if at_left else (canvas.width - side + 8, "lm")
            pen.line([(x, y), (edge, below)], fill=(120, 120, 120), width=1)
            pen.text((edge, below), JOINTS[number].replace("_", " "), fill="black", font=font, anchor=anchor)
    return canvas


def padding() -> PIL.Image.Image:
    """One crop at three sizes of one height: what it lacks in width is its edge, repeated."""
    photo = read_image(built_in_people()[0][0])
    shapes = {"256 x 128": (256, 128), "256 x 176": (256, 176), "256 x 256": (256, 256)}
    canvas = PIL.Image.new("RGB", (sum(width for _, width in shapes.values()) + 4 * (len(shapes) + 1), 256 + 28), "white")
    pen, left = ImageDraw.Draw(canvas), 4
    for name, (height, width) in shapes.items():
        canvas.paste(PIL.Image.fromarray(fit_image(photo, height, width)[0]), (left, 24))
        pen.text((left + width / 2, 12), name, fill="black", font=ImageFont.load_default(12), anchor="mm")
        left += width + 4
    return canvas


PICTURES: dict[str, Callable[[], PIL.Image.Image]] = {
    "grid.png": grid, "ablation.jpg": ablation, "transfer.png": transfer, "walk.png": walk, "poses.png": poses,
    "generators.png": generators, "image-skip.png": image_skip, "metrics.png": metrics, "joints.png": joints, "padding.png": padding,
}  # fmt: skip
NEEDS = {"grid.png": RUN, "transfer.png": RUN, "walk.png": RUN, "ablation.jpg": (ABLATION,)}


def main(names: list[str]) -> None:
    """Write docs/images/NAME for these names, or for all that can be made."""
    for name in names or PICTURES:
        missing = [path for path in NEEDS.get(name, ()) if not path.is_file()]
        if missing and not names:
            print(f"{name}: left as it is, since {missing[0]} is not there")
            continue
        PICTURES[name]().save(IMAGES / name, optimize=True, quality=88)


@cache
def _transfer(name: str) -> PoseTransfer:
    return PoseTransfer(name, "cpu")


@cache
def _person(number: int) -> Fitted:
    path, keypoints = built_in_people()[number]
    return _transfer("drawn").fit(Posed(read_image(path), keypoints))


@cache
def _explained(name: str, number: int, pose: str) -> Explained:
    return _transfer(name).explain(_person(number), library_pose(pose, 128, 64))


def _skeleton(pose: str) -> Picture:
    return draw_skeleton(library_pose(pose, 128, 64), 128, 64)


def _batch(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]


def _at_left(joint: str) -> bool:
    return joint.startswith("right") or joint == "nose"


def _written(command: str, *options: str) -> PIL.Image.Image:
    """What a command of posegan writes for the first built-in person, with the default run's generator."""
    person, out = built_in_people()[0][0], IMAGES / f".{command}.png"
    line = [sys.executable, "-m", "posegan", command, str(person), *options, "--out", str(out), "--model", str(RUN[0])]
    subprocess.run(line, check=True)
    with PIL.Image.open(out) as image:
        image.load()
    out.unlink()
    return image


if __name__ == "__main__":
    main(sys.argv[1:])
