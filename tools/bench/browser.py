"""When does a page show what it should, in a real browser?

The page's own changes are watched from inside of it, with the clock of the machine.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import Playwright as Driver

from tools.bench.figures import NotMeasured
from tools.bench.house import PASSWORD, PATIENCE, ROOT, House

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_READING = '[data-testid="read-page"]'
_ROW = '[data-testid="task"]'

# when each row of the worklist first stood in the page, in milliseconds, with its text
_WATCH_ROWS = """() => {
  const seen = window.benchRows = new Map();
  const look = () => {
    const at = performance.timeOrigin + performance.now();
    for (const row of document.querySelectorAll('[data-testid="task"]')) {
      if (!seen.has(row.dataset.task)) seen.set(row.dataset.task, [at, row.textContent]);
    }
  };
  look();
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
}"""
_ROW_STOOD = """(patient) =>
  [...window.benchRows.values()].find(([, text]) => text.includes(patient))?.[0] ?? null"""

# when Enter was pressed, when the first picture was drawn, when everything was painted
_WATCH_CASE = """() => {
  const now = () => performance.timeOrigin + performance.now();
  const seen = window.benchCase = {};
  const probe = document.createElement('canvas');
  probe.width = probe.height = 32;
  const ink = probe.getContext('2d', {willReadFrequently: true});
  const isDrawn = () => {
    if (document.querySelector('[data-testid="ecg-sheet"][data-painted="true"]')) return true;
    const canvas = document.querySelector('[data-testid="viewport"] canvas');
    if (!canvas) return false;
    ink.drawImage(canvas, 0, 0, 32, 32);
    const grey = ink.getImageData(0, 0, 32, 32).data.filter((_, i) => i % 4 === 0);
    return Math.max(...grey) - Math.min(...grey) > 16;
  };
  const wait = () => {
    if (isDrawn()) seen.first = now();
    else requestAnimationFrame(wait);
  };
  addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || seen.enter !== undefined) return;
    seen.enter = now();
    requestAnimationFrame(wait);
  }, true);
  const look = () => {
    const page = document.querySelector('[data-testid="read-page"]');
    if (page?.dataset.painted === 'true') seen.all ??= now();
  };
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['data-painted'],
  });
}"""
_GRAPHICS = """() => {
  const gl = document.createElement('canvas').getContext('webgl');
  const info = gl?.getExtension('WEBGL_debug_renderer_info');
  return gl === null ? '' : gl.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
}"""


@dataclass(frozen=True)
class Opened:
    """Seconds from Enter in the worklist to the first picture drawn and to all painted."""

    first: float
    all: float


class Seat:
    """One page of somebody who is signed in, on the worklist."""

    def __init__(self, page: Page, house: House, name: str) -> None:
        self._page = page
        page.goto(house.address)
        page.locator("#user").fill(name)
        page.locator("#password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_test_id("live").wait_for()

    @property
    def graphics(self) -> str:
        """What draws WebGL here, "" for nothing."""
        return str(self._page.evaluate(_GRAPHICS))

    def watch_rows(self) -> None:
        """From now on note when a row comes."""
        self._page.evaluate(_WATCH_ROWS)

    def row_stood(self, patient: str) -> float:
        """When the row with this Patient ID stood in the page (wall clock, seconds)."""
        self._page.locator(_ROW, has_text=patient).first.wait_for(state="attached")
        at = self._page.evaluate(_ROW_STOOD, patient)
        if at is None:
            raise NotMeasured("a row that nobody saw come")
        return float(at) / 1000

    def open_case(self, patient: str) -> Opened:
        """Choose the row, press Enter, wait until all is painted, and go back to the worklist."""
        row = self._page.locator(_ROW, has_text=patient).first
        row.click()
        self._page.evaluate(_WATCH_CASE)
        self._page.keyboard.press("Enter")
        self._page.locator(f'{_READING}[data-painted="true"]').wait_for()
        seen = self._page.evaluate("() => window.benchCase")
        self._page.keyboard.press("Escape")
        self._page.get_by_test_id("tasks").wait_for()
        if {"enter", "first", "all"} - seen.keys():
            raise NotMeasured("a case whose painting nobody saw")
        return Opened((seen["first"] - seen["enter"]) / 1000, (seen["all"] - seen["enter"]) / 1000)


class Browser:
    """Chromium, driven."""

    def __init__(self, driver: Driver, program: str) -> None:
        self._chromium = driver.chromium.launch(executable_path=program, args=list(_FLAGS))

    @property
    def version(self) -> str:
        """Of Chromium."""
        return self._chromium.version

    @contextmanager
    def signed_in(self, house: House, name: str) -> Iterator[Seat]:
        """A page of this person; everything kept in the browser is new."""
        context = self._chromium.new_context(
            viewport={"width": 1920, "height": 1080}, locale="en-US"
        )
        context.set_default_timeout(PATIENCE * 1000)
        try:
            yield Seat(context.new_page(), house, name)
        except BrowserError as error:
            raise NotMeasured(str(error).splitlines()[0]) from error
        finally:
            context.close()

    def close(self) -> None:
        """End the process."""
        self._chromium.close()


@contextmanager
def opened() -> Iterator[Browser | None]:
    """The browser while the `with` lasts; None where there is none."""
    if why_not():
        yield None
        return
    with sync_playwright() as driver:
        browser = Browser(driver, _program() or "")
        try:
            yield browser
        finally:
            browser.close()


def why_not() -> str:
    """What is missing for measurements in a browser, "" for nothing."""
    if not (ROOT / "viewers" / "web" / "dist" / "index.html").is_file():
        return "the pages are not built"
    return "" if _program() else "Chromium is not installed"


def _program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")
