"""A headless Chromium that is told what to do through a pair of pipes, by the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_PATIENCE = 60.0
_FLAGS = (
    "headless=new", "disable-gpu", "remote-debugging-pipe", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-dev-shm-usage", "disable-extensions", "disable-sync", "hide-scrollbars",
)  # fmt: skip


class Browser:
    """One page in a browser of its own; what goes wrong in it is kept.

    Attributes
    ----------
    complaints : list of str
        Messages of the console, exceptions, and what was refused or asked for from outside.
    """

    def __init__(self, profile: Path):
        assert PROGRAM is not None
        command_end, self._write = os.pipe()
        self._read, answer_end = os.pipe()
        flags = [f"--{flag}" for flag in _FLAGS] + [f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        # it reads descriptor 3 and writes descriptor 4
        wired = f'exec "$@" 3<&{command_end} 4>&{answer_end}'
        self._process = subprocess.Popen(
            ["bash", "-c", wired, "bash", PROGRAM, *flags],
            pass_fds=(command_end, answer_end), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(command_end)
        os.close(answer_end)
        self._rest, self._last = b"", 0
        self._events: list[str] = []
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def show(self, page: Path, width: int, height: int, dark: bool = False) -> None:
        """Load a file, and wait until it is there."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self._ask("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take(self._message())

    def run(self, script: str) -> Any:
        """Run a script in the page, and return its value."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, target: Path) -> bytes:
        """Take a picture of what is in the window."""
        data = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        target.write_bytes(data)
        return data

    def close(self) -> None:
        """End the browser."""
        try:
            self._ask("Browser.close")
            self._process.wait(_PATIENCE)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._take(answer)

    def _take(self, event: dict[str, Any]) -> None:
        method, details = event.get("method", ""), event.get("params", {})
        self._events.append(method)
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(details))
        url = details.get("request", {}).get("url", "file:")
        if method == "Network.requestWillBeSent" and not url.startswith(("file:", "data:")):
            self.complaints.append(f"asked for {url}")

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], max(end - time.monotonic(), 0.0))[0], "no answer"
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser is gone"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))
