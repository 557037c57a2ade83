"""The page in a real browser: the whole way by clicks, at a desktop's and at a phone's width."""

import os
import shutil
import threading
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
SECONDS = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_model(tmp_path_factory.mktemp("model") / "g.safetensors")
    server = open_server(Studio(PoseTransfer(model, "cpu")), "127.0.0.1", 0, RateLimit(1000, 1000))
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


@pytest.fixture(scope="module", params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, address: str) -> Iterator["Page"]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    width, height = request.param
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1.0}})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get(address)
    yield Page(driver)
    driver.quit()


class Page:
    """The page, in words of its user."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def until(self, condition: Any) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, SECONDS).until(lambda _: condition())

    def click(self, selector: str) -> None:
        element = self.until(lambda: self.one(selector))
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def status(self) -> str:
        return str(self.one("#status").text)

    def result(self) -> str:
        return str(self.one("#result").get_attribute("src") or "")

    def changed(self, before: str) -> str:
        """The drawing, once it is another one."""
        self.until(lambda: self.result() != before and self.status().startswith("Drawn in"))
        return self.result()


def picked(page: Page) -> str:
    """The drawing after a person and a pose were picked."""
    page.driver.refresh()
    page.until(lambda: page.status() == "Pick a person.")
    page.click("#people button:nth-child(2)")
    return page.changed("")


def test_pick_a_person_and_a_pose(page: Page) -> None:
    first = picked(page)
    page.click('#poses button[aria-label="sitting/front"]')
    second = page.changed(first)
    assert page.one('#poses button[aria-label="sitting/front"]').get_attribute("aria-pressed") == "true"
    from selenium.webdriver.support.ui import Select

    Select(page.one("#side")).select_by_value("left")
    page.click('#poses button[aria-label="walking-3/left"]')
    third = page.changed(second)
    assert page.one("#download").get_attribute("href") == third
    assert page.one("#download").is_displayed()
    sizes = page.driver.execute_script("return ['source', 'warped', 'result'].map((id) => document.getElementById(id).naturalHeight)")
    assert sizes == [128, 128, 128]


def test_own_photo_and_a_photo_s_pose(page: Page, files: Path) -> None:
    before = picked(page)
    page.one("#person-file").send_keys(str(files / "person.png"))
    own = page.changed(before)
    page.one("#pose-file").send_keys(str(files / "person.png"))
    page.changed(own)


def test_drag_a_joint(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    before = picked(page)
    canvas = page.one("#skeleton")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    box = canvas.rect
    wrist = page.driver.execute_script("return state.target[4]")
    x, y = (wrist[0] + 0.5) / 64 * box["width"] - box["width"] / 2, (wrist[1] + 0.5) / 128 * box["height"] - box["height"] / 2
    drag = ActionChains(page.driver).move_to_element_with_offset(canvas, round(x), round(y)).click_and_hold()
    drag.move_by_offset(-30, -60).release().perform()
    page.changed(before)
    moved = page.driver.execute_script("return state.target[4]")
    assert moved[1] < wrist[1] - 5
    # A press where no joint is moves nothing.
    page.driver.execute_script("window.kept = JSON.stringify(state.target)")
    ActionChains(page.driver).move_to_element_with_offset(canvas, 5 - int(box["width"] / 2), 5 - int(box["height"] / 2)).click().perform()
    assert page.driver.execute_script("return window.kept === JSON.stringify(state.target)")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("letter.png", "not a JPEG, PNG, WebP or BMP image"), ("black.png", "no person found"), ("large.png", "larger than 12 MB")],
)
def test_wrong_uploads_are_answered_and_the_page_goes_on(page: Page, files: Path, name: str, expected: str) -> None:
    before = picked(page)
    page.one("#person-file").send_keys(str(files / name))
    page.until(lambda: expected in page.status())
    assert "error" in page.one("#status").get_attribute("class")
    assert page.result() == before
    page.click('#poses button[aria-label="arms-raised/front"]')
    page.changed(before)


def test_nothing_is_wider_than_the_window_and_nothing_comes_from_elsewhere(page: Page, address: str) -> None:
    picked(page)
    assert page.driver.execute_script("return document.scrollingElement.scrollWidth <= window.innerWidth")
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names
    assert all(name.startswith((address, "data:")) for name in names)
    severe = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE" and "422" not in entry["message"]]
    assert severe == []
