"""A Chromium, and pages of it that note what goes wrong in them."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium():
    """Where the system's browser is; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
async def browser():
    path = chromium()
    if path is None:
        pytest.skip("no browser: apt-get install chromium, or say where with CHROMIUM=path")
    api = pytest.importorskip("playwright.async_api", reason="no playwright: make browser-test")
    async with api.async_playwright() as playwright:
        # root has no sandbox; the pages are our own
        running = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        await running.close()


@pytest.fixture
async def page(browser):
    """Opens pages; in the end none of them has complained."""
    complaints, contexts = [], []

    async def open_page(url, *, dark=False, width=1280, height=900, quiet=True):
        """Open the page at an address; where it is not quiet, its console is not listened to."""
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        opened = await context.new_page()
        if quiet:
            opened.on("console", lambda told: complaints.append(f"{told.type}: {told.text}"))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("requestfailed", lambda request: complaints.append(request.url))
        await opened.goto(url)
        await opened.wait_for_selector("#slots tr")
        return opened

    yield open_page
    # what is still under way ends with the page, and is no complaint
    found = list(complaints)
    for context in contexts:
        await context.close()
    assert found == []
