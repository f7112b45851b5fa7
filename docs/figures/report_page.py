"""Draws docs/report.png, the page that `arseg report` makes of a synthetic street: python docs/figures/report_page.py

Needs playwright and Chromium. Unlike the figures of draw.py it holds times, which differ from run to run.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from arseg import VideoSegmenter
from arseg.data.street import StreetScene
from arseg.data.street.recording import record
from arseg.segment.outputs import Report
from arseg.segment.run import segment_file

PICTURE = Path(__file__).resolve().parents[1] / "report.png"
FRAMES, SHOWN = 120, 100


def screenshot(page: Path) -> bytes:
    """A PNG of the page, wide, at a frame where much is to be seen."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        opened.goto(page.as_uri())
        opened.keyboard.press("Home")
        opened.evaluate(f"seek({SHOWN})")
        opened.wait_for_timeout(1000)
        picture: bytes = opened.screenshot(full_page=True)
        browser.close()
    return picture


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        street, page = Path(folder, "street.mp4"), Path(folder, "street.html")
        record(StreetScene(7, width=960, height=540), street, FRAMES, each=lambda index, labels: None, gop=12)
        segment_file(VideoSegmenter(), street, [Report(page)])
        picture = Image.open(io.BytesIO(screenshot(page))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(PICTURE, PICTURE.stat().st_size)


if __name__ == "__main__":
    main()
