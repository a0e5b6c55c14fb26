"""A real gateway, a real browser, and people who sit down before it."""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.hands import Desk, device_sends
from tests.conftest import dcmtk
from tests.recovery.house import House, furnished

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-print-preview",  # headless Chromium ends when a PDF is printed through it
)
POLICY = """
quiet_after_release_seconds = 1
grace_seconds = 8
"""


@pytest.fixture(scope="module")
def browser(chromium):
    """Ends with its file: Playwright keeps an event loop on this thread as long as it is open."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A furnished gateway that runs while the tests of one file do."""
    folder = tmp_path_factory.mktemp("house")
    furnished(folder)
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    running = House(folder, policy=policy)
    running.start()
    yield running
    running.close()


@pytest.fixture
def sends(house, tmp_path):
    """Let a device send objects: `sends(CALLING_AE_TITLE, datasets)`."""
    return lambda calling, datasets: device_sends(
        house, calling, list(datasets), tmp_path / "sent", dcmtk("storescu")
    )


@pytest.fixture
def desk(browser, house):
    """Sit somebody down: `desk("ma")` is a reader, `desk("su")` the center's doctor."""
    opened = []

    def sit(name, **given):
        opened.append(Desk(browser, house, name, **given))
        return opened[-1]

    yield sit
    for one in opened:
        one.close()
