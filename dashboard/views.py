"""Saved views: a page with its filters under a name, kept through the control API, listed below the navigation."""

from typing import Any

from dashboard.client import Control
from dashboard.components import Nav
from dashboard.data import Data, Failure
from dashboard.page import act

NAME = 60  # characters; the control API's bound


class SavedViews:
    """The views of everybody, a person's own first; saves and removes the person's own."""

    def __init__(self, nav: Nav, data: Data, control: Control, tell: Any) -> None:
        self._nav, self._data, self._control, self._tell = nav, data, control, tell

    async def read(self) -> None:
        """Read the views; while the store is away those that are shown stay."""
        try:
            documents = await self._data.documents("view", keep=0)
        except Failure:
            return
        self._nav.views = view_rows([document.body or {} for document in documents], self._control.user)

    async def save(self, name: str, address: str) -> None:
        """Keep the page shown under a name; the person's view of that name is replaced."""
        name = " ".join(name.replace("/", " ").split())[:NAME]
        if not name:
            self._tell("Give the view a name first.", "info")
            return
        await self._change(self._control.save_view(name, address), f"Saved: {name}")

    async def forget(self, name: str) -> None:
        """Remove the person's view of that name."""
        await self._change(self._control.forget_view(name), f"Removed: {name}")

    async def _change(self, doing: Any, done: str) -> None:
        if await act(self._tell, doing, done) is not None:
            await self.read()


def person_of(author: str) -> str:
    """The person among those who signed: the control API puts the token's name behind it, in brackets
    (`serve_app.control_calls.author_of`)."""
    return author.rpartition(" (")[0] or author


def view_rows(bodies: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    """Views as the navigation shows them: name, address, author, and whether they are the person's own."""
    rows = []
    for body in bodies:
        person = person_of(str(body.get("author", "")))
        name, address = str(body.get("name", "")), str(body.get("address", "/"))
        rows.append({"name": name, "address": address, "author": person, "mine": person == user})
    return sorted(rows, key=lambda row: (not row["mine"], row["author"], row["name"].lower()))
