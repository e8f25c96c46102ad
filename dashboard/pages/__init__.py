"""The pages: one file a page, each a class built anew whenever a person goes there."""

from dashboard.page import Page
from dashboard.pages.audit import Audit
from dashboard.pages.clients import Clients
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.health import Health
from dashboard.pages.incidents import Incidents
from dashboard.pages.lists import Lists
from dashboard.pages.lookup import Lookup
from dashboard.pages.models import Models
from dashboard.pages.names import Names
from dashboard.pages.overview import Overview
from dashboard.pages.queries import Queries
from dashboard.pages.vetting import Vetting

ICONS: dict[type[Page], str] = {
    Overview: "space_dashboard",
    Lookup: "search",
    Queries: "list_alt",
    Names: "leaderboard",
    Vetting: "fact_check",
    Incidents: "report",
    Clients: "devices",
    Enforcement: "gavel",
    Lists: "playlist_add_check",
    Models: "model_training",
    Health: "monitor_heart",
    Audit: "history",
}

NAVIGATION = [{"path": page.path, "label": page.title, "icon": icon} for page, icon in ICONS.items()]
PAGES: dict[str, type[Page]] = {page.path: page for page in ICONS}
