"""A tab on the playground: what a person does in it, and whatever goes wrong there."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Response

BAD_STATUS = 400


class Visit:
    """Collects page errors, console errors, failed requests and bad answers in ``troubles``."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.troubles: list[str] = []
        self.requests: list[str] = []
        #: Event streams that were opened, also by the browser itself.
        self.streams = 0
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        page.on("console", self._on_console)
        page.on("requestfailed", self._on_failed)
        page.on("response", self._on_response)
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address: str) -> None:
        """Go there and wait until the group is shown."""
        self.page.goto(address)
        self.page.locator("#link[data-state=good]").wait_for()

    def choose(self, name: str) -> None:
        """Let somebody else speak."""
        self.page.locator(".chip", has_text=name).click()

    def say(self, name: str, text: str) -> "Locator":
        """Let *name* say something with Enter; gives the row of their bubble."""
        self.choose(name)
        row = self.rows(text, ".member").nth(self.rows(text, ".member").count())
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")
        row.wait_for()
        return row

    def rows(self, text: str, kind: str = "") -> "Locator":
        """The rows of the chat with this text."""
        return self.page.locator(f".row{kind}", has_text=text)

    def wait_for_answer(self, row: "Locator") -> None:
        """Wait until the question in this row is answered and the answer is sent."""
        row.locator(".status", has_text="已回答").wait_for()

    def select(self, row: "Locator") -> None:
        """Show the way of the message in this row."""
        row.locator(".bubble").click()

    def make_trouble(self, key: str) -> None:
        """Switch a fault on, or all off with ``none``."""
        with self.page.expect_response(lambda response: response.url.endswith("/_sim/faults")):
            self.page.select_option("#fault", key)

    def stations(self) -> dict[str, str]:
        """Label and time of every station shown, in order."""
        found = self.page.locator(".station").evaluate_all(
            "rows => rows.map(row => [row.querySelector('.label').textContent,"
            " row.querySelector('.ms').textContent])"
        )
        return dict(found)

    def facts(self) -> dict[str, str]:
        """The facts below the stations."""
        found = self.page.locator("#facts > div").evaluate_all(
            "rows => rows.map(row => [row.children[0].textContent, row.children[1].textContent])"
        )
        return dict(found)

    def overflows(self) -> bool:
        """Whether the page can be scrolled sideways."""
        wide: bool = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide

    def _on_console(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"console: {message.text}")

    def _on_failed(self, request: "Request") -> None:
        # A closing tab aborts its event stream.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"request failed: {request.url} {request.failure}")

    def _on_response(self, response: "Response") -> None:
        self.streams += "/_sim/events" in response.url
        if response.status >= BAD_STATUS:
            self.troubles.append(f"HTTP {response.status}: {response.url}")
