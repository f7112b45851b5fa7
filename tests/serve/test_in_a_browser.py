"""The page to try it in headless Chromium: a video dropped on it, its progress, its results, and its faults."""

from __future__ import annotations

import base64

import pytest
from helpers.browser import chromium

from .conftest import wait_for

pytestmark = pytest.mark.slow

DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0)), given = new DataTransfer();
    given.items.add(new File([bytes], name, {type: 'video/mp4'}));
    const target = document.getElementById('drop');
    for (const kind of ['dragenter', 'dragover', 'drop'])
        target.dispatchEvent(new DragEvent(kind, {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser, server):
    server.quiet()
    opened = browser.new_page()
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(server.url)
    yield opened
    opened.close()
    assert all(url.startswith((server.url, "data:")) for url in asked), asked


def drop(page, name: str, data: bytes) -> None:
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def test_a_video_dropped_on_the_page(page, server, street):
    name = "<b>my & drive</b>.mp4"
    drop(page, name, street.read_bytes())
    page.locator("#jobs li.done").wait_for(timeout=40_000)
    assert page.locator(".name").inner_text() == name
    assert "14 of 14 frames" in page.locator(".words").inner_text()
    wait_for(lambda: page.evaluate("document.querySelector('#jobs video').readyState >= 1"))
    assert page.evaluate("document.querySelector('#jobs video').videoWidth") == 96
    links = page.locator(".made a")
    assert links.count() == 4 and links.first.inner_text().startswith("Open the report")
    with page.expect_popup() as opened:
        links.first.click()
    report = opened.value
    wait_for(lambda: report.evaluate("typeof frames === 'number' && video.readyState >= 2"))
    assert report.evaluate("[frames, data.keyframes[0]]") == [14, "1"]
    report.close()
    with page.expect_download() as download:
        page.get_by_text("table of frames").click()
    assert download.value.path().read_text().count("\n") == 15
    page.get_by_role("button", name="Remove").click()
    wait_for(lambda: page.locator("#jobs li").count() == 0 and server.left() == [])


def test_one_that_is_cancelled(page, server, long):
    drop(page, "long.mp4", long.read_bytes())
    page.locator("#jobs li.running").wait_for(timeout=20_000)
    page.get_by_role("button", name="Cancel").click()
    page.locator("#jobs li.cancelled").wait_for(timeout=20_000)
    wait_for(lambda: server.left() == [])


def test_what_is_wrong_is_told(page):
    drop(page, "notes.txt", b"no video" * 100)
    page.locator("#jobs li.failed").wait_for(timeout=20_000)
    assert "no video that is taken" in page.locator(".words").inner_text()
    page.fill("#url", "http://127.0.0.1/secret.mp4")
    page.get_by_role("button", name="Fetch").click()
    page.locator("#fault").wait_for()
    assert "private address" in page.locator("#fault").inner_text()
    drop(page, "large.mp4", bytes(2_500_000))
    assert "larger than 2 MB" in page.locator("#fault").inner_text()
    page.get_by_role("button", name="Remove").click()


@pytest.mark.parametrize("width", [1200, 390])
def test_fits(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
