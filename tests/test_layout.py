"""The project's own rules: imports, the graph, and the names that compose, chart, documents and code share."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

import kernels
from pipeline import telemetry
from pipeline.graph import BRANCHES, RETENTION_S, SERVICES, STEPS, TOPICS, WhenFull, writers
from services import settings
from services.settings import PORTS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
SETTING = re.compile(r"\bWATCHWORD_[A-Z_]*[A-Z]\b")
MOUNTED = {"WATCHWORD_POLICIES", "WATCHWORD_AUDIT_KEY"}
"""Files: the chart sets their paths where it mounts them itself, and whoever mounts them otherwise names them."""
COMPOSE_ONLY = {"WATCHWORD_VERSION", "WATCHWORD_POLICY_FOLDER"}
"""Read by Compose itself, for the image's tag."""


class TestImports:
    def test_they_run_one_way(self) -> None:
        linted = subprocess.run(
            [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert linted.returncode == 0, linted.stdout + linted.stderr

    def test_kernels_is_ours(self) -> None:
        """An installed distribution has the same name; a root folder without `__init__.py` would lose to it."""
        assert Path(kernels.__file__ or "").parent == ROOT / "kernels"

    @pytest.mark.parametrize("module", ["pipeline.graph", "pipeline.runtime", "services.settings", "services.cli.main"])
    def test_it_is_quick_to_import(self, module: str) -> None:
        heavy = {
            "torch",
            "av",
            "transformers",
            "onnxruntime",
            "grpc",
            "faster_whisper",
            "ctranslate2",
            "cv2",
            "rapidocr",
            "kafka",
        }
        code = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy!r}))"
        imported = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert imported.stdout.split() == []


class TestGraph:
    def test_every_topic_has_a_type_and_a_policy(self) -> None:
        for name, topic in TOPICS.items():
            assert topic.name == name
            assert topic.message.DESCRIPTOR.full_name.startswith("watchword.v1.")
            assert topic.capacity > 0
            assert isinstance(topic.when_full, WhenFull)

    def test_steps_read_and_write_topics_that_exist(self) -> None:
        for name, step in STEPS.items():
            assert step.name == name
            assert {step.reads, *step.writes} <= TOPICS.keys()
            assert step.service in SERVICES

    def test_every_topic_that_a_step_writes_tells_its_outputs_by_type(self) -> None:
        """The runtime sends a message to the step's topics of its type."""
        for step in STEPS.values():
            for topic in step.writes:
                assert "end" in TOPICS[topic].message.DESCRIPTOR.fields_by_name, f"{step.name} cannot end {topic}"

    def test_nothing_flows_back(self) -> None:
        behind: dict[str, set[str]] = {"audio": set(), "video": set()}
        for step in STEPS.values():
            assert step.reads in behind, f"{step.name} reads {step.reads} before a step above it writes it"
            for topic in step.writes:
                behind.setdefault(topic, set()).update({step.reads}, behind[step.reads])
        assert [topic for topic, sources in behind.items() if topic in sources] == []

    def test_topics_are_written_by_publishers_or_by_steps(self) -> None:
        assert {name for name in TOPICS if not writers(name)} == {"audio", "video", "errors"}
        assert writers("cleared") == set(BRANCHES)

    @pytest.mark.parametrize("step", STEPS)
    def test_its_stage_has_the_shape_of_one(self, step: str) -> None:
        module, _, name = STEPS[step].stage.partition(":")
        stage = getattr(importlib.import_module(module), name)
        assert inspect.isclass(stage)
        assert hasattr(stage, "held")
        for method in ("process", "flush", "close"):
            assert callable(getattr(stage, method, None)), f"{STEPS[step].stage} has no {method}"
        assert next(iter(inspect.signature(stage).parameters)) == "stream_id"

    @pytest.mark.parametrize("service", SERVICES)
    def test_its_service_can_be_built(self, service: str) -> None:
        build = importlib.import_module(f"services.{service}.main").build
        assert inspect.iscoroutinefunction(build)

    def test_each_service_has_a_port(self) -> None:
        assert sorted(PORTS.values()) == list(range(50051, 50051 + len(SERVICES)))
        assert PORTS["gateway"] == 50051


class TestNames:
    def test_the_containers_are_the_services(self) -> None:
        assert {*_compose()["services"]} - {"kafka"} == {*SERVICES}

    @pytest.mark.parametrize("service", SERVICES)
    def test_its_container_serves_it_and_asks_for_its_health(self, service: str) -> None:
        container = _compose()["services"][service]
        assert container["command"] == ["serve", service]
        assert container["healthcheck"]["test"] == ["CMD", "watchword", "health", f"127.0.0.1:{PORTS[service]}"]

    def test_the_components_of_the_chart_are_the_services(self) -> None:
        components = _values()["components"]
        assert {name: component["port"] for name, component in components.items()} == PORTS

    def test_chart_and_compose_expose_the_same_services(self) -> None:
        listening = {name for name, container in _compose()["services"].items() if "WATCHWORD_LISTEN" in container["environment"]}
        assert {name for name, component in _values()["components"].items() if component["exposed"]} == listening

    def test_the_topics_of_the_chart_are_those_of_the_graph(self) -> None:
        template = (ROOT / "charts/watchword/templates/topics.yaml").read_text()
        listed = re.search(r"range \$topic := list ([^}]*)}}", template)
        assert listed is not None
        assert re.findall(r'"([a-z]+)"', listed[1]) == [*TOPICS]
        assert {step.reads for step in STEPS.values()} == {*TOPICS} - {"errors"}

    def test_the_services_are_told_the_same_defaults_everywhere(self) -> None:
        components = _values()["components"]
        told = {**_values()["settings"], **components["captioner"]["settings"], **components["transcriber"]["settings"]}
        for name, container in _compose()["services"].items():
            for setting in container["environment"].keys() & told.keys():
                if setting != "WATCHWORD_KAFKA":
                    assert container["environment"][setting] == told[setting], f"{setting} of {name}"


class TestSettings:
    @pytest.mark.parametrize(
        "path", ["docker-compose.yml", "README.md", "Makefile", *(str(p.relative_to(ROOT)) for p in (ROOT / "charts").rglob("*.*"))]
    )
    def test_every_setting_that_is_named_there_is_read(self, path: str) -> None:
        assert {*SETTING.findall((ROOT / path).read_text())} - COMPOSE_ONLY <= _settings_read()

    def test_every_setting_that_is_read_is_documented_and_no_other(self) -> None:
        documented = re.findall(r"^\| `(WATCHWORD_\w+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
        assert len(documented) == len(set(documented))
        assert set(documented) == _settings_read()

    def test_the_chart_lets_every_setting_be_set_or_sets_it_itself(self) -> None:
        schema = yaml.safe_load((ROOT / "charts/watchword/values.schema.json").read_text())
        settable = set(schema["$defs"]["settings"]["properties"])
        templates = "".join(path.read_text() for path in (ROOT / "charts/watchword/templates").glob("*.tpl"))
        derived = {*SETTING.findall(templates)}
        assert settable & derived == MOUNTED
        assert settable | derived == _service_settings()


class _Environment(dict[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return False

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return default


def _service_settings() -> set[str]:
    environment = _Environment()
    settings.read(environment)
    return environment.asked


def _settings_read() -> set[str]:
    return _service_settings() | {*_options_from_the_environment()}


def _options_from_the_environment() -> Iterator[str]:
    """The `envvar=` of the command line's options."""
    for path in (ROOT / "services/cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "envvar" and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def _compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def _values() -> Any:
    return yaml.safe_load((ROOT / "charts/watchword/values.yaml").read_text())


def test_the_document_about_metrics_has_each_with_its_labels() -> None:
    rows = re.findall(r"^\| `(watchword_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    told = {(name, kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}
    metrics = [each for each in vars(telemetry).values() if isinstance(each, MetricWrapperBase)]
    assert told == {
        (each._name + ("_total" if isinstance(each, Counter) else ""), type(each).__name__.lower(), each._labelnames, each._documentation)
        for each in metrics
    }


def test_the_chart_keeps_records_as_long_as_the_graph_says() -> None:
    values = yaml.safe_load((ROOT / "charts/watchword/values.yaml").read_text(encoding="utf-8"))
    assert values["topics"]["retentionMs"] == RETENTION_S * 1000
