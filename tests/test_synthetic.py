"""The drawn sample: its bytes are a function of its parameters, and its table knows where the joints are."""

import io
import math
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.download.sample import CAMERAS, EXACT_TABLE, write_sample
from pipeline.drawing.figure import FOREGROUND, Placement, extent, joint_visibility, paint_figure, place_figure
from pipeline.drawing.scene import draw_camera, expose
from pipeline.drawing.wardrobe import draw_outfit
from pipeline.raw_archive import parse_name
from posegan.config import SampleConfig
from posegan.errors import PoseGANError
from posegan.images import decode_image
from posegan.people.body import draw_build, draw_posture, pose_body, view
from posegan.skeleton import JOINTS, LEFT_SHOULDER, MIRROR, NOSE, RIGHT_SHOULDER

CONFIG = SampleConfig(train_identities=4, test_identities=2, images_per_identity=4, distractors=4, broken_files=3, seed=5)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "raw.zip"
    counts = write_sample(path, CONFIG, progress=False)
    return path, counts


def test_the_same_parameters_give_the_same_bytes(sample, tmp_path):
    write_sample(tmp_path / "again.zip", CONFIG, progress=False)
    write_sample(tmp_path / "other.zip", CONFIG.model_copy(update={"seed": 6}), progress=False)
    assert (tmp_path / "again.zip").read_bytes() == sample[0].read_bytes()
    assert (tmp_path / "other.zip").read_bytes() != sample[0].read_bytes()


def test_identities_of_train_and_test_are_disjoint_and_names_are_in_the_grammar(sample):
    identities: dict[str, set[int]] = {}
    for member in zipfile.ZipFile(sample[0]).namelist():
        if member != EXACT_TABLE:
            folder, name = member.split("/")
            parsed = parse_name(name)
            assert parsed is not None, member
            assert 1 <= parsed.camera <= CAMERAS
            identities.setdefault(folder, set()).add(parsed.identity)
    assert identities["bounding_box_train"] == {1, 2, 3, 4}
    assert identities["bounding_box_test"] == {-1, 0, 5, 6}
    assert identities["query"] == {5, 6}


def test_counts_add_up_and_the_broken_files_are_broken(sample):
    archive, counts = zipfile.ZipFile(sample[0]), sample[1]
    members = [name for name in archive.namelist() if name != EXACT_TABLE]
    assert sum(counts.values()) == len(members)
    refused = 0
    for member in members:
        try:
            assert decode_image(archive.read(member)).size == (64, 128)
        except PoseGANError:
            refused += 1
    assert refused == counts["broken"] == 3


def test_the_exact_table_has_a_row_for_every_drawn_person(sample):
    archive = zipfile.ZipFile(sample[0])
    table = pq.read_table(io.BytesIO(archive.read(EXACT_TABLE))).to_pandas()
    assert len(table) == sample[1]["train"] + sample[1]["test"] + sample[1]["query"]
    assert set(table.image) <= set(archive.namelist())
    for name in JOINTS:
        seen = table[table[f"{name}_visibility"] > 0]
        assert seen[f"{name}_x"].between(-1, 64).all()
        assert seen[f"{name}_y"].between(-1, 128).all()
        assert table[table[f"{name}_visibility"] == 0][f"{name}_x"].isna().all()


def figure_at(yaw: float, seed: int = 3):
    rng = np.random.default_rng(seed)
    build, outfit, posture = draw_build(rng), draw_outfit(rng), draw_posture(rng, yaw)._replace(head_yaw=0.0)
    canvas, owners = np.full((256, 128, 3), 90, np.float32), np.zeros((256, 128), np.uint8)
    figure = place_figure(build, posture, outfit, Placement(110, 31.5, 122, 0.1))
    paint_figure(canvas, owners, figure)
    return figure, canvas, owners


def test_a_face_is_seen_from_the_front_and_not_from_behind():
    front, _, front_owners = figure_at(0.0)
    back, _, back_owners = figure_at(math.pi)
    assert joint_visibility(front, front_owners)[NOSE] == 2
    assert joint_visibility(back, back_owners)[NOSE] == 0


def test_left_is_on_the_right_of_somebody_who_faces_us():
    front, back = figure_at(0.0)[0], figure_at(math.pi)[0]
    assert front.joints[LEFT_SHOULDER, 0] > front.joints[RIGHT_SHOULDER, 0]
    assert back.joints[LEFT_SHOULDER, 0] < back.joints[RIGHT_SHOULDER, 0]


def test_what_stands_in_front_hides_the_joints():
    figure, _, owners = figure_at(0.0)
    before = joint_visibility(figure, owners)
    owners[:] = FOREGROUND
    after = joint_visibility(figure, owners)
    assert (before == 2).sum() > 10
    assert (after[before == 2] == 1).all()


def test_the_extent_holds_the_seen_joints():
    figure, _, owners = figure_at(0.7)
    left, top, right, bottom = extent(figure, owners)
    seen = figure.joints[joint_visibility(figure, owners) == 2]
    assert (seen[:, 0] >= left - 1).all() and (seen[:, 0] <= right + 1).all()
    assert (seen[:, 1] >= top - 1).all() and (seen[:, 1] <= bottom + 1).all()


def test_turning_the_camera_keeps_lengths():
    rng = np.random.default_rng(0)
    body = pose_body(draw_build(rng), draw_posture(rng, 0.0))
    thigh = body.knees[0] - body.hips[0]
    for yaw in np.linspace(0, 6, 7):
        seen = view(body.knees[0], yaw, 0.2) - view(body.hips[0], yaw, 0.2)
        assert np.linalg.norm(seen) == pytest.approx(np.linalg.norm(thigh))


def test_mirror_is_its_own_inverse():
    assert [MIRROR[MIRROR[joint]] for joint in range(len(JOINTS))] == list(range(len(JOINTS)))


def test_a_camera_stores_jpegs_of_half_the_canvas():
    rng = np.random.default_rng(1)
    jpeg = expose(draw_camera(rng), np.full((256, 128, 3), 120, np.float32), rng)
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.size) == ("JPEG", (64, 128))
