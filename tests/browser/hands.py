"""What do people do with their hands? Clicks and keys only, and waiting for what the page shows."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from sample_studies.make import write
from sample_studies.send import send
from tests.recovery.house import PASSWORD, House

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS / 2)
# storescu proposes only what it is told to
_PROPOSE = {"1.2.840.10008.1.2.4.50": "-xy"}


class Desk:
    """One person at one browser, signed in through the form."""

    def __init__(
        self, browser: Browser, house: House, name: str, *, lang: str = "en-US", scale: float = 1
    ) -> None:
        self.name = name
        self.house = house
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1920, "height": 1080},
            locale=lang,
            device_scale_factor=scale,
            accept_downloads=True,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.wrong: list[str] = []
        self.page = self.new_page("/")
        self.sign_in()

    def new_page(self, path: str) -> Page:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._heard)
        page.on("request", lambda request: self._asked(request.url))
        page.goto(self.house.address + path)
        return page

    def _heard(self, message) -> None:
        """A policy that had to stop something is a fault of the page."""
        if "Content Security Policy" in message.text:
            self.wrong.append(message.text)

    def _asked(self, url: str) -> None:
        """No request leaves the machine; the browser's PDF viewer asks the browser itself."""
        if not url.startswith((self.house.address, "blob:", "data:", "chrome")):
            self.wrong.append(url)

    def sign_in(self) -> None:
        self.page.locator("#user").fill(self.name)
        self.page.locator("#password").fill(PASSWORD)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_test_id("person")).to_be_visible()

    def row(self, patient: str, kind: str = "") -> Locator:
        """The worklist's row of a patient."""
        return self.page.get_by_role("option").filter(has_text=patient).filter(has_text=kind)

    def open_case(self, patient: str, kind: str = "") -> None:
        """Choose the row and claim it with Enter; returns when everything is painted."""
        row = self.row(patient, kind)
        expect(row).to_be_visible()
        row.click()
        expect(row).to_have_attribute("aria-selected", "true")
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_test_id("read-page")).to_be_visible()

    def painted(self) -> None:
        expect(self.page.get_by_test_id("read-page")).to_have_attribute("data-painted", "true")

    def write(self, findings: str, impression: str, result: int) -> None:
        """Into the text with R, out with Escape, the result with Shift and a figure."""
        self.page.keyboard.press("r")
        expect(self.page.locator("textarea:focus")).to_have_count(1)
        self.page.get_by_test_id("findings").click()
        self.page.keyboard.insert_text(findings)
        self.page.get_by_test_id("impression").click()
        self.page.keyboard.insert_text(impression)
        self.page.keyboard.press("Escape")
        self.page.keyboard.press(f"Shift+Digit{result}")
        self.saved()

    def saved(self) -> None:
        expect(self.page.get_by_test_id("sign-status")).to_contain_text(re.compile("saved"))

    def sign(self) -> None:
        self.page.keyboard.press("Control+Enter")
        expect(self.page.get_by_test_id("sign-box")).to_contain_text("Signed")

    def to_worklist(self) -> None:
        self.page.keyboard.press("Escape")
        expect(self.page).to_have_url(re.compile(r"/worklist$"))

    def close(self) -> None:
        assert not self.wrong, self.wrong
        self.context.close()


def device_sends(
    house: House, calling: str, datasets: Sequence, folder: Path, storescu: str | None
) -> None:
    """An ordinary SCU sends over one association: DCMTK's where the machine has it."""
    if storescu is None:
        send(datasets, calling, port=house.dicom_port)
        return
    files = [str(write(dataset, folder)) for dataset in datasets]
    flags = {_PROPOSE.get(str(ds.file_meta.TransferSyntaxUID), "") for ds in datasets} - {""}
    address = ["127.0.0.1", str(house.dicom_port)]
    command = [storescu, *flags, "-aet", calling, "-aec", "TELEREAD", *address, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
