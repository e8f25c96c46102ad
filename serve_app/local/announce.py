"""What `verdict up` says when everything runs."""

from typing import NamedTuple

import httpx

from serve_app.local.options import LOOPBACK, Home, Options
from serve_app.local.prepare import BLOCKED
from serve_app.local.waiting import dashboard_link

# Look made by a machine and belong to nobody; the first that the serving model flags is shown.
GENERATED = ("kxrutmcfwxyiruqvnrrgxybzz.ru", "ttgzrkknbnlbjmlkq.net", "guqygfdtbqyttmkbryzp.ru", "xkq7vzj3wpt9.com")
KNOWN = "wikipedia.org"


class Demonstration(NamedTuple):
    """Names to try, with the action that the cluster really takes on the generated one."""

    known: str
    generated: str
    tier: str
    blocked: str


def demonstration_names(options: Options, home: Home) -> Demonstration:
    """Ask the cluster which of the generated-looking names the serving model flags, and how."""
    if "cluster" not in options.parts:
        return Demonstration(KNOWN, GENERATED[0], "unknown", BLOCKED)
    for name in GENERATED:
        tier = _tier(options, home, name)
        if tier in ("alert", "block"):
            return Demonstration(KNOWN, name, tier, BLOCKED)
    return Demonstration(KNOWN, GENERATED[0], "none", BLOCKED)


def _tier(options: Options, home: Home, name: str) -> str:
    headers = {"Authorization": f"Bearer {home.admin_token.read_text().strip()}", "Verdict-Budget-Ms": "5000"}
    try:
        with httpx.Client(trust_env=False, timeout=6.0) as client:
            reply = client.post(
                f"http://{LOOPBACK}:{options.http_port}/v1/verdicts", json={"names": [name]}, headers=headers
            )
            return str(reply.json()["verdicts"][0].get("tier", "none")) if reply.status_code == 200 else "none"
    except httpx.HTTPError:
        return "none"


def announcement(options: Options, home: Home, names: Demonstration) -> str:
    """The lines to print."""
    lines = ["", "Verdict runs."]
    if "coredns" in options.parts:
        dig = f"dig @{LOOPBACK} -p {options.dns_port}"
        outcome = {
            "alert": "answered, and flagged as malicious",
            "block": "flagged, and blocked" if options.mode == "enforce" else "answered, and flagged as malicious",
            "none": "answered (the serving model does not flag it)",
            "unknown": "as the cluster at that port decides; answered while there is none",
        }[names.tier]
        third = (
            outcome
            if names.tier == "unknown"
            else "blocked, with an Extended DNS Error"
            if options.mode == "enforce"
            else "answered, and flagged"
        )
        if options.mode == "enforce":
            lines.append(
                "Mode enforce: names on the blocklist and names of tier block are blocked, the rest is answered."
            )
        else:
            lines.append("Mode monitor: every name is answered; the log says what enforce would have done.")
        width = max(map(len, (names.known, names.generated, names.blocked)))
        lines += [
            "", "Try:",
            f"  {dig} {names.known:<{width}}   # answered",
            f"  {dig} {names.generated:<{width}}   # {outcome}",
            f"  {dig} {names.blocked:<{width}}   # {third}",
        ]  # fmt: skip
    elif "cluster" in options.parts:
        url = f"http://{LOOPBACK}:{options.http_port}"
        lines += ["", f"Cluster:    {url}, for resolvers with the token in {home.resolver_token}"]
    if "dashboard" in options.parts:
        lines += ["", f"Dashboard:  {dashboard_link(options, home)}"]
    lines += ["", f"State and logs are in {home.path}. Ctrl-C stops everything.", ""]
    return "\n".join(lines)
