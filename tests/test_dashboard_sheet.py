"""A sheet: what reaches the browser of its components, and what comes back."""

import asyncio
import json
from typing import Any

import panel as pn
import pytest

from dashboard.components import READY, Choice, Notice, Notices, Table
from dashboard.frame import Frame
from dashboard.inputs import Button, Select, TextInput
from dashboard.page import columns, panel, stack
from dashboard.sheet import PROPERTIES, Sheet, text_of

pytestmark = pytest.mark.anyio


def sent(sheet: Sheet) -> dict[str, Any]:
    """What the browser has of each component, by number."""
    return {number: said for at in range(PROPERTIES) for number, said in json.loads(sheet.property(at)).items()}


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_the_tree_says_where_each_component_belongs() -> None:
    button = pn.widgets.Button()
    sheet = Sheet(stack(Notice(text="one"), columns(panel(Table()), panel(button), least=300)))
    [outer] = json.loads(sheet.tree)
    assert outer["kind"] == "stack"
    notice, row = outer["children"]
    assert notice["module"] == "notice"
    assert sent(sheet)[str(notice["number"])]["values"]["text"] == "one"
    assert [child["children"][0].get("module", "slot") for child in row["children"]] == ["table", "slot"]
    assert row["children"][0]["style"].startswith("flex: 1 1 300px")
    assert sheet.slots == [button]


async def test_changes_of_one_turn_are_sent_once_and_alone() -> None:
    tables = [Table() for _ in range(PROPERTIES)]
    sheet = Sheet(*tables)
    model = Frame(Sheet(), sheet, dark=False, sidebar_open=True, on_dark=lambda dark: None).model.data.sidebar[0]
    changes: list[str] = []
    for at in range(PROPERTIES):
        model.data.on_change(f"p{at}", lambda name, old, new: changes.append(name))
    tables[2].rows = [{"key": "a.example.org"}]
    tables[2].status = READY
    await turn()
    assert changes == ["p2"]
    assert json.loads(model.data.p2)["2"]["values"]["rows"] == [{"key": "a.example.org"}]
    tables[2].rows = [{"key": "a.example.org"}]
    await turn()
    assert len(changes) == 1


async def test_a_persons_choice_reaches_the_page_and_does_not_come_back() -> None:
    choice = Choice({"": "all", "open": "open"})
    heard: list[str] = []
    choice.param.watch(lambda event: heard.append(event.new), "value")
    sheet = Sheet(choice)
    sheet._handle_msg({"number": 0, "set": {"value": "open", "heading": "<b>"}, "count": 1})
    await turn()
    assert heard == ["open"] and choice.heading == ""  # a browser sets what is a person's to set, nothing else
    choice.options = [["open", "open"]]
    await turn()
    assert sent(sheet)["0"]["taken"] == 1  # by which the browser knows that its choice is in


async def test_a_message_reaches_its_component() -> None:
    got: list[Any] = []
    sheet = Sheet(Notice(), Table(on_message=got.append))
    sheet._handle_msg({"number": 1, "message": {"action": "select", "index": 0}})
    assert got == [{"action": "select", "index": 0}]


def test_what_a_browser_cannot_read_as_json_does_not_reach_it() -> None:
    assert text_of({"loss": [0.5, float("nan")], "up": float("inf")}) == '{"loss": [0.5, null], "up": null}'
    assert text_of("\ud800") == '"\\ud800"'


async def test_an_input_reaches_the_browser_as_what_is_shown_and_comes_back_as_its_value() -> None:
    choice = Select(label="For how long", options={"a day": 86_400, "for good": None}, value=None)
    sheet = Sheet(choice, Select(options=[10, 20], value=10), TextInput(label="Why"))
    assert [sent(sheet)[at]["values"]["value"] for at in "012"] == ["for good", "10", ""]
    assert sent(sheet)["0"]["values"]["options"] == ["a day", "for good"]
    sheet._handle_msg({"number": 0, "set": {"value": "a day", "label": "<b>"}, "count": 1})
    assert choice.value == 86_400 and choice.label == "For how long"
    sheet._handle_msg({"number": 0, "set": {"value": "a year"}, "count": 2})  # none of its options
    assert choice.value == 86_400


async def test_a_button_that_is_off_does_nothing_whatever_a_browser_says() -> None:
    pressed: list[Any] = []
    button = Button(label="Enforce", on_click=pressed.append, disabled=True)
    sheet = Sheet(button)
    sheet._handle_msg({"number": 0, "message": {"action": "click"}})
    assert pressed == []
    button.disabled = False
    sheet._handle_msg({"number": 0, "message": {"action": "click"}})
    assert len(pressed) == 1


def test_a_component_of_panels_has_a_model_while_its_page_is_shown() -> None:
    field = pn.widgets.TextInput()
    frame = Frame(Sheet(), Sheet(), dark=False, sidebar_open=True, on_dark=lambda dark: None)
    frame.show(Sheet(field))
    [page] = frame.model.data.main
    assert [model.ref["id"] for model, _ in field._models.values()] == [child.ref["id"] for child in page.data.slots]
    frame.show(Sheet())
    assert not field._models and frame.model.data.main != [page]


def test_two_tabs_share_no_value() -> None:
    one, other = (Frame(Sheet(), Sheet(), False, True, lambda dark: None).model for _ in range(2))
    assert {model.ref["id"] for model in one.references()}.isdisjoint(model.ref["id"] for model in other.references())
    one.data.theme_config["light"] = {}
    assert other.data.theme_config["light"]


def test_each_notice_has_a_number_of_its_own_and_old_ones_go() -> None:
    notices = Notices()
    for number in range(9):
        notices.tell(f"<b>{number}</b>", "success")
    assert [told["number"] for told in notices.told] == [5, 6, 7, 8, 9]
    assert notices.told[-1] == {"number": 9, "text": "<b>8</b>", "kind": "success"}
