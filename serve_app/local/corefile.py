"""The Corefile of `verdict up`, as text (contract 6 is its *verdict* stanza)."""

from serve_app.local.options import LOOPBACK, Home, Options

VERDICT_TIMEOUT = "500ms"  # a laptop that has just started everything is slow once; upstream is asked meanwhile
# While the upstream is away, an error of each query would fill the disk with the names that were asked for.
GATHERED, UNREACHED = "30s", "^((dial|read|write) (udp|tcp) |no healthy proxies)"

# The built-in zone: addresses of RFC 5737 and RFC 3849, which lead nowhere. Every other name has an address too, so
# that a generated name is answered and can be seen to be flagged.
KNOWN = {
    "wikipedia.org": ("198.51.100.10", "2001:db8::10"),
    "python.org": ("198.51.100.11", "2001:db8::11"),
    "debian.org": ("198.51.100.12", "2001:db8::12"),
    "coredns.io": ("198.51.100.13", "2001:db8::13"),
    "example.com": ("198.51.100.20", "2001:db8::20"),
    "example.net": ("198.51.100.21", "2001:db8::21"),
    "example.org": ("198.51.100.22", "2001:db8::22"),
}
OTHERS = ("192.0.2.1", "2001:db8::1")
TTL_S = 60


class BadPath(ValueError):
    """A path that no Corefile can name."""


def corefile(options: Options, home: Home, upstream: str | None) -> str:
    """The whole Corefile; `upstream` None means the built-in zone."""
    return f"""# Written by `verdict up` at each start.
.:{options.dns_port} {{
    bind {LOOPBACK}
    errors {{
        consolidate {GATHERED} "{UNREACHED}" error show_first
    }}
    verdict http://{LOOPBACK}:{options.http_port} {{
        token {quoted(home.resolver_token)}
        resolver local
        mode {options.mode}
        timeout {VERDICT_TIMEOUT}
    }}
    cache 300
{indented(forwarding(upstream) if upstream else built_in_zone())}
}}
"""


def forwarding(upstream: str) -> str:
    """What passes queries on to a nameserver."""
    return f"forward . {upstream}"


def built_in_zone() -> str:
    """What answers without any upstream: the known names with all below them, then every other name."""
    blocks = [block for zone, (v4, v6) in KNOWN.items() for block in (answer("A", zone, v4), answer("AAAA", zone, v6))]
    blocks += [answer("A", ".", OTHERS[0]), answer("AAAA", ".", OTHERS[1])]
    soa = f". {TTL_S} IN SOA built-in.invalid. nobody.invalid. 1 3600 600 86400 {TTL_S}"
    return "\n".join([*blocks, f'template IN ANY . {{\n    rcode NOERROR\n    authority "{soa}"\n}}'])


def answer(qtype: str, zone: str, address: str) -> str:
    """One *template* block; CoreDNS takes the first whose zone and type fit."""
    return f'template IN {qtype} {zone} {{\n    answer "{{{{ .Name }}}} {TTL_S} IN {qtype} {address}"\n}}'


def quoted(path: object) -> str:
    """A path as one Corefile token, whose parser knows a backslash only before a quote. Raises `BadPath`."""
    text = str(path)
    plain = not text.startswith('"') and not any(c.isspace() or c == "#" for c in text)
    if "{$" in text or "{%" in text or not plain and ('\\"' in text or text.endswith("\\")):
        raise BadPath(f"{text}: cannot be named in a Corefile; choose another folder")
    return text if plain else '"' + text.replace('"', '\\"') + '"'


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())
