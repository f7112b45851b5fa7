"""The page in headless Chromium, from the file: player, divider, timeline, keys; and no request leaves it."""

from __future__ import annotations

import time

import pytest
from helpers.browser import chromium

from arseg.segment.outputs import Report
from arseg.segment.run import segment_file

pytestmark = pytest.mark.slow
COUNT = 30


@pytest.fixture(scope="module")
def address(segmenter, street, tmp_path_factory) -> str:
    page = tmp_path_factory.mktemp("page") / "a b'%&#?.html"
    segment_file(segmenter, street, [Report(page, opacity=1.0)])
    return page.as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    requests, faults = [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    opened.goto(address)
    until(opened, "video.readyState >= 2 && !video.seeking")
    yield opened
    opened.close()
    assert faults == []
    assert [url for url in requests if not url.startswith("blob:null/")] == [address]


def until(page, expression: str, seconds: float = 20) -> None:
    """Waits; `wait_for_function` would have the page evaluate text, which its policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        time.sleep(0.02)


def frame_of(page) -> int:
    until(page, "!video.seeking")
    return int(page.get_attribute("#lanes", "aria-valuenow"))


def in_video(page) -> int:
    """The frame at which the video itself is."""
    return page.evaluate("nearest(video.currentTime)")


def column(page, x: float) -> list[list[int]]:
    """Pixels of the picture in a column, `x` of its width."""
    return page.evaluate("x => [...context.getImageData(x * picture.width, 0, 1, picture.height).data]", x)


def test_clicks_on_the_timeline_seek(page):
    box = page.locator(".lane canvas").first.bounding_box()
    for frame in (25, 3, 14):
        page.mouse.click(box["x"] + (frame + 0.5) / COUNT * box["width"], box["y"] + 60)
        assert frame_of(page) == frame == in_video(page)
        assert f"{frame + 1} / {COUNT}" in page.inner_text("#place")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 2, box["y"] + 10, steps=6)  # past the end
    page.mouse.up()
    assert frame_of(page) == COUNT - 1 == in_video(page)


def test_the_divider_parts_picture_and_labels(page):
    handle = page.locator("#divider")
    assert handle.get_attribute("aria-valuenow") == "50"
    before = column(page, 0.25), column(page, 0.75)
    box, stage = handle.bounding_box(), page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.02, stage["y"] + 20, steps=4)
    page.mouse.up()
    assert int(handle.get_attribute("aria-valuenow")) < 25
    assert column(page, 0.25) != before[0] and column(page, 0.75) == before[1]
    page.keyboard.press("End")  # of the handle, which has the focus
    assert handle.get_attribute("aria-valuenow") == "100" and frame_of(page) == 0
    picture = column(page, 0.75)
    assert picture != before[1]
    page.keyboard.press("Home")
    assert column(page, 0.75) == before[1]
    page.locator("#opacity").fill("0")
    assert column(page, 0.75) == picture


def test_keys(page):
    keyframes = page.evaluate("[...data.keyframes].flatMap((sign, i) => sign === '1' ? [i] : [])")
    assert keyframes[0] == 0 and len(keyframes) >= 2
    for key, frame in (("ArrowRight", 1), ("Shift+ArrowRight", 11), ("]", next(k for k in keyframes if k > 11))):
        page.keyboard.press(key)
        assert frame_of(page) == frame == in_video(page)
    page.keyboard.press("[")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert frame_of(page) == COUNT - 1
    page.keyboard.press("Home")
    assert frame_of(page) == 0
    page.keyboard.press("+")
    assert page.evaluate("state.to - state.from") == 15
    page.keyboard.press("0")
    assert page.evaluate("state.to - state.from") == COUNT


def test_plays_to_its_end(page):
    page.select_option("#speed", "2")
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    until(page, f"state.frame === {COUNT - 1} && video.ended")
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_classes_are_told_and_chosen(page):
    page.keyboard.press("End")
    shares = page.evaluate("data.shares.map((values, k) => [data.classes[k].name, (values.at(-1) ?? 0) / 100])")
    rows = page.locator("#legend button")
    seen = {name: share for name, share in shares}
    assert rows.count() >= 2
    for row in rows.all():
        name, number = row.locator(".name").inner_text(), float(row.locator("b").inner_text().split()[0])
        assert abs(number - seen[name]) <= 0.5
    chart = page.locator(".lane canvas").nth(4)
    before = chart.evaluate("canvas => canvas.toDataURL()")
    rows.first.click()
    assert rows.first.get_attribute("aria-pressed") == "true"
    assert chart.evaluate("canvas => canvas.toDataURL()") != before
    rows.first.click()
    assert chart.evaluate("canvas => canvas.toDataURL()") == before


@pytest.mark.parametrize("width, scheme", [(1440, "light"), (390, "dark")])
def test_fits_wide_and_narrow_windows(browser, address, width, scheme):
    opened = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    opened.goto(address)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    names = opened.evaluate(
        "[...document.querySelectorAll('button, input, select, [role=slider]')].map(e => e.ariaLabel || e.innerText "
        "|| e.labels?.[0]?.innerText || '')"
    )
    assert names and all(name.strip() for name in names)
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(14, 17, 22)") == (scheme == "dark")
    opened.close()
