"""A headless Chromium, driven by its DevTools protocol over a pipe: no port, no driver program.

A Page records what a report must not do: errors on the console, exceptions, violations of the
page's own policy, and requests for anything but the file itself.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--disable-default-apps", "--disable-dev-shm-usage",
         "--metrics-recording-only", "--mute-audio", "--hide-scrollbars", "--use-mock-keychain",
         "--password-store=basic", "--force-color-profile=srgb", "--remote-debugging-pipe"]
PATIENCE = 120  # seconds for one answer: the machine may be busy


def chromium():
    """Its path, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    return None


class BrowserError(Exception):
    pass


class Browser:
    """One process with a fresh profile; close() ends it and all that it started."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="browser-")
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()
        # The protocol wants descriptors 3 and 4; ours may have those numbers, so by way of a shell.
        command = ["/bin/sh", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "sh", chromium(),
                   *FLAGS, "--user-data-dir=" + self.home, "about:blank"]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "HEAPTALLY_"))}
        env.update(HOME=self.home, DBUS_SESSION_BUS_ADDRESS="/dev/null")
        self.process = subprocess.Popen(command, env=env, pass_fds=(to_read, to_write),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.buffer = b""
        self.last = 0
        self.events = []

    def _receive(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.from_browser], [], [], left)[0]:
                raise BrowserError("the browser does not answer")
            data = os.read(self.from_browser, 1 << 20)
            if not data:
                raise BrowserError(f"the browser ended with status {self.process.wait()}")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def command(self, method, session=None, **parameters):
        """Sends one command; its result. Events that come before are kept in `events`."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, session, event):
        """The parameters of the next event of that name."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for i, message in enumerate(self.events):
                if message.get("method") == event and message.get("sessionId") == session:
                    return self.events.pop(i)["params"]
            self.events.append(self._receive(deadline))

    def close(self):
        try:
            self.command("Browser.close")
        except (BrowserError, OSError):
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        shutil.rmtree(self.home, ignore_errors=True)


class Page:
    """A tab of its own that shows one file."""

    def __init__(self, browser, path, width=1280, height=900, dark=False):
        self.browser = browser
        self.path = os.path.abspath(path)
        self.target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.command("Target.attachToTarget", targetId=self.target,
                                       flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        self.resize(width, height)
        self.scheme(dark)
        self.call("Page.navigate", url="file://" + self.path)
        browser.wait_for(self.session, "Page.loadEventFired")

    def call(self, method, **parameters):
        return self.browser.command(method, self.session, **parameters)

    def resize(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def scheme(self, dark):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def run(self, script):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{script}: {json.dumps(result['exceptionDetails'])[:800]}")
        return result["result"].get("value")

    def wait(self, script):
        """Until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise BrowserError("waited in vain for " + script)
            time.sleep(0.05)

    def middle_of(self, script):
        """Scrolls an element into view; where its middle is then."""
        return self.run(f"(() => {{ const e = {script}; e.scrollIntoView({{block: 'center', "
                        "behavior: 'instant'}); const r = e.getBoundingClientRect(); "
                        "return [r.x + r.width / 2, r.y + r.height / 2]; })()")

    def click(self, script):
        """A click of the mouse in the middle of the element that an expression gives."""
        x, y = self.middle_of(script)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                      buttons=1 if kind == "mousePressed" else 0, clickCount=1)

    def point(self, script):
        x, y = self.middle_of(script)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def key(self, key, shift=False):
        """A key by its name: "Enter", "ArrowDown", "Tab", " ", "a"."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "Home": 36, "End": 35,
                 "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "modifiers": 8 if shift else 0,
                  "windowsVirtualKeyCode": codes.get(key, 0)}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text,
                  **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        for letter in text:
            self.key(letter)

    def screenshot(self, path, whole=True):
        image = self.call("Page.captureScreenshot", captureBeyondViewport=whole,
                          **({"clip": self._whole()} if whole else {}))
        with open(path, "wb") as out:
            out.write(base64.b64decode(image["data"]))

    def _whole(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def _mine(self, method):
        return [e["params"] for e in self.browser.events
                if e.get("method") == method and e.get("sessionId") == self.session]

    def complaints(self):
        """Errors and warnings of the console, exceptions, violations of the policy."""
        self.run("0")  # what came before has arrived
        found = [json.dumps(p["exceptionDetails"])[:600] for p in self._mine("Runtime.exceptionThrown")]
        found += [p["entry"]["text"] for p in self._mine("Log.entryAdded")
                  if p["entry"]["level"] in ("error", "warning")]
        found += [json.dumps(p["args"])[:600] for p in self._mine("Runtime.consoleAPICalled")
                  if p["type"] in ("error", "warning", "assert")]
        return found

    def requests(self):
        """Addresses that the page asked for, but for what it holds itself (data:)."""
        self.run("0")
        return [p["request"]["url"] for p in self._mine("Network.requestWillBeSent")
                if not p["request"]["url"].startswith("data:")]

    def close(self):
        self.browser.command("Target.closeTarget", targetId=self.target)
