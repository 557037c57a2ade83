import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.drawing.picture import draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import draw_camera
from posegan.images import (
    Fit,
    ImageError,
    decode_image,
    decode_photo,
    eight_bits,
    encode_jpeg,
    fit_image,
    fit_keypoints,
    fit_person,
    padded_share,
    person_frame,
)
from posegan.pictures import draw_skeleton, image_grid
from posegan.skeleton import LEFT_HIP, TORSO

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 12, 3), dtype=np.uint8)


def unfitted(keypoints: np.ndarray, fit: Fit) -> np.ndarray:
    """Where fitted keypoints were in the original image."""
    moved = keypoints.copy()
    moved[..., :2] = (moved[..., :2] - (fit.left, fit.top)) / fit.scale
    moved[moved[..., 2] <= 0] = 0
    return moved


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_a_lossless_image_survives_the_round_trip() -> None:
    assert np.array_equal(np.asarray(decode_image(encoded(Image.fromarray(PIXELS)))), PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_same_upright_image(orientation: int) -> None:
    upright = Image.fromarray(PIXELS)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition whose inverse the tag asks for
    stored = upright.transpose(Image.Transpose(turn[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(decode_image(encoded(stored, exif=exif))), PIXELS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_image(encoded(Image.fromarray(PIXELS).convert(mode), form)).mode == "RGB"


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.array([[0, 256 * 100, 65535]], dtype=np.uint16))
    assert np.asarray(decode_image(encoded(grey)))[0, :, 0].tolist() == [0, 100, 255]


def test_what_is_transparent_becomes_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert np.asarray(decode_image(encoded(clear))).min() == 255


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"hello, this is text", encoded(Image.fromarray(PIXELS), "GIF")])
def test_what_is_no_image_of_ours_is_unreadable(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_cut_or_damaged_file_never_raises_anything_else(form: str) -> None:
    data = encoded(Image.fromarray(PIXELS), form)
    refused = 0
    for trial in range(150):
        broken = bytearray(data[: RNG.integers(1, len(data))]) if trial % 2 else bytearray(data)
        for _ in range(3):
            broken[RNG.integers(len(broken))] ^= 1 << RNG.integers(8)
        try:
            decode_image(bytes(broken))
        except ImageError:
            refused += 1
    assert refused > 50


def test_the_pixel_cap_holds_before_decoding() -> None:
    assert decode_image(encoded(Image.fromarray(PIXELS)), max_pixels=24 * 12).size == (12, 24)
    with pytest.raises(ImageError, match="12 x 24 pixels") as caught:
        decode_image(encoded(Image.fromarray(PIXELS)), max_pixels=24 * 12 - 1)
    assert caught.value.reason == "too_large"


def test_a_small_file_that_claims_a_gigapixel_is_too_large() -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(encoded(Image.new("1", (12_000, 8_000))))
    assert caught.value.reason == "too_large"


def test_an_image_of_the_right_size_is_left_alone() -> None:
    pixels, fit = fit_image(Image.fromarray(PIXELS), 24, 12)
    assert np.array_equal(pixels, PIXELS)
    assert fit == Fit(1.0, 0.0, 0.0)


@pytest.mark.parametrize("size", [(37, 80), (300, 200), (64, 128), (7, 5), (1, 300)])
def test_unfit_undoes_fit(size: tuple[int, int]) -> None:
    width, height = size
    _, fit = fit_image(Image.new("RGB", size), 128, 64)
    keypoints = RNG.uniform(0.1, 1, (4, 18, 3)).astype(np.float32) * np.array([width, height, 1], np.float32)
    assert np.allclose(unfitted(fit_keypoints(keypoints, fit), fit), keypoints, atol=1e-3)


@pytest.mark.parametrize("size", [(100, 140), (33, 100), (90, 90), (40, 61)])
def test_pixels_and_keypoints_move_together(size: tuple[int, int]) -> None:
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    blob = 255 * np.exp(-((x - 0.4 * width) ** 2 + (y - 0.6 * height) ** 2) / (2 * 2.5**2))
    pixels, fit = fit_image(Image.fromarray(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)), 128, 64)
    weight = np.clip(pixels[..., 0].astype(float) - 8, 0, None)
    fitted_x, fitted_y = np.meshgrid(np.arange(64), np.arange(128))
    centre = [(weight * fitted_x).sum() / weight.sum(), (weight * fitted_y).sum() / weight.sum()]
    expected = fit_keypoints(np.array([[0.4 * width, 0.6 * height, 1]], np.float32), fit)[0, :2]
    assert np.allclose(centre, expected, atol=0.1)


def standing(x: float, y: float, height: float) -> np.ndarray:
    """Joints of somebody `height` pixels tall whose torso's middle is at x, y: the torso, the nose and the ankles."""
    places = {0: (0, -0.3), 2: (-0.1, -0.14), 5: (0.1, -0.14), 8: (-0.07, 0.14), 11: (0.07, 0.14), 10: (-0.06, 0.56), 13: (0.06, 0.56)}
    keypoints = np.zeros((18, 3), np.float32)
    for joint, (right, down) in places.items():
        keypoints[joint] = (x + right * height, y + down * height, 0.9)
    return keypoints


@pytest.mark.parametrize("target", [(128, 64), (256, 176), (256, 256)])
@pytest.mark.parametrize(
    ("width", "height", "x", "y"), [(900, 600, 450, 280), (900, 600, 60, 100), (600, 900, 560, 800), (400, 400, 200, 200)]
)
def test_the_frame_holds_the_person_in_the_asked_shape(target: tuple[int, int], width: int, height: int, x: int, y: int) -> None:
    keypoints = standing(x, y, 180)
    left, top, right, bottom = person_frame(keypoints, (width, height), target[1] / target[0])
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    shown = keypoints[keypoints[:, 2] > 0]
    inside = (shown[:, 0] > 0) & (shown[:, 0] < width - 1) & (shown[:, 1] > 0) & (shown[:, 1] < height - 1)
    assert ((shown[:, 0] >= left) & (shown[:, 0] < right) & (shown[:, 1] >= top) & (shown[:, 1] < bottom))[inside].all()
    assert (right - left) / (bottom - top) == pytest.approx(target[1] / target[0], abs=0.02)
    assert 180 < bottom - top < 360
    pixels, fit = fit_person(Image.new("RGB", (width, height)), keypoints, *target)
    assert pixels.shape == (*target, 3)
    assert np.allclose(unfitted(fit_keypoints(keypoints, fit), fit), keypoints, atol=1e-2)


def test_a_person_that_fills_the_image_is_not_cut_and_a_missing_torso_joint_cuts_nothing() -> None:
    assert person_frame(standing(32, 52, 115), (64, 128), 1.0) == (0, 0, 64, 128)
    keypoints = standing(450, 280, 180)
    keypoints[LEFT_HIP] = 0
    assert person_frame(keypoints, (900, 600), 1.0) == (0, 0, 900, 600)


def test_the_frame_does_not_need_legs_that_were_not_found() -> None:
    keypoints = standing(450, 280, 180)
    without = keypoints.copy()
    without[[10, 13]] = 0
    assert person_frame(without, (900, 600), 1.0)[3] >= keypoints[[10, 13], 1].max()


def test_pixels_and_keypoints_move_together_into_the_frame() -> None:
    keypoints = standing(300, 200, 150)
    x, y = np.meshgrid(np.arange(640), np.arange(400))
    for joint in TORSO:
        blob = 255 * np.exp(-((x - keypoints[joint, 0]) ** 2 + (y - keypoints[joint, 1]) ** 2) / (2 * 3**2))
        pixels, fit = fit_person(Image.fromarray(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)), keypoints, 256, 176)
        weight = np.clip(pixels[..., 0].astype(float) - 8, 0, None)
        fitted_x, fitted_y = np.meshgrid(np.arange(176), np.arange(256))
        centre = [(weight * fitted_x).sum() / weight.sum(), (weight * fitted_y).sum() / weight.sum()]
        assert np.allclose(centre, fit_keypoints(keypoints, fit)[joint, :2], atol=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_joints_of_a_drawn_crop_at_twice_its_size_map_back_onto_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera = draw_camera(rng)
    (drawing,) = draw_people(rng, [(draw_identity(rng), rng.uniform(0, 6), draw_placement(rng, camera.pitch))], camera)
    joints = drawing.joints * (drawing.joints[:, 2:] > 0)
    doubled = joints.copy()
    doubled[:, :2] = (2 * joints[:, :2] + 0.5) * (joints[:, 2:] > 0)
    small = decode_image(drawing.jpeg)
    pixels, fit = fit_person(small.resize((128, 256), Image.Resampling.BICUBIC), doubled, 128, 64)
    assert np.allclose(fit_keypoints(doubled, fit), joints, atol=1e-4)
    assert np.abs(pixels.astype(int) - np.asarray(small)).mean() < 4


def test_an_image_of_the_right_size_keeps_its_pixels_wherever_its_person_is() -> None:
    pixels, fit = fit_person(Image.fromarray(PIXELS), standing(3, 3, 5), 24, 12)
    assert np.array_equal(pixels, PIXELS)
    assert fit == Fit(1.0, 0.0, 0.0)


def test_the_jpeg_of_a_fitted_image_shows_no_loss() -> None:
    smooth = np.asarray(Image.fromarray(PIXELS).resize((48, 96), Image.Resampling.BICUBIC))
    decoded = np.asarray(decode_image(encode_jpeg(smooth)), int)
    assert decoded.shape == smooth.shape
    assert np.abs(decoded - smooth.astype(int)).mean() < 2.5


def test_a_missing_joint_stays_all_zero() -> None:
    assert not fit_keypoints(np.zeros((18, 3), np.float32), Fit(2.0, 5.0, 5.0)).any()


def test_edges_are_repeated_outwards() -> None:
    pixels, _ = fit_image(Image.fromarray(PIXELS[:12]), 24, 12)
    assert np.array_equal(pixels[6:18], PIXELS[:12])
    assert (pixels[:6] == PIXELS[0]).all()
    assert (pixels[18:] == PIXELS[11]).all()


def test_a_bone_is_drawn_only_between_two_joints_that_are_there() -> None:
    keypoints = np.zeros((18, 3), np.float32)
    nothing = draw_skeleton(keypoints, 64, 32)
    assert len(np.unique(nothing.reshape(-1, 3), axis=0)) == 1
    keypoints[2] = (4, 10, 1)
    one = draw_skeleton(keypoints, 64, 32)
    assert (one != nothing).any(axis=2)[30].sum() == 0
    keypoints[3] = (4, 50, 1)
    assert (draw_skeleton(keypoints, 64, 32) != nothing).any(axis=2)[30].sum() > 0


def test_a_grid_shows_every_image_once_in_its_place() -> None:
    tiles = [[np.full((4, 3, 3), 10 * (3 * row + column), np.uint8) for column in range(3)] for row in range(2)]
    grid = np.asarray(image_grid(tiles, ["a", "b", "c"], scale=2))
    for row in range(2):
        for column in range(3):
            value = 10 * (3 * row + column)
            assert (grid[20 + row * 12 : 28 + row * 12, 4 + column * 10 : 10 + column * 10] == value).all()
    assert image_grid([[np.zeros((255, 3, 3), np.uint8)]]).height == 2 * 255 + 8
    assert image_grid([[np.zeros((256, 3, 3), np.uint8)]]).height == 256 + 8
    with pytest.raises(ValueError, match="one shape"):
        image_grid([[PIXELS, PIXELS[:4]]])


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 255), (np.uint16, 4095), (np.uint16, 65535), (np.int32, 255)])
def test_whole_numbers_of_any_depth_become_eight_bits(dtype: type, largest: int) -> None:
    ramp = np.linspace(0, largest, 256).round().astype(dtype)
    assert np.abs(eight_bits(ramp).astype(int) - np.arange(256)).max() <= 1
    assert eight_bits(ramp).max() == 255


def test_floats_up_to_one_span_the_range_and_what_is_no_picture_is_refused() -> None:
    assert eight_bits(np.float32([-0.01, 0, 0.5, 1, 1.01])).tolist() == [0, 0, 128, 255, 255]
    assert eight_bits(np.float32([0, 128, 255])).tolist() == [0, 128, 255]
    assert eight_bits(np.zeros((0, 4), np.float32)).shape == (0, 4)
    for values in ([0, np.nan], [0, np.inf], [0, 1e20]):
        with pytest.raises(ImageError, match="save it with 8 bits"):
            eight_bits(np.float64(values))


def test_twelve_bits_in_colours_of_sixteen_are_refused_and_not_black() -> None:
    """Pillow keeps the upper byte of each colour, which then holds four bits."""
    rows = b"".join(b"\0" + struct.pack(">12H", *[value] * 12) for value in (0, 1000, 2000, 4095))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="use 12 or fewer"):
        decode_image(data)


def test_heic_says_what_to_do() -> None:
    with pytest.raises(ImageError, match="convert it to JPEG"):
        decode_photo(b"\0\0\0\x18ftypheic" + bytes(50))


@pytest.mark.parametrize("size", [(64, 128), (300, 600), (600, 300), (200, 200), (48, 7)])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 176), (256, 128), (128, 64)])
def test_the_padded_share_is_what_was_padded(size: tuple[int, int], height: int, width: int) -> None:
    nobody = np.zeros((18, 3), np.float32)
    _, fit = fit_person(Image.new("RGB", size), nobody, height, width)
    inner = int(size[0] * fit.scale + 1e-6) * int(size[1] * fit.scale + 1e-6) if size != (width, height) else height * width
    assert padded_share(size, nobody, height, width) == pytest.approx(1 - inner / (height * width))
