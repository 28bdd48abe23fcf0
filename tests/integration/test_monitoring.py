"""The files of docs/monitoring: only metrics that exist, and what promtool says of them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.metrics import Metrics
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside
from tests.integration.test_metrics import samples, scraped

FOLDER = Path(__file__).resolve().parents[2] / "docs/monitoring"
#: Made by Prometheus itself.
SYNTHETIC = {"up", "ALERTS"}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def promtool(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run it in the folder; *given* is what it reads."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed on this machine (Debian's package prometheus)")
    return subprocess.run(
        [program, *arguments],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def dashboard() -> dict[str, Any]:
    """As Grafana gets it."""
    found: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    """All that show something."""
    return [one for one in dashboard()["panels"] if one["type"] != "row"]


def queries() -> list[str]:
    """Every expression of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def alerts() -> list[dict[str, Any]]:
    """Every rule."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt (PyYAML)")
    content = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def named(expression: str) -> set[str]:
    """Names of metrics in an expression."""
    return set(re.findall(r"\b(?:bridge|process)_\w+|\bup\b|\bALERTS\b", expression))


def real() -> set[str]:
    """Names of all samples that a process may tell, those of histograms among them."""
    found: set[str] = set()
    for one in Metrics(version="1").registry.collect():
        found.add(one.name + ("_total" if one.type == "counter" else ""))
        if one.type == "histogram":
            found |= {f"{one.name}_{part}" for part in ("bucket", "count", "sum")}
    return found


def matchers(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric with the labels by which it is chosen; those that Prometheus adds are left out."""
    for name, inside in re.findall(r"\b((?:bridge|process)_\w+)\{([^}]*)\}", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) - {"job", "instance"}


def test_every_metric_of_dashboard_and_rules_exists() -> None:
    """A renamed one must not leave an empty panel or a rule that never fires."""
    used = set().union(*map(named, queries()), *(named(rule["expr"]) for rule in alerts()))

    assert len(used) > 25
    assert used - real() - SYNTHETIC == set()


def test_every_metric_of_the_bridge_is_on_the_dashboard() -> None:
    """Except counters that a rule watches or that only explain another."""
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for one in queries() for name in named(one)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in real()}
    unseen = {name for name in families - shown if name.startswith("bridge_")}

    assert unseen == {
        "bridge_callbacks_unrecorded_total",
        "bridge_dify_limit_share",
        "bridge_figures_unavailable_total",
    }


@INSIDE_EMBEDDED
async def test_labels_of_dashboard_and_rules_are_those_of_the_metrics(inside: StartInside) -> None:
    """By what a process tells that has answered one message."""
    async with inside(DIFY_STREAMING_ENABLED="true") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        found = await scraped(bridge)
    labels: dict[str, set[str]] = {}
    for sample in found:
        name, _, rest = sample.partition("{")
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))

    chosen = [one for query in queries() for one in matchers(query)]
    chosen += [one for rule in alerts() for one in matchers(rule["expr"])]
    wrong = [(name, used - labels[name]) for name, used in chosen if name in labels]

    assert len(chosen) > 40
    assert [one for one in wrong if one[1]] == []


def test_every_panel_is_named_in_chinese_has_a_query_and_the_chosen_source() -> None:
    """And none lies on another."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert CHINESE.search(panel["title"]) or panel["title"] in ("Redis", "CPU", "Dify")
        assert panel["targets"], panel["title"]
        assert all(target["expr"].strip() for target in panel["targets"])
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        at = panel["gridPos"]
        cells = {
            (at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells

    ids = [one["id"] for one in dashboard()["panels"]]
    assert len(panels()) > 30
    assert len(ids) == len(set(ids))


def test_dashboard_asks_for_nothing_at_its_import_and_names_no_server() -> None:
    """The source is a variable; ids of one installation would make it useless in another."""
    found = dashboard()

    assert found["id"] is None
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "job"]
    assert "://" not in json.dumps(found)


def test_every_rule_says_what_is_wrong_what_to_do_and_how_urgent_it_is() -> None:
    """In Chinese; each is tested by name."""
    tests = (FOLDER / "alerts_test.yml").read_text("utf-8")
    rules = alerts()

    assert len(rules) > 20
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert CHINESE.search(rule["annotations"]["summary"])
        assert CHINESE.search(rule["annotations"]["action"])
        assert f'alertname="{rule["alert"]}"' in tests, rule["alert"]


def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    """As the page tells the operator to check them."""
    for arguments in (
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr


def test_promtool_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Grafana's own variables are filled in as it does."""
    rules = [
        {"record": f"query_{number}", "expr": _filled(query)}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")

    done = promtool("check", "rules", str(file))

    assert done.returncode == 0, done.stdout + done.stderr


def _filled(query: str) -> str:
    filled = query.replace("$__rate_interval", "1m").replace("$job", ".*")
    assert "$" not in filled
    return filled


@INSIDE_EMBEDDED
async def test_promtool_finds_nothing_wrong_with_the_metrics_themselves(
    inside: StartInside,
) -> None:
    """Names, units, help texts."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        exposition = bridge.runtime.metrics.exposition()

    done = promtool("check", "metrics", given=exposition.decode())

    assert samples(exposition)
    assert done.returncode == 0, done.stdout + done.stderr
