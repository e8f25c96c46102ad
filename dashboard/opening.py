"""What opening a page costs the server, lowered where Panel does for each visitor what once would do, or nobody needs.

A page's HTML is the same for everybody but for a token; its session begins with its socket, in whichever process that
reaches. So it makes no difference which of several processes answered for the HTML.
"""

import contextlib
import functools
import gc
from collections.abc import Callable
from typing import Any, ClassVar, cast

import panel as pn
import panel_material_ui as pmui
from bokeh.core.has_props import HasProps, _default_resolver
from bokeh.core.property.descriptors import PropertyDescriptor
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.document import document
from bokeh.model import Model
from bokeh.server.urls import per_app_patterns
from bokeh.settings import settings
from bokeh.util.token import generate_jwt_token, generate_session_id
from panel.io import handlers
from panel.io.resources import Resources
from panel.io.server import DocHandler, server_html_page_for_session
from panel.io.state import set_curdoc
from panel_material_ui.base import MaterialComponent
from param import descendents
from tornado.web import HTTPError, authenticated

from dashboard.frame import describe
from dashboard.places import SocketHandler, refused

# Of panel-material-ui, what the pages use as components of their own; inputs are drawn by `dashboard.inputs`.
USED = (
    pmui.Alert,
    pmui.Dialog,
    pmui.FileInput,
    pmui.Page,
)
GARBAGE = (50_000, 20, 100)  # Python's thresholds: a page is some thousand objects that live as long as its tab
all_values = HasProps.query_properties_with_values  # Bokeh's own
_TOKEN = "TOKEN-OF-THE-SESSION"
# How Bokeh lets whoever asks choose the session, which would be whoever's it was made for first.
CHOSEN = {"bokeh-session-id", "bokeh-token"}


class PageHandler(DocHandler):  # type: ignore[misc]
    """The HTML of all pages: what the first visitor's session was given, with another token."""

    known: ClassVar[dict[str, list[str]]] = {}  # by colour scheme: what stands before the token, and after

    @authenticated
    async def get(self, *_: Any, **__: Any) -> None:
        if CHOSEN & {*self.request.arguments, *map(str.lower, self.request.headers)}:
            raise HTTPError(400, "a session is made for a page, and chosen by nobody")
        if refused(self):
            return
        scheme = "dark" if self.get_cookie("scheme") == "dark" else "light"
        if scheme not in self.known:
            self.known[scheme] = (await self._rendered()).split(_TOKEN)
        app = self.application
        token = generate_jwt_token(
            generate_session_id(secret_key=app.secret_key, signed=app.sign_sessions),
            secret_key=app.secret_key,
            signed=app.sign_sessions,
            expiration=app.session_token_expiration,
            extra_payload=self._generate_token_payload(),
        )
        self.set_header("Cache-Control", "no-store")  # a token lasts for an hour, and belongs to one person
        self.set_header("Content-Type", "text/html")
        self.set_header("X-Frame-Options", "DENY")
        self.write(token.join(self.known[scheme]))

    head = get

    async def _rendered(self) -> str:
        session = await self.get_session()
        document = session.document
        with set_curdoc(document):
            describe(document, self.get_cookie("scheme") == "dark")
            return str(
                server_html_page_for_session(
                    session,
                    resources=Resources.from_bokeh(self.application.resources()),
                    title=document.title,
                    token=_TOKEN,
                    template=document.template,
                    template_variables=document.template_variables,
                )
            )


def lower_the_cost() -> None:
    """Before a server is made; a second time changes nothing."""
    # Pages and their sockets. Bokeh's `autoload.js`, which nothing here uses, would make a session of a chosen name for
    # whoever follows a link to it, and who made the link could share it, with the role of the one who followed.
    per_app_patterns[:] = [(r"/ws", SocketHandler), (r"/?", PageHandler)]
    _forget_unused()
    settings.perform_document_validation = False  # looks for layouts that cannot be, of which there are none
    settings.perform_error_diagnostics = False  # would examine each callback's signature, and warn of layouts
    # Each callback of each session would be noted in one list, which nothing here shows.
    type(pn.state)._add_busy_event = lambda state, event: None
    type(pn.state)._remove_busy_event = lambda state, event: None
    # For a development server, which starts anew what changed.
    handlers.record_modules = lambda **_: contextlib.nullcontext()
    _remember_classes()
    gc.set_threshold(*GARBAGE)


@functools.cache
def _remember_classes() -> None:
    """Find out once what Bokeh finds out anew for each property of each model, though it depends on the class alone;
    and do not ask a model for its defaults only to leave them out."""
    props, descriptor, documents = cast(Any, HasProps), cast(Any, PropertyDescriptor), cast(Any, document)
    once: Any = functools.cache
    documents.is_DataModel = once(documents.is_DataModel)
    props._overridden_defaults = classmethod(once(props._overridden_defaults.__func__))
    # Of a model it looks only at what its class overrides.
    unstable = once(descriptor.has_unstable_default)
    descriptor.has_unstable_default = lambda self, model: unstable(self, type(model))

    def changed(model: Any, query: Callable[[Any], bool], *, include_defaults: bool = True, **how: Any) -> Any:
        if include_defaults or model.themed_values():
            return all_values(model, query, include_defaults=include_defaults, **how)
        made, there = model._unstable_default_values, model._property_values
        return {
            name: (there if name in there else made)[name]
            for name in model.properties(_with_props=True)
            if (name in there or (name in made and not isinstance(made[name], PropertyValueContainer)))
            and query(model.lookup(name))
        }

    props.query_properties_with_values = changed


def _forget_unused() -> None:
    """Take out of Bokeh's list of models what no page uses: a fourth of opening a page went into describing all of it.

    Bokeh sends each browser the definition of each such model that it knows; panel-material-ui brings 120.
    """
    unused = set(descendents(MaterialComponent)) - set(USED)
    names = {component._data_model.__qualified_model__ for component in unused}
    for name in names & set(Model.model_class_reverse_map):
        _default_resolver.remove(Model.model_class_reverse_map[name])  # type: ignore[attr-defined]
