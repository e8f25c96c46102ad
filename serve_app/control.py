"""Contract 7, the control API: mounted beside the resolvers' routes."""

from starlette.routing import BaseRoute

from serve_app.context import Context


def routes(context: Context) -> list[BaseRoute]:
    """The routes of the control API."""
    return []
