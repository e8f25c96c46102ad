"""Contract 7, the control API: mounted beside the resolvers' routes, one module a resource.

A module has its answers as types too: handlers return them, and the OpenAPI document is made of them. Times in them are
Unix milliseconds unless a field says otherwise.
"""

from starlette.routing import BaseRoute

from serve_app import (
    control_audit,
    control_incidents,
    control_jobs,
    control_lists,
    control_models,
    control_policy,
    control_status,
    control_tokens,
    control_vetting,
    control_views,
)
from serve_app.context import Context
from serve_app.control_calls import mounted
from serve_app.control_desk import Desk
from serve_app.operations import Operation

RESOURCES = (
    control_lists, control_policy, control_models, control_jobs, control_tokens, control_vetting, control_incidents,
    control_status, control_views, control_audit,
)  # fmt: skip


def operations() -> list[Operation]:
    """Every call of the control API."""
    return [operation for resource in RESOURCES for operation in resource.operations()]


def routes(context: Context) -> list[BaseRoute]:
    """The routes of the control API."""
    desk = Desk(context)
    return [mounted(desk, operation) for operation in operations()]
