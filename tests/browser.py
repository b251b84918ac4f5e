"""Chromium, driven by WebDriver: what the tests of pages need of it."""

import base64
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from needs import need
from waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
WIDE = (1440, 900)
SCRIPT_S = 120
WATCH_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
"""


@contextmanager
def browser(profile: Path, *more_flags: str) -> Iterator["Browser"]:
    """A browser of its own. Skips where there is none."""
    need(CHROMIUM and DRIVER, "Chromium and its driver (Debian: `chromium`, `chromium-driver`)")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, *more_flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(SCRIPT_S)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """One tab."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.command("Page.enable")
        self.command("Network.enable")
        self.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH_VIOLATIONS)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def open(self, address: str, *, size: tuple[int, int] = WIDE, theme: str = "light") -> None:
        """A fresh visit: nothing remembered, no old messages."""
        width, height = size
        self.connect()
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.command("Storage.clearDataForOrigin", origin=address, storageTypes="local_storage")
        self.driver.get(address)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The element's text, seen or not."""
        return str(self.run("return document.querySelector(arguments[0]).textContent.trim()", selector))

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
        return list(self.run(script, selector))

    def until(self, selector: str, *, count: int = 1) -> None:
        """Waits until at least `count` elements are there."""
        until(lambda: len(self.all(selector)) >= count)

    def drop(self, file: Path, at: tuple[int, int] = (700, 400)) -> None:
        """Drags a file over the page and lets it go, as the desktop would."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.command("Input.dispatchDragEvent", type=kind, x=at[0], y=at[1], data=data)

    def paste(self, png: bytes) -> None:
        """Puts a picture on the clipboard and presses Ctrl+V."""
        self.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        self.command("Page.bringToFront")
        self.driver.execute_async_script(
            """
            const [data, done] = arguments;
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const item = new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) });
            navigator.clipboard.write([item]).then(() => done(null), (error) => done(String(error)));
            """,
            base64.b64encode(png).decode(),
        )
        key = {"key": "v", "code": "KeyV", "windowsVirtualKeyCode": 86, "modifiers": 2}
        self.command("Input.dispatchKeyEvent", type="keyDown", commands=["paste"], **key)
        self.command("Input.dispatchKeyEvent", type="keyUp", **key)

    def press(self, key: str, code: int, text: str = "") -> None:
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, text=text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    @contextmanager
    def held(self, pattern: str) -> Iterator[None]:
        """Inside the block, requests to such addresses do not leave the browser."""
        self.command("Fetch.enable", patterns=[{"urlPattern": pattern}])
        try:
            yield
        finally:
            self.command("Fetch.disable")

    def disconnect(self) -> None:
        self._set_network(offline=True)

    def connect(self) -> None:
        self._set_network(offline=False)

    def _set_network(self, *, offline: bool) -> None:
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.command("Network.emulateNetworkConditions", offline=offline, **limits)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and breaches of the content security policy, since it was asked last."""
        entries = self.driver.get_log("browser")
        told = [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
        return told + list(self.run("return window.violations?.splice(0) ?? []"))

    def accessibility(self, axe: str) -> list[str]:
        """axe-core's serious and critical findings."""
        found: str = self.driver.execute_async_script(
            axe + "\nconst [done] = arguments;\n"
            "const found = axe.run(document, { resultTypes: ['violations'] });\n"
            "found.then(({ violations }) => done(JSON.stringify(violations)));"
        )
        return [line for violation in json.loads(found) for line in _lines(violation)]


def _lines(violation: dict[str, Any]) -> Sequence[str]:
    if violation["impact"] not in ("serious", "critical"):
        return []
    return [f"{violation['id']}: {node['html'][:120]} {node['failureSummary'][:300]}" for node in violation["nodes"]]
