"""The page in a real browser: the whole way by clicks, at a laptop's and at a phone's width."""

import json
import os
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from posegan.demo.limits import RateLimit
from posegan.demo.server import open_server
from posegan.demo.studio import Studio
from posegan.inference.transfer import PoseTransfer
from tests.support.use_fixtures import drawn_person, write_model

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra posegan[dev]")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver (apt-get install chromium chromium-driver)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium leaves its own sockets to the collector
]
SECONDS = 300
LAPTOP, PHONE = (1366, 768), (390, 844)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_model(tmp_path_factory.mktemp("model") / "g.safetensors")
    studio = Studio(PoseTransfer(model, "cpu"), PoseTransfer("drawn", "cpu"))
    server = open_server(studio, "127.0.0.1", 0, RateLimit(1000, 1000))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    drawn_person(3).resize((128, 256)).save(folder / "person.png")
    PIL.Image.new("RGB", (64, 128)).save(folder / "black.png")
    (folder / "letter.png").write_text("dear")
    (folder / "large.png").write_bytes(os.urandom(1 << 20) * 13)
    return folder


@pytest.fixture(scope="module", params=[LAPTOP, PHONE], ids=["laptop", "phone"])
def page(request: pytest.FixtureRequest, address: str) -> Iterator["Page"]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    width, height = request.param
    # By mouse on a phone as well: on a busy machine a tap is long, and a long one is no click.
    metrics = {"width": width, "height": height, "pixelRatio": 1.0, "mobile": request.param == PHONE, "touch": False}
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get(address)
    yield Page(driver, (width, height))
    driver.quit()


class Page:
    """The page, in words of its user."""

    def __init__(self, driver: Any, size: tuple[int, int]) -> None:
        self.driver, self.size = driver, size

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def until(self, condition: Any) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, SECONDS).until(lambda _: condition())

    def into_sight(self, selector: str) -> Any:
        element = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    def click(self, selector: str) -> None:
        self.into_sight(selector).click()

    def tile(self, name: str) -> Any:
        [found] = [tile for tile in self.driver.find_elements("css selector", "button.tile") if tile.text.splitlines()[-1] == name]
        return found

    def choose(self, name: str) -> None:
        """Click the tile of this name."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.tile(name))
        self.tile(name).click()

    def chosen(self) -> list[str]:
        return [tile.text.splitlines()[-1] for tile in self.driver.find_elements("css selector", 'button.tile[aria-pressed="true"]')]

    def text(self, name: str) -> str:
        return str(self.one(f"#{name}").text)

    def result(self) -> str:
        return str(self.one("#result").get_attribute("src") or "")

    def changed(self, before: str) -> str:
        """The drawing, once it is another one and nothing is asked any more."""
        self.until(lambda: self.result() != before and self.text("status").startswith("Drawn in"))
        return self.result()

    def pixels(self, name: str) -> list[int]:
        """What is on a canvas: RGBA, row by row."""
        script = (
            "const c = document.getElementById(arguments[0]); return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        return list(self.driver.execute_script(script, name))

    def drag(self, selector: str, start: tuple[float, float], by: tuple[int, int]) -> None:
        """Drag on a canvas from a place, in shares of its width and height, by so many pixels."""
        from selenium.webdriver.common.action_chains import ActionChains

        box = self.into_sight(selector).rect
        x, y = ((share - 0.5) * side for share, side in zip(start, (box["width"], box["height"]), strict=True))
        mouse = ActionChains(self.driver).move_to_element_with_offset(self.one(selector), round(x), round(y)).click_and_hold()
        mouse.move_by_offset(*by).release().perform()


@pytest.fixture
def opened(page: Page) -> Page:
    """The page just opened, its first drawing made."""
    page.driver.get_log("browser")
    page.driver.refresh()
    page.until(lambda: page.text("status").startswith("Drawn in"))
    return page


def place(address: str, posture: str, joint: str) -> tuple[float, float]:
    """Where a joint of a built-in pose is on a canvas that shows it, in shares of its sides."""
    with urllib.request.urlopen(address + "state") as answer:
        about = json.load(answer)
    x, y, _ = about["poses"][posture][about["joints"].index(joint)]
    return (x + 0.5) / about["width"], (y + 0.5) / about["height"]


def test_it_opens_with_a_drawing_and_a_walk_that_plays(opened: Page) -> None:
    assert opened.chosen() == ["drawn 3", "walking 3"]
    assert opened.text("side-name") == "front left"
    assert opened.one("#download").get_attribute("href") == opened.result()
    assert opened.text("origin").startswith("The generator drawn: comes with posegan, trained on")
    opened.until(lambda: opened.text("walk-status").startswith("16 pictures"))
    assert opened.text("play") == "pause"
    shown = opened.pixels("walking")
    opened.until(lambda: opened.pixels("walking") != shown)
    opened.click("#play")
    shown = opened.pixels("walking")
    time.sleep(0.5)
    assert opened.pixels("walking") == shown


def test_what_is_copied_and_what_is_invented_is_shown(opened: Page) -> None:
    shares = re.fullmatch(r"Here (\d+) % of the person and (\d+) % of the ground are copied\.", opened.text("shares"))
    assert shares and 0 < int(shares[2]) < int(shares[1]) < 100
    script = "return ['warped', 'copied', 'invented', 'result'].map((id) => document.getElementById(id).naturalHeight)"
    assert opened.driver.execute_script(script) == [128] * 4
    mask = opened.pixels("mask")
    copied, invented = (20, 163, 139), (240, 138, 36)
    mean = sum(mask[::4]) / (len(mask) // 4)  # red, which lies between those of the two colours
    assert copied[0] < mean < invented[0]


def test_poses_fill_their_frames_under_names(opened: Page) -> None:
    script = """return [...document.querySelectorAll('#poses button.tile canvas')].map((canvas) => {
        const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const lit = [...Array(width * height).keys()].filter((i) => Math.max(data[4 * i], data[4 * i + 1], data[4 * i + 2]) > 90);
        const rows = lit.map((i) => Math.floor(i / width)), columns = lit.map((i) => i % width);
        const span = (values) => Math.max(...values) - Math.min(...values) + 1;
        return [span(columns) / width, span(rows) / height, canvas.parentElement.textContent];
    })"""
    tiles = opened.driver.execute_script(script)
    assert len(tiles) == 12
    assert all(max(across, down) > 0.85 for across, down, _ in tiles)
    assert [name for *_, name in tiles][:5] == ["standing", "sitting", "waving", "arms raised", "walking 1"]


def test_choose_a_person_a_pose_and_a_side(opened: Page) -> None:
    first = opened.result()
    opened.choose("drawn 2")
    second = opened.changed(first)
    opened.choose("sitting")
    third = opened.changed(second)
    assert opened.chosen() == ["drawn 2", "sitting"]
    from selenium.webdriver.common.keys import Keys

    opened.into_sight("#side").send_keys(Keys.ARROW_RIGHT)
    fourth = opened.changed(third)
    assert (opened.text("side-name"), opened.chosen()) == ("front", ["drawn 2", "sitting"])
    assert opened.one("#download").get_attribute("href") == fourth


def test_each_generator_is_chosen_for_its_people_and_can_be_exchanged(opened: Page, files: Path) -> None:
    from selenium.webdriver.support.ui import Select

    names = [option.text for option in Select(opened.one("#generator")).options]
    assert names[0] == "drawn"
    by_first = opened.result()
    Select(opened.one("#generator")).select_by_index(1)
    opened.changed(by_first)
    opened.choose("drawn 3")
    opened.until(lambda: opened.result() == by_first)
    opened.one("#person-file").send_keys(str(files / "person.png"))
    opened.changed(by_first)
    assert opened.one("#generator").get_attribute("value") == names[1]


def test_a_photo_is_looked_at_and_its_joints_are_corrected(opened: Page, files: Path) -> None:
    before = opened.result()
    opened.one("#person-file").send_keys(str(files / "person.png"))
    own = opened.changed(before)
    found = opened.text("found")
    assert found.startswith(
        "The detector is yolov8n-pose-people.pt, which comes with PoseGAN, for small crops of people. It found a person"
    )
    assert re.search(r"confidence 0\.\d+\) with \d+ of 18 joints", found)
    opened.click("#correct")
    opened.until(lambda: opened.one("#editor").is_displayed())
    for _ in range(3):
        opened.one("#editor-canvas").send_keys("]")
    assert opened.text("editor-joint") == "right shoulder"
    from selenium.webdriver.common.keys import Keys

    opened.one("#editor-canvas").send_keys(Keys.ARROW_UP * 12)
    opened.click("#editor-done")
    opened.changed(own)
    assert opened.text("found") == "The joints as you corrected them."
    assert not opened.one("#editor").is_displayed()


def test_a_joint_can_be_hidden_and_put_back(opened: Page) -> None:
    opened.click("#bend")
    opened.until(lambda: opened.one("#editor").is_displayed())
    missing = opened.driver.find_elements("css selector", "#editor-missing button")
    opened.one("#editor-canvas").send_keys("]")
    name = opened.text("editor-joint")
    opened.one("#editor-hide").click()
    hidden = [button.text for button in opened.driver.find_elements("css selector", "#editor-missing button")]
    assert len(hidden) == len(missing) + 1
    opened.driver.find_elements("css selector", "#editor-missing button")[hidden.index(name)].click()
    assert opened.text("editor-joint") == f"Press where the {name} is."
    opened.drag("#editor-canvas", (0.5, 0.1), (0, 0))
    assert opened.text("editor-joint") == name
    assert len(opened.driver.find_elements("css selector", "#editor-missing button")) == len(missing)
    before, chosen = opened.result(), opened.chosen()
    opened.click("#editor-cancel")
    assert (opened.result(), opened.chosen()) == (before, chosen)


def test_the_pose_of_a_photo(opened: Page, files: Path) -> None:
    before = opened.result()
    opened.one("#pose-file").send_keys(str(files / "person.png"))
    opened.changed(before)
    assert opened.chosen() == ["drawn 3", "by hand"]


def test_drag_a_joint(opened: Page, address: str) -> None:
    before, shown = opened.result(), opened.pixels("pose")
    ankle = place(address, "walking-3/front-left", "left ankle")
    opened.drag("#pose", (0.05, 0.05), (10, 10))  # where no joint is
    assert opened.pixels("pose") == shown
    opened.drag("#pose", ankle, (-15, -30))
    bent = opened.changed(before)
    assert opened.pixels("pose") != shown
    assert opened.chosen() == ["drawn 3", "by hand"]
    opened.click("#bend")
    opened.until(lambda: opened.one("#editor").is_displayed())
    opened.drag("#editor-canvas", place(address, "walking-3/front-left", "right ankle"), (15, -30))
    opened.click("#editor-done")
    opened.changed(bent)


@pytest.mark.parametrize(("kind", "moves"), [("touch", False), ("pen", True)])
def test_a_finger_on_the_small_pose_scrolls_the_page(opened: Page, address: str, kind: str, moves: bool) -> None:
    script = """
        const [x, y, pointerType] = arguments, canvas = document.getElementById('pose'), box = canvas.getBoundingClientRect();
        canvas.setPointerCapture = () => {};  // of a pointer that is none
        for (const [type, by] of [['pointerdown', 0], ['pointermove', -10], ['pointerup', -10]])
            canvas.dispatchEvent(new PointerEvent(type, {
                pointerType, clientX: box.left + x * box.width + by, clientY: box.top + y * box.height + by
            }));
    """
    shown = opened.pixels("pose")
    opened.driver.execute_script(script, *place(address, "walking-3/front-left", "left ankle"), kind)
    assert (opened.pixels("pose") != shown) is moves


@pytest.mark.parametrize(
    ("name", "expected"),
    [("letter.png", "not a JPEG, PNG, WebP or BMP image"), ("black.png", "no person found"), ("large.png", "larger than 12 MB")],
)
def test_wrong_uploads_are_answered_and_the_page_goes_on(opened: Page, files: Path, name: str, expected: str) -> None:
    before = opened.result()
    opened.one("#person-file").send_keys(str(files / name))
    opened.until(lambda: expected in opened.text("status"))
    assert "error" in opened.one("#status").get_attribute("class")
    assert opened.result() == before
    opened.choose("arms raised")
    opened.changed(before)


def test_two_columns_on_a_laptop_and_one_on_a_phone_without_empty_halves(opened: Page) -> None:
    opened.until(lambda: opened.text("walk-status").startswith("16 pictures"))
    script = (
        "return ['person', 'posture', 'stage', 'walk', 'how'].map((id) => document.getElementById(id).getBoundingClientRect().toJSON())"
    )
    person, posture, stage, walk, how = opened.driver.execute_script(script)
    if opened.size == LAPTOP:
        assert posture["right"] < stage["left"] < walk["left"]
        assert abs(posture["bottom"] - how["bottom"]) < 2  # two columns of one height
        contents = opened.driver.execute_script("return document.querySelector('#poses').getBoundingClientRect().bottom")
        assert posture["bottom"] - contents < 0.1 * posture["bottom"]
        assert stage["bottom"] < opened.size[1]  # person, drawing and walk are seen without scrolling
    else:
        assert len({round(each["left"]) for each in (person, posture, stage, walk, how)}) == 1
        opened.into_sight("#poses")
        sight = opened.driver.execute_script("return document.querySelector('#result').getBoundingClientRect().toJSON()")
        assert sight["top"] >= 0 and sight["bottom"] < opened.size[1]  # the drawing stays in sight while a pose is chosen


def test_nothing_is_wider_than_the_window_and_nothing_comes_from_elsewhere_or_fails(opened: Page, address: str) -> None:
    # Not of the window's inner width: a phone's grows with what is too wide.
    assert opened.driver.execute_script("return document.scrollingElement.scrollWidth") <= opened.size[0]
    names = opened.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(names) > 8
    assert all(name.startswith((address, "data:")) for name in names)
    assert opened.driver.get_log("browser") == []


def test_the_page_says_when_the_program_has_ended(opened: Page) -> None:
    opened.driver.set_network_conditions(offline=True, latency=0, throughput=0)
    try:
        opened.choose("waving")
        opened.until(lambda: opened.text("status") == "The program does not answer; is posegan demo still running?")
    finally:
        opened.driver.delete_network_conditions()
