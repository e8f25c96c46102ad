"""Lists: what was vetted by whom and until when; adding, removing, importing, exporting."""

import functools
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import panel_material_ui as pmui

from dashboard.components import LOADING, READY, Choice, Component, Exports, Notice, Table
from dashboard.decision import Decision, entries_of
from dashboard.inputs import Button, Select, TextArea, TextInput
from dashboard.page import Context, Page, panel, schedule, stack, toolbar
from dashboard.typed import host_of, name_of
from dashboard.vetted import DURATIONS, SHOWN_LIST, entry_row, removed
from verdicts import list_formats, names
from verdicts.policy import LIST_NAMES
from verdicts.store import Document, Store

ROWS = 200
MAX_FILE = 8 * 1024 * 1024  # octets
SEARCHED = 300_000  # entries a search looks at
TOLD = 5  # lines that are no names, with the reason of each


class Lists(Page):
    """The vetted lists; `?list=` and `?contains=` choose."""

    path = "/lists"
    title = "Lists"

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.list = query.get("list", "") if query.get("list") in LIST_NAMES else ""
        self.contains = query.get("contains", "")
        self.decision = Decision(self, decided=lambda: schedule(self.reload))
        self.table = Table(
            caption="vetted entries",
            on_message=self._row,
            multiple=self.may("analyst"),
            actions=[{"id": "remove", "label": "Remove", "style": "danger"}] if self.may("analyst") else [],
            columns=[
                {"key": "list", "label": "List", "kind": "list"},
                {"key": "suffix", "label": "Entry", "kind": "name"},
                {"key": "note", "label": "Why", "kind": "text"},
                {"key": "author", "label": "Who", "kind": "text"},
                {"key": "time", "label": "Since", "kind": "time"},
                {"key": "expires", "label": "Until", "kind": "until"},
            ],
        )
        self.names = TextArea(label="Names, one a line", rows=3, max_length=200_000)
        self.refused = Notice(kind="warn", status=READY, visible=False)
        self.importing = Select(
            options={SHOWN_LIST[k]: k for k in LIST_NAMES},
            value="blocklist",
            label="Into",
            width=150,
        )
        self.until = Select(options=list(DURATIONS), value="for good", label="For how long", width=150)
        self.note = TextInput(label="Why", width=300)
        self.file = pmui.FileInput(
            label="Import a file",
            accept=".txt,.csv,.rpz,.hosts,.list,text/plain,text/csv",
            max_file_size=MAX_FILE,
            variant="outlined",
            size="small",
            margin=0,
            disabled=not self.may("analyst"),
        )
        self.file.param.watch(lambda _: schedule(self.import_file), "value")

    def address(self) -> str:
        pairs = {key: value for key, value in (("list", self.list), ("contains", self.contains)) if value}
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    def view(self) -> Any:
        chosen = Choice({"": "all", **{k: SHOWN_LIST[k] for k in LIST_NAMES}}, value=self.list, heading="List")
        search = TextInput(label="Contains", value=self.contains, width=240)
        chosen.param.watch(lambda event: self._changed(list=event.new), "value")
        search.param.watch(lambda event: self._changed(contains=event.new.strip()), "value")
        remove = Button(
            label="Remove chosen",
            icon="delete",
            variant="outlined",
            color="error",
            disabled=not self.may("analyst"),
            on_click=lambda _: schedule(self.remove_chosen),
        )
        add = Button(
            label="Add",
            icon="add",
            variant="contained",
            disabled=not self.may("analyst"),
            on_click=lambda _: schedule(self.add),
        )
        return stack(
            toolbar(
                chosen,
                search,
                remove,
                Exports(
                    files=[[f"/lists/{kind}.csv", SHOWN_LIST[kind]] for kind in LIST_NAMES],
                    status=READY,
                ),
            ),
            self.decision.force.notice,
            panel(self.table),
            panel(
                stack(
                    self.names,
                    self.refused,
                    toolbar(
                        self.importing,
                        self.until,
                        self.note,
                        add,
                        self.file,
                    ),
                )
            ),
            self.decision.place,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table,)

    async def read(self) -> None:
        found, left = await self.context.data.ask(
            ("lists", self.list, self.contains), lambda store: find(store, self.list, self.contains), 0.5
        )
        self.table.param.update(
            rows=[entry_row(entry) for entry in found],
            chosen=[],
            note=left,
            empty=nothing(self.list, self.contains, bool(left)),
        )

    async def add(self) -> None:
        """Put the typed names on a list: as people paste them, or as they stand in a file. Lines that are no names are
        told, and are what is left in the field."""
        # Not `name_of`: to it any octets are a name, such as a client may ask for and nobody means to list.
        lines = self.names.value.splitlines()
        wanted, wrong, left_out = list_formats.parse(map(host_of, lines), "plain")
        if not wanted or left_out > len(wrong):  # of more than are told nobody would know which were left out
            if wrong:
                self._tell_refused(wrong, left_out, "nothing is added")
            else:
                self.context.tell("Type at least one name, one a line.", "error")
            return
        kind, chosen = self.importing.value, [row.name for row in wanted]
        entries = entries_of(chosen, kind, self.until.value, False)
        reply = await self.act(
            self.context.control.add(entries, self.note.value.strip()), f"{len(entries):,} on the {SHOWN_LIST[kind]}"
        )
        if reply is not None:
            self.names.value = "\n".join(lines[problem.line - 1] for problem in wrong)
            placed = [problem._replace(line=line) for line, problem in enumerate(wrong, 1)]
            self._tell_refused(placed, left_out, "left in the field, the rest is added")
            if not wrong:  # else those that are mended have the same reason
                self.note.value = ""  # the next change has a reason of its own
            await self.reload()
            await self.decision.force.follow(int(reply.get("epoch", 0)))
            await self.decision.force.tell_overruled(chosen, kind)

    def _tell_refused(self, wrong: Sequence[list_formats.Problem], count: int, what: str) -> None:
        """Say which lines are no names until the next attempt; nothing where all are."""
        heads = "1 line is no name" if count == 1 else f"{count:,} lines are no names"
        reasons = "; ".join(f"line {problem.line}: {problem.reason}" for problem in wrong[:TOLD])
        more = f"; and {count - TOLD:,} more" if count > TOLD else ""
        self.refused.param.update(text=f"{heads}; {what}. {reasons}{more}.", visible=count > 0)

    async def import_file(self) -> None:
        """Put every name of a file on the chosen list; what is no name is left out and told."""
        if not self.file.value:
            return
        text, length = self.file.value.decode("utf-8", "replace"), DURATIONS[self.until.value]
        expires = None if length is None else int(time.time() * 1000) + length
        kind, note = self.importing.value, self.note.value.strip()
        self.file.value = None
        reply = await self.act(
            self.context.control.import_list(kind, text, note, expires),
            lambda reply: f"{reply['entries']:,} imported into the {SHOWN_LIST[kind]}",
        )
        if reply is None:
            return
        self.note.value = ""
        wrong = [list_formats.Problem(**problem) for problem in reply.get("problems", ())]
        self._tell_refused(wrong, int(reply.get("left_out", 0)), "left out of the import")
        await self.reload()
        await self.decision.force.follow(int(reply.get("epoch", 0)))

    async def remove_chosen(self) -> None:
        """Remove the chosen entries in one commit."""
        await self.remove(self.table.chosen_rows())

    async def remove(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            self.context.tell("Choose entries first.", "info")
            return
        entries = [{"list": row["list"], "suffix": row["suffix"]} for row in rows]
        reply = await self.act(
            self.context.control.remove(entries, "removed on the lists page"),
            functools.partial(removed, len(entries)),
        )
        if reply is not None:
            await self.reload()
            await self.decision.force.follow(int(reply.get("epoch", 0)))

    def _changed(self, **values: str) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.show(LOADING)
        self.context.go(self.address())
        schedule(self.reload)

    def _row(self, message: dict[str, Any]) -> None:
        if message.get("action") == "remove":
            schedule(lambda: self.remove([message["row"]]))


def nothing(kind: str, contains: str, left: bool) -> str:
    """What to say where a list, or all of them, holds no entry that contains a text; `left`: not all were looked at."""
    where = f" on the {SHOWN_LIST[kind]}" if kind else ""
    if contains:
        return f"{'None of these' if left else f'No entry{where}'} contains {names.shown(contains)}."
    return f"No entry{where}. Add names here, or decide on them where you meet them."


def find(store: Store, kind: str, contains: str) -> tuple[list[Document], str]:
    """The first entries of a list, or of all, that contain a text, one that is just this first; and what was left
    out, for a person. Blocks."""
    wanted = contains.strip().lower().replace("[.]", ".").rstrip(".")
    try:
        whole = name_of(contains) if wanted else ""
    except names.BadName:
        whole = ""
    exact = [store.get("list", f"{each}/{whole}") for each in ([kind] if kind else LIST_NAMES)] if whole else []
    rows, looked_at = [document for document in exact if document is not None], 0
    for document in store.scan("list", f"{kind}/" if kind else ""):
        suffix = document.key.partition("/")[2]
        looked_at += 1
        if looked_at > SEARCHED:
            return rows, f"of the first {SEARCHED:,} entries; a whole name finds any"
        if wanted in suffix and suffix != whole:
            if len(rows) == ROWS:
                return rows, f"first {ROWS}; narrow the search for others"
            rows.append(document)
    return rows, ""
