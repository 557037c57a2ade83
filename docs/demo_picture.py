"""Photograph the page of `posegan demo` as it opens: `python docs/demo_picture.py`; needs chromium and chromedriver."""

import base64
import io
import shutil
import threading
from pathlib import Path

import PIL.Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from posegan.demo.server import open_server
from posegan.demo.studio import Studio
from posegan.inference.shipped import DEFAULT, FOR_DRAWN
from posegan.inference.transfer import PoseTransfer

OUT = Path(__file__).parent / "images" / "demo.jpg"
WIDTH, HEIGHT = 1366, 1000
SECONDS = 300


def main() -> None:
    """Write docs/images/demo.jpg: the whole page on a laptop, with its first person, pose, drawing and walk."""
    server = open_server(Studio(PoseTransfer(DEFAULT, "cpu"), PoseTransfer(FOR_DRAWN, "cpu")), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        )
        driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        for name, words in (("status", "Drawn in"), ("walk-status", "16 pictures")):
            WebDriverWait(driver, SECONDS).until(lambda _, n=name, w=words: driver.find_element(By.ID, n).text.startswith(w))  # type: ignore[misc]
        driver.execute_script("document.getElementById('status').textContent = 'Drawn.'")  # not in how many ms, which is of this machine
        whole = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    with PIL.Image.open(io.BytesIO(base64.b64decode(whole["data"]))) as picture:
        picture.convert("RGB").save(OUT, quality=88, subsampling=0, optimize=True)
    server.shutdown()


if __name__ == "__main__":
    main()
