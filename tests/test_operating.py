"""Files for operators: the scrape file, the alert rules and the dashboard name metrics that exist.

`plugin/verdict/operating_test.go` checks the plugin's own against what it exposes.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray.serve
import yaml

from tests.readme import ROOT

FOLDER = ROOT / "docs" / "operating"
NAME = re.compile(r"\bray_([a-z_]+)")
SUFFIXES = ("_total", "_bucket", "_sum", "_count")
MADE = re.compile(r'(?:Counter|Gauge|Histogram)\(\s*"(verdict_[a-z_]+)"')
SERVES = re.compile(r'"(serve_[a-z_]+)"')


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return panels + [rule["expr"] for rule in alerts()]


def metrics() -> set[str]:
    """What this project's deployments and the installed Ray Serve count, without Ray's prefix."""
    ours = [
        path.read_text(encoding="utf-8")
        for folder in ("serve_app", "deployments")
        for path in (ROOT / folder).rglob("*.py")
    ]
    serve = [path.read_text(encoding="utf-8") for path in Path(ray.serve.__file__).parent.rglob("*.py")]
    return {name for text in ours for name in MADE.findall(text)} | {
        name for text in serve for name in SERVES.findall(text)
    }


def test_every_metric_of_the_cluster_exists() -> None:
    known = metrics()
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert any(name.startswith("serve_") for name in used), "the dashboard shows the plugin beside Ray Serve"
    for name in used:
        bare = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
        assert name in known or bare in known, f"ray_{name}"


def test_every_metric_of_our_own_is_on_the_dashboard() -> None:
    shown = (FOLDER / "grafana.json").read_text(encoding="utf-8")
    missing = sorted(name for name in metrics() if name.startswith("verdict_") and f"ray_{name}" not in shown)
    assert not missing


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_closed(expression: str) -> None:
    for opened, closed in ("()", "{}", "[]"):
        assert expression.count(opened) == expression.count(closed)


@pytest.mark.parametrize("expression", expressions())
def test_no_mean_is_made_of_what_ray_calls_a_sum(expression: str) -> None:
    """Ray adds up the middles of a histogram's buckets: a frame of one name would count as half a name."""
    assert not re.search(r"\bray_[a-z_]+_sum\b", expression)


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["expr"] and target["legendFormat"], panel["title"]


def test_every_alert_says_what_it_means() -> None:
    for rule in alerts():
        assert rule["alert"].startswith("Verdict") and rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_is_one_of_its_instance_which_it_names(rule: dict[str, Any]) -> None:
    """All replicas of a cluster are one target: each would have an alert. Of several clusters none may hide another."""
    assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
    assert not re.search(r"\b(?:sum|max|min) *\(", rule["expr"])
    if "ray_" in rule["expr"]:
        assert re.match(r"(?:sum|max) by \(instance\b", rule["expr"])


def test_the_scrape_file_reads_the_alerts_and_both_sides() -> None:
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(FOLDER / name).is_file() for name in scrape["rule_files"]] == [True]
    jobs = {job["job_name"] for job in scrape["scrape_configs"]}
    assert jobs == {"coredns", "verdict"}
    unseen = next(rule["expr"] for rule in alerts() if rule["alert"] == "VerdictNotScraped")
    assert set(re.findall(r'job=~"([a-z|]+)"', unseen)[0].split("|")) == jobs


def test_somebody_is_told_of_an_alert() -> None:
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    [told] = scrape["alerting"]["alertmanagers"]
    assert told["static_configs"][0]["targets"]
