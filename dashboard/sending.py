"""What Panel 1.9 holds back while a browser's socket is busy, and would leave unsent.

Messages that meet a busy socket wait for a task of `panel.io.document`. Two such tasks share one mark that messages
wait: the first that is done takes it away, and the other, whose messages still wait, then goes without sending them.
They went with the next change: a page whose answers were known already, told in two messages within a millisecond,
said that it was loading until then.
"""

from bokeh.document import Document
from panel.io import document as panel_document

_dispatch = panel_document._dispatch_msgs


async def _dispatch_all(document: Document) -> None:
    await _dispatch(document)
    if document in panel_document._WRITE_MSGS and document not in panel_document._WRITE_BLOCK:
        panel_document._WRITE_BLOCK[document] = True
        panel_document._dispatch_write_task(document, _dispatch_all, document)


def send_all() -> None:
    """Have every message sent, in this process, from now on."""
    panel_document._dispatch_msgs = _dispatch_all
