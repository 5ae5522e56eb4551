"""The page in a real browser: pictures move, alarms appear, feedback and thresholds work, nothing else is asked."""

import shutil
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from desks import MovingDesk
from live_sources import until
from test_watch_sinks import END, START

from vadistill.watch.alarm import CameraState
from vadistill.watch.config import WebConfig
from vadistill.watch.web import WebServer

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")]
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PATIENCE = 30_000  # milliseconds


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield made
        made.close()


@pytest.fixture
def desk(tmp_path):
    made = MovingDesk(tmp_path)
    picture = np.full((90, 160, 3), (60, 90, 160), np.uint8)
    cv2.imwrite(str(tmp_path / "snapshots/a1.jpg"), picture)
    over = threading.Event()

    def live():
        while not over.wait(0.2):
            made.tick()

    thread = threading.Thread(target=live)
    thread.start()
    yield made
    over.set()
    thread.join()


@pytest.fixture
def server(desk):
    made = WebServer(WebConfig(port=0), desk)
    made.listen()
    yield made
    made.stop()


@pytest.fixture
def page(browser, server):
    """The page; at its end there was no error, and nobody else was asked for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    made, said, asked = context.new_page(), [], []
    made.set_default_timeout(PATIENCE)
    made.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: said.append(str(error)))
    made.on("request", lambda request: asked.append(request.url))
    made.goto(f"http://127.0.0.1:{server.port}/")
    made.wait_for_selector(".camera[data-state=live] img:not([hidden])")
    yield made
    made.close()
    context.close()
    assert said == []
    assert all(url.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for url in asked)


def start_at(now):
    return replace(START, start=now, peak=now)


def test_pictures_move_and_a_dead_camera_is_shown(page, desk):
    source = "document.querySelector('.camera img').src"
    first = page.evaluate(source)
    page.wait_for_function(f"() => {source} !== {first!r}")
    assert page.text_content(".camera[data-state=dead] .note").strip().startswith("No picture")
    assert "no frame for 9 seconds" in page.text_content(".camera[data-state=dead] .note")
    assert page.text_content("#sum") == "3 cameras, 1 without picture"
    assert page.is_hidden("#lost")
    desk.statuses[2].state = CameraState.LIVE
    page.wait_for_function("() => document.querySelectorAll('.camera[data-state=live]').length === 3")
    page.wait_for_function("() => document.querySelector('#sum').textContent === '3 cameras'")


def test_an_alarm_appears_goes_on_and_can_be_said_to_be_none(page, desk):
    assert page.is_visible("#none")
    now = time.time()
    desk.say(start_at(now))
    page.wait_for_selector(".alarm.going")
    assert "yard" in page.text_content(".alarm b") and page.is_disabled(".alarm button:has-text('Clip')")
    assert page.is_visible(".camera.alarmed") and page.is_hidden("#none")
    page.wait_for_function("() => document.querySelector('.alarm img').naturalWidth === 160")
    desk.say(replace(END, start=now, peak=now + 1, end=now + 5))
    page.wait_for_selector(".alarm:not(.going)")
    assert page.is_enabled(".alarm button:has-text('Clip')") and ", 5 s" in page.text_content(".alarm time")
    page.click("text=Not an alarm")
    page.wait_for_selector(".alarm.wrong")
    assert desk.store.alarm("a1")["feedback"] is False
    page.reload()
    page.click(".alarm.wrong >> text=Undo")
    page.wait_for_selector(".alarm:not(.wrong)")
    assert desk.store.alarm("a1")["feedback"] is None


def test_the_slider_says_what_would_have_been(page, desk):
    card = page.locator(".camera", has_text="yard")
    card.locator("summary").click()
    slider = card.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('.slider p').textContent.includes('this would have been')")
    value = float(slider.input_value())
    assert (
        f"this would have been {int(100 * (1 - value))} alarms in the last 24 hours" in card.locator("p").text_content()
    )
    until(lambda: abs(desk.statuses[0].threshold - value) < 1e-6)
    card.locator("text=As in the file").click()
    page.wait_for_function("() => document.querySelector('.slider p').textContent === ''")
    assert desk.statuses[0].threshold == 0.5


def test_a_camera_opens_by_the_keyboard(page):
    page.locator(".camera .view").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#content img').naturalWidth === 320")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#opened').open && !document.querySelector('#content img')")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page, desk, width, tmp_path):
    desk.say(start_at(time.time()))
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_selector(".alarm")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator("button:visible").all():
        assert button.bounding_box()["height"] >= 32
    page.screenshot(path=str(tmp_path / f"page_{width}.png"), full_page=True)


def test_a_watch_that_goes_away_is_said_to_be_away(browser, desk):
    server = WebServer(WebConfig(port=0), desk)
    server.listen()
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_selector(".camera")
    server.stop()
    page.wait_for_selector("#lost:visible")
    again = WebServer(WebConfig(port=server.port), desk)
    again.listen()
    page.wait_for_selector("#lost", state="hidden")
    again.stop()
    page.close()
