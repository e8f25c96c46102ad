"""What an operator sets: one frozen object, filled from the command line."""

from pathlib import Path

import msgspec

from dashboard.accounts import Role


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """See `python -m dashboard --help`."""

    store_url: str
    control_url: str = ""
    token_file: Path | None = None
    port: int = 8050
    address: str = "127.0.0.1"
    password_file: Path | None = None
    behind_proxy: bool = False
    allow_hosts: list[str] = []
    store_workers: int = 4
    processes: int = 1
    max_tabs: int = 1000
    oauth_issuer: str = ""
    oauth_provider: str = ""
    oauth_key: str = ""
    oauth_secret_file: Path | None = None
    oauth_redirect_uri: str = ""
    oauth_extra: dict[str, str] = {}
    role_claim: str = "groups"
    role_groups: dict[str, Role] = {}
    default_role: Role | None = None
