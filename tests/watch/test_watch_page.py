"""The page in a real browser: a wall that lives, alarms that appear, thresholds that are tried; screens and phones."""

import shutil
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from live_sources import until
from page_desk import TOKEN, PageDesk, living, served

from vadistill.watch.alarm import CameraState, Phase

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser: {', '.join(BROWSERS)} are not installed"),
]
WAIT = 60_000  # milliseconds: a busy machine is no failure
SHIFTS = """
  window.shifts = 0
  new PerformanceObserver(list => list.getEntries().forEach(entry => { window.shifts += entry.value }))
    .observe({ type: "layout-shift", buffered: true })
"""


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def shown(browser, server, size=SCREEN, **options):
    """Open the page; at the end nothing was said on the console, and nobody but the server was asked."""
    context = browser.new_context(viewport=size, **options)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(SHIFTS)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.asked = asked
    try:
        yield page
        own = {("http", f"127.0.0.1:{server.port}"), ("data", "")}
        assert {(urlsplit(url).scheme, urlsplit(url).netloc) for url in asked} <= own
        assert told == []
    finally:
        context.close()


def is_within(page, size):
    return page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def holds(page, condition):
    """Wait until it does; Playwright's own way makes code of text, which the page's policy forbids."""
    until(lambda: page.evaluate(condition))


def camera(page, name):
    return page.locator(".camera").filter(has_text=name)


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_the_wall_lives_and_a_dead_camera_is_shown(browser, tmp_path, size):
    desk = PageDesk(
        tmp_path, names=["front-door", "yard", "roof", "cellar", "a-very-long-name-of-a-camera-" + 34 * "x"]
    )
    dead = desk.statuses["yard"]
    dead.state, dead.problem, dead.last_frame = (
        CameraState.DEAD,
        f"{dead.source}: nothing came in time",
        time.time() - 125,
    )
    desk.statuses["roof"].state, desk.statuses["roof"].frames_analysed = CameraState.STARTING, 0
    desk.statuses["cellar"].view = "covered"
    desk.alarm("front-door", ago=100, zone="a-zone-with-a-long-name-" + 40 * "y")
    with served(desk) as server, living(desk), shown(browser, server, size) as page:
        picture = camera(page, "front-door").locator("img")
        picture.and_(page.locator(":not([hidden])")).wait_for()
        first = picture.get_attribute("src")
        until(lambda: picture.get_attribute("src") != first)  # pictures move
        assert picture.evaluate("it => it.naturalWidth") == 320
        assert (
            "live" in camera(page, "front-door").inner_text() and "of 0.600" in camera(page, "front-door").inner_text()
        )
        note = camera(page, "yard").locator(".note")
        assert "No picture for 2 min" in note.inner_text() and "nothing came in time" in note.inner_text()
        assert "10.0.0.1" not in note.inner_text(), "the reason, and not the address"
        assert "last seen 2 min ago" in camera(page, "yard").inner_text()
        assert "Starting …" in camera(page, "roof").inner_text()
        assert camera(page, "cellar").locator(".mark").inner_text() == "covered"
        assert page.locator("#count").text_content() == "5 cameras,"
        page.get_by_role("button", name="1 without a picture").click()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Open camera yard"
        painted = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(x => x)"
        assert camera(page, "front-door").locator("canvas").evaluate(painted), "its curve is drawn"
        assert is_within(page, size)
        dead.state, dead.problem = CameraState.LIVE, ""
        camera(page, "yard").locator(".note").wait_for(state="hidden")
        page.locator("#gone").wait_for(state="hidden")
        assert page.evaluate("window.shifts") < 0.02


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_alarms_appear_and_are_judged(browser, tmp_path, size):
    desk = PageDesk(tmp_path)
    with served(desk) as server, living(desk), shown(browser, server, size) as page:
        page.get_by_text("No alarms. They appear here by themselves.").wait_for()
        begun = desk.alarm("camera-1", ago=2, phase=Phase.START)
        row = page.locator(".alarm")
        row.wait_for()
        assert "going" in row.get_attribute("class") and "0.830 of 0.600" in row.inner_text()
        holds(page, "document.querySelector('.alarm img').naturalWidth === 320")
        assert camera(page, "camera-1").locator(".mark").inner_text() == "Alarm"
        assert page.title() == "(1) vadistill watch" and "Alarm: camera-1" in page.locator("#said").text_content()
        assert page.locator("#none").is_hidden()

        ended = desk.alarm("camera-1", ago=3, phase=Phase.END, lasts=3)
        assert ended.id == begun.id
        holds(page, "!document.querySelector('.alarm.going')")
        assert row.count() == 1 and page.title() == "vadistill watch" and "3 s" in row.inner_text()
        assert camera(page, "camera-1").locator(".mark").is_hidden()

        row.get_by_role("button", name="Not an alarm").click()
        row.get_by_text("Marked as not an alarm").wait_for()
        assert desk.store.alarm(ended.id)["feedback"] is False
        page.reload()
        row.get_by_role("button", name="Undo").click()
        row.get_by_role("button", name="Not an alarm").wait_for()
        assert desk.store.alarm(ended.id)["feedback"] is None

        row.get_by_role("button", name="Show camera-1").click()
        holds(page, "document.getElementById('film').readyState >= 2")
        assert page.evaluate("document.getElementById('film').videoWidth") == 320, "the clip is one that browsers play"
        page.locator("#judge").click()
        page.locator("#judge").get_by_text("Undo").wait_for()
        assert desk.store.alarm(ended.id)["feedback"] is False
        page.keyboard.press("Escape")
        page.locator("#clip").wait_for(state="hidden")
        assert is_within(page, size)


def test_older_alarms_and_those_of_a_camera(browser, tmp_path):
    desk = PageDesk(tmp_path)
    for number in range(120):
        desk.alarm(f"camera-{number % 2}", ago=1000 + 60 * number, number=number, with_files=False)
    desk.store._database.execute("update alarms set snapshot = '', clip = ''")  # removed, since they were old
    with served(desk) as server, shown(browser, server) as page:
        holds(page, "document.querySelectorAll('.alarm').length === 50")
        times = "[...document.querySelectorAll('.alarm time')].map(it => it.dateTime)"
        assert page.evaluate(times) == sorted(page.evaluate(times), reverse=True)
        page.get_by_role("button", name="Show older ones").click()
        holds(page, "document.querySelectorAll('.alarm').length === 100")
        page.get_by_role("button", name="Show older ones").click()
        holds(page, "document.querySelectorAll('.alarm').length === 120")
        assert page.evaluate(times) == sorted(page.evaluate(times), reverse=True)
        page.locator("#older").wait_for(state="hidden")
        page.get_by_label("Alarms of which camera").select_option("camera-1")
        holds(page, "document.querySelectorAll('.alarm').length === 50")
        assert page.locator(".alarm b").all_inner_texts() == ["camera-1"] * 50
        desk.alarm("camera-0", ago=1, number=500)
        desk.alarm("camera-1", ago=1, number=501)
        holds(page, "document.querySelectorAll('.alarm').length === 51")
        assert page.locator(".alarm b").first.inner_text() == "camera-1"
        page.get_by_label("Alarms of which camera").select_option("camera-2")
        page.get_by_text("No alarms.").wait_for()


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_a_threshold_is_tried_while_it_is_dragged(browser, tmp_path, size):
    desk = PageDesk(tmp_path)
    with served(desk) as server, living(desk), shown(browser, server, size) as page:
        page.get_by_role("button", name="Open camera camera-1").click()
        holds(page, "document.getElementById('stream').naturalWidth === 320")
        slider = page.get_by_role("slider", name="Alarm from")
        holds(page, "!document.getElementById('threshold').disabled")
        place = slider.bounding_box()
        across, down = place["x"], place["y"] + place["height"] / 2
        value = page.evaluate("Number(document.getElementById('threshold').value)")
        most = page.evaluate("Number(document.getElementById('threshold').max)")
        assert value == pytest.approx(0.6, abs=0.01)
        page.mouse.move(across + place["width"] * value / most, down)
        page.mouse.down()
        page.mouse.move(across + place["width"] * 0.45, down, steps=10)
        told = page.locator("#would")
        told.get_by_text("this would have been").wait_for()
        newest = page.evaluate("Number(document.getElementById('threshold').value)")
        holds(
            page, "document.getElementById('would').textContent.includes(document.getElementById('value').textContent)"
        )
        assert desk.would_alarm("camera-1", newest, 0) > 0
        expected = desk.would_alarm("camera-1", newest, 0)
        assert f"{expected} alarm" in told.inner_text() and "in the last 24 hours" in told.inner_text()
        assert desk.thresholds == [], "dragging sets nothing"
        page.mouse.up()
        page.wait_for_timeout(100)
        assert desk.thresholds == []
        page.get_by_role("button", name="Use this threshold").click()
        told.get_by_text("Saved").wait_for()
        assert desk.thresholds == [("camera-1", pytest.approx(newest))]
        page.get_by_role("button", name="Back to the original").click()
        told.get_by_text("Saved: alarms from 0.600 on.").wait_for()
        assert desk.thresholds[-1] == ("camera-1", None)
        for name in ("1 hour", "24 hours"):
            page.get_by_label(name).check()
        assert is_within(page, size)
        page.keyboard.press("Escape")
        page.locator("#camera").wait_for(state="hidden")


def test_the_keyboard_does_it_all(browser, tmp_path):
    desk = PageDesk(tmp_path, cameras=4)
    alarm = desk.alarm("camera-0", ago=60)
    with served(desk) as server, living(desk), shown(browser, server) as page:
        page.locator(".alarm").wait_for()
        focus = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"

        def tab_to(name):
            for _ in range(20):
                page.keyboard.press("Tab")
                if page.evaluate(focus).startswith(name):
                    return
            raise AssertionError(f"{name} is not reached")

        tab_to("Open camera camera-0")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid", "one sees where one is"
        page.keyboard.press("ArrowRight")
        assert page.evaluate(focus) == "Open camera camera-1"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        assert page.evaluate(focus) == "Open camera camera-1"
        page.keyboard.press("Enter")
        holds(page, "!document.getElementById('threshold').disabled")
        assert page.locator("#title").inner_text() == "camera-1"
        page.keyboard.press("ArrowRight")
        holds(page, "document.getElementById('title').textContent === 'camera-2'")
        holds(page, "!document.getElementById('threshold').disabled")
        tab_to("threshold")
        page.keyboard.press("ArrowLeft")
        page.locator("#would").get_by_text("this would have been").wait_for()
        assert page.locator("#title").inner_text() == "camera-2", "arrows in the slider move the slider"
        assert page.locator("#threshold").get_attribute("aria-valuetext") == page.locator("#value").inner_text()
        tab_to("use")
        page.keyboard.press("Enter")
        until(lambda: desk.thresholds and desk.thresholds[0][0] == "camera-2")
        page.keyboard.press("Escape")
        until(lambda: page.evaluate(focus) == "Open camera camera-2")  # one is back where one was
        tab_to("Not an alarm")
        page.keyboard.press("Enter")
        until(lambda: desk.store.alarm(alarm.id)["feedback"] is False)
        nameless = """[...document.querySelectorAll("button, input, select, a")].filter(it =>
          it.checkVisibility() &&
          !(it.textContent.trim() || it.getAttribute("aria-label") || it.labels?.length)).length"""
        assert page.evaluate(nameless) == 0


def test_thirty_two_cameras(browser, tmp_path):
    """The wall asks for pictures of cameras in view alone, and one stream at most is open."""
    desk = PageDesk(tmp_path, cameras=32)
    with served(desk) as server, living(desk, 0.5), shown(browser, server) as page:
        holds(page, "document.querySelectorAll('.camera').length === 32")
        holds(page, "document.querySelectorAll('.camera img:not([hidden])').length >= 6")
        wanted = {urlsplit(url).path for url in page.asked if "/picture/" in url}
        assert "/picture/camera-0.jpg" in wanted and "/picture/camera-31.jpg" not in wanted
        assert not any("/stream/" in url for url in page.asked)
        page.locator(".camera").last.scroll_into_view_if_needed()
        holds(page, "!document.querySelectorAll('.camera')[31].querySelector('img').hidden")
        page.locator(".camera .view").last.click()
        holds(page, "document.getElementById('stream').naturalWidth > 0")
        streams = [url for url in page.asked if "/stream/" in url]
        assert len(streams) == 1 and "/stream/camera-31.mjpeg" in streams[0]
        count = len(page.asked)
        until(lambda: page.evaluate("0") or any("/picture/" in url for url in page.asked[count:]))  # the wall goes on
        page.keyboard.press("Escape")
        holds(page, "document.getElementById('stream').getAttribute('src') === null")
        assert page.evaluate("window.shifts") < 0.02


def test_a_watch_that_went_comes_back_with_what_was_missed(browser, tmp_path):
    desk = PageDesk(tmp_path)
    context = browser.new_context(viewport=SCREEN)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    with served(desk) as server:
        port = server.port
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator(".camera").first.wait_for()
        assert page.locator("#lost").is_hidden()
    page.get_by_text("The watch does not answer.").wait_for()
    desk.alarm("camera-2", ago=5, with_files=False)
    del desk.statuses["camera-0"]
    with served(desk, port=port), living(desk):
        page.locator("#lost").wait_for(state="hidden")
        page.locator(".alarm").filter(has_text="camera-2").wait_for()
        holds(page, "document.querySelectorAll('.camera').length === 2")
        desk.statuses["camera-9"] = desk.statuses["camera-1"].__class__("camera-9", "x", CameraState.LIVE)
        desk.publish("cameras", {"names": list(desk.statuses)})
        camera(page, "camera-9").wait_for()
        assert "no limit" in camera(page, "camera-9").inner_text()
    context.close()


def test_a_token_by_the_form(browser, tmp_path):
    desk = PageDesk(tmp_path)
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    with served(desk, TOKEN) as server, living(desk):
        page.goto(f"http://127.0.0.1:{server.port}/")
        assert page.url.endswith("/login") and page.evaluate("document.activeElement.id") == "token"
        page.get_by_label("Token").fill("another token, wrong")
        page.get_by_role("button", name="Watch").click()
        page.get_by_text("That is not the token.").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Watch").click()
        page.locator(".camera img:not([hidden])").first.wait_for()
        assert page.evaluate("document.cookie") == "", "scripts do not see it"
        (cookie,) = context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        context.clear_cookies()
        page.reload()
        assert page.url.endswith("/login")
    context.close()


def test_names_are_text(browser, tmp_path):
    """What comes from elsewhere is never taken for a part of the page."""
    desk = PageDesk(tmp_path)
    bad = "<img src=x onerror=document.title='bad'>"
    status = desk.statuses["camera-0"]
    status.state, status.problem, status.source = CameraState.DEAD, bad, bad
    with served(desk) as server, living(desk), shown(browser, server) as page:
        camera(page, "camera-0").locator(".note small").get_by_text(bad).wait_for()
        alarm = desk.alarm("camera-1", zone="porch", phase=Phase.START)
        desk.publish("alarm", {**alarm.record(), "id": "other", "zone": bad, "snapshot": ""})
        page.locator(".alarm b").get_by_text(bad).wait_for()
        page.locator(".camera .view").first.click()
        page.locator("#facts").get_by_text(bad).first.wait_for()
        assert page.title() != "bad"


def test_colours_can_be_read(browser, tmp_path):
    """Text stands out from what is behind it at least 4.5 times, in both schemes."""
    desk = PageDesk(tmp_path)
    desk.alarm("camera-0", ago=60)
    contrast = """() => {
      const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b }
      const behind = it => { const back = getComputedStyle(it).backgroundColor; return back.endsWith(", 0)") && it.parentElement ? behind(it.parentElement) : back }
      return ["#count", ".line b", ".line .soft", ".curve small", ".alarm time", ".alarm button:not(.view)", "#only", "h2"].map(name => {
        const it = document.querySelector(name), [a, b] = [light(getComputedStyle(it).color), light(behind(it))].sort((a, b) => b - a)
        return [name, (a + .05) / (b + .05)] }) }"""  # noqa: E501
    with served(desk) as server:
        for scheme in ("light", "dark"):
            with shown(browser, server, color_scheme=scheme) as page:
                page.locator(".alarm").wait_for()
                assert [name for name, times in page.evaluate(contrast) if times < 4.5] == []
                assert ("rgb(13" in page.evaluate("getComputedStyle(document.body).backgroundColor")) == (
                    scheme == "dark"
                )
