"""The chart: its values are closed, and what it renders is what Kubernetes takes."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline.graph import SERVICES, STEPS, TOPICS
from pipeline.safety.policy_file import parse
from services.settings import PORTS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts/watchword"
HELM = shutil.which("helm")
COMPOSE = shutil.which("docker-compose")
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not here: .ci/tools brings it")
needs_compose = pytest.mark.skipif(COMPOSE is None, reason="docker-compose is not here: .ci/tools brings it")

Document = dict[str, Any]


def values() -> Document:
    loaded: Document = yaml.safe_load((CHART / "values.yaml").read_text())
    return loaded


def schema() -> Document:
    loaded: Document = json.loads((CHART / "values.schema.json").read_text())
    return loaded


def render(*arguments: str, release: str = "watchword") -> list[Document]:
    assert HELM is not None
    rendered = subprocess.run([HELM, "template", release, CHART, *arguments], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def container_of(deployment: Document) -> Document:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Document = container
    return found


class TestValues:
    def test_the_defaults_keep_to_the_schema(self) -> None:
        jsonschema.validate(values(), schema())

    @pytest.mark.parametrize(
        "place",
        [
            "",
            "image",
            "settings",
            "tls",
            "apiKey",
            "modelKey",
            "auditKey",
            "database",
            "topics",
            "components",
            "components.gateway",
            "components.memory.storage",
            "components.safety.resources",
        ],
    )
    def test_an_unknown_key_is_refused(self, place: str) -> None:
        changed = values()
        target = changed
        for part in filter(None, place.split(".")):
            target = target[part]
        target["surprise"] = "x"
        with pytest.raises(jsonschema.ValidationError, match="surprise"):
            jsonschema.validate(changed, schema())

    def test_the_store_has_one_owner(self) -> None:
        changed = values()
        changed["components"]["memory"]["replicas"] = 2
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, schema())
        changed["components"]["memory"]["replicas"] = 0
        changed["components"]["gateway"]["replicas"] = 2
        jsonschema.validate(changed, schema())

    def test_a_store_in_postgresql_may_have_several_owners(self) -> None:
        changed = values()
        changed["database"]["secretName"] = "watchword-database"
        del changed["components"]["memory"]["storage"]
        changed["components"]["memory"]["replicas"] = 3
        jsonschema.validate(changed, schema())

    def test_a_service_cannot_be_left_out(self) -> None:
        changed = values()
        del changed["components"]["safety"]
        with pytest.raises(jsonschema.ValidationError, match="safety"):
            jsonschema.validate(changed, schema())

    def test_the_schema_knows_the_services(self) -> None:
        assert set(schema()["properties"]["components"]["properties"]) == {*SERVICES}

    def test_every_value_is_explained(self) -> None:
        lines = (CHART / "values.yaml").read_text().splitlines()
        assert [line for before, line in pairwise(["", *lines]) if re.match(r"\w", line) and not before.startswith("#")] == []


@needs_helm
class TestRendering:
    def test_helm_finds_nothing_to_lint(self) -> None:
        linted = subprocess.run([str(HELM), "lint", "--strict", CHART], capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--set", "topics.create=true"),
            ("--set", "imagePullSecrets={a,b},nodeSelector.disk=ssd,components.memory.storage.storageClassName=fast"),
        ],
        ids=["defaults", "topics", "placement"],
    )
    def test_kubernetes_takes_it(self, arguments: tuple[str, ...]) -> None:
        for document in render(*arguments):
            if not document["apiVersion"].startswith("kafka.strimzi.io/"):
                kubernetes_validate.validate(document, "1.33", strict=True)

    def test_an_unknown_value_fails_the_install(self) -> None:
        rendered = subprocess.run([str(HELM), "template", CHART, "--set", "surprise=1"], capture_output=True, text=True, check=False)
        assert rendered.returncode != 0
        assert "surprise" in rendered.stderr

    def test_each_service_is_a_deployment(self) -> None:
        deployments = of_kind(render(), "Deployment")
        assert {name: container_of(each)["args"] for name, each in deployments.items()} == {
            f"watchword-{service}": ["serve", service] for service in SERVICES
        }

    def test_pods_keep_to_the_restricted_standard(self) -> None:
        for name, deployment in of_kind(render(), "Deployment").items():
            pod, container = deployment["spec"]["template"]["spec"], container_of(deployment)
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert pod["automountServiceAccountToken"] is False, name
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name

    def test_every_probe_asks_the_services_own_health(self) -> None:
        for service, port in PORTS.items():
            container = container_of(of_kind(render(), "Deployment")[f"watchword-{service}"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe]["exec"]["command"] == ["watchword", "health", f"127.0.0.1:{port}"]

    def test_what_listens_beyond_its_pod_has_tls_and_a_key(self) -> None:
        documents = render()
        services = of_kind(documents, "Service")
        assert set(services) == {"watchword-gateway", "watchword-memory"}
        for name, deployment in of_kind(documents, "Deployment").items():
            told = _environment(deployment)
            if name in services:
                assert told["WATCHWORD_LISTEN"].startswith("0.0.0.0:")
                assert {"WATCHWORD_TLS_CERTIFICATE", "WATCHWORD_TLS_KEY", "WATCHWORD_TLS_CA"} <= told.keys()
                assert told["WATCHWORD_API_KEY"] == {"secretKeyRef": {"name": "watchword-api-key", "key": "api-key"}}
            else:
                assert told["WATCHWORD_LISTEN"].startswith("127.0.0.1:")
                assert "WATCHWORD_API_KEY" not in told

    def test_a_store_in_postgresql_comes_from_its_secret_and_needs_no_volume(self) -> None:
        wanted = ("database.secretName=pg", "components.memory.storage=null", "components.memory.replicas=2")
        objects = render(*(part for each in wanted for part in ("--set", each)))
        memory = of_kind(objects, "Deployment")["watchword-memory"]
        container = memory["spec"]["template"]["spec"]["containers"][0]
        (store,) = [each for each in container["env"] if each["name"] == "WATCHWORD_STORE"]
        assert store["valueFrom"]["secretKeyRef"] == {"name": "pg", "key": "address"}
        assert memory["spec"]["replicas"] == 2
        assert not of_kind(objects, "PersistentVolumeClaim")

    def test_the_gateway_asks_the_memory_of_its_own_release(self) -> None:
        documents = render(release="cinema")
        told = _environment(of_kind(documents, "Deployment")["cinema-watchword-gateway"])
        host, _, port = told["WATCHWORD_MEMORY"].partition(":")
        assert of_kind(documents, "Service")[host]["spec"]["ports"][0]["port"] == int(port)

    def test_a_service_selects_the_pods_of_its_deployment(self) -> None:
        documents = render()
        for name, service in of_kind(documents, "Service").items():
            labels = of_kind(documents, "Deployment")[name]["spec"]["template"]["metadata"]["labels"]
            assert service["spec"]["selector"].items() <= labels.items()

    def test_what_single_streams_are_asked_is_a_file_of_the_transcriber(self) -> None:
        rule = '[[stream]]\nmatch = "radio-*"\nlanguage = "de"\n'
        documents = render("--set-json", f"streams={json.dumps(rule)}")
        (config,) = of_kind(documents, "ConfigMap").values()
        assert config["data"] == {"streams.toml": rule}
        kubernetes_validate.validate(config, "1.33", strict=True)
        deployments = of_kind(documents, "Deployment")
        told = {name for name, deployment in deployments.items() if "WATCHWORD_STREAMS" in _environment(deployment)}
        assert told == {"watchword-transcriber"}
        deployment = deployments["watchword-transcriber"]
        kubernetes_validate.validate(deployment, "1.33", strict=True)
        (mounted,) = [mount for mount in container_of(deployment)["volumeMounts"] if mount["name"] == "streams"]
        assert _environment(deployment)["WATCHWORD_STREAMS"] == f"{mounted['mountPath']}/streams.toml"
        assert of_kind(render(), "ConfigMap") == {}

    def test_what_is_judged_is_a_file_of_those_who_judge_that_changes_under_them(self) -> None:
        shipped = (ROOT / "pipeline/safety/policies.yaml").read_text()
        documents = render("--set-json", f"policies={json.dumps(shipped)}")
        (config,) = of_kind(documents, "ConfigMap").values()
        kubernetes_validate.validate(config, "1.33", strict=True)
        assert parse(config["data"]["policies.yaml"]).of("s") == parse(shipped).of("s")
        deployments = of_kind(documents, "Deployment")
        told = {name for name, deployment in deployments.items() if "WATCHWORD_POLICIES" in _environment(deployment)}
        assert told == {"watchword-safety", "watchword-memory"}
        for name in told:
            kubernetes_validate.validate(deployments[name], "1.33", strict=True)
            (mounted,) = [mount for mount in container_of(deployments[name])["volumeMounts"] if mount["name"] == "policies"]
            assert _environment(deployments[name])["WATCHWORD_POLICIES"] == f"{mounted['mountPath']}/policies.yaml"
            # A mounted file of its own, or pods made anew, would not take a change up while they run.
            assert "subPath" not in mounted
            assert "annotations" not in deployments[name]["spec"]["template"]["metadata"]
        assert of_kind(render(), "ConfigMap") == {}

    def test_the_audit_key_is_a_secret_of_those_who_keep_records(self) -> None:
        deployments = of_kind(render("--set", "auditKey.secretName=audit"), "Deployment")
        told = {name: _environment(deployment).get("WATCHWORD_AUDIT_KEY") for name, deployment in deployments.items()}
        assert {name for name, value in told.items() if value} == {"watchword-safety", "watchword-memory"}
        assert told["watchword-memory"] == "/etc/watchword/audit/audit-key"
        kubernetes_validate.validate(deployments["watchword-memory"], "1.33", strict=True)
        volumes = deployments["watchword-memory"]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "audit-key", "secret": {"secretName": "audit", "defaultMode": 0o440}} in volumes

    def test_only_the_transcriber_is_told_the_key_of_its_model(self) -> None:
        assert "WATCHWORD_MODEL_KEY" not in _environment(of_kind(render(), "Deployment")["watchword-transcriber"])
        deployments = of_kind(render("--set", "modelKey.secretName=speech"), "Deployment")
        told = {name: _environment(deployment).get("WATCHWORD_MODEL_KEY") for name, deployment in deployments.items()}
        assert told.pop("watchword-transcriber") == {"secretKeyRef": {"name": "speech", "key": "api-key"}}
        assert set(told.values()) == {None}

    def test_no_secret_is_rendered(self) -> None:
        assert of_kind(render("--set", "topics.create=true"), "Secret") == {}

    def test_the_topics_are_those_of_the_graph_and_the_steps_progress(self) -> None:
        topics = of_kind(render("--set", "topics.create=true,settings.WATCHWORD_TOPIC_PREFIX=cinema."), "KafkaTopic")
        progress = {f"cinema.{step.reads}.progress" for step in STEPS.values()}
        assert set(topics) == {f"cinema.{name}" for name in TOPICS} | progress
        for name, topic in topics.items():
            assert topic["spec"]["topicName"] == name
            assert topic["spec"]["partitions"] == 6
            assert ("cleanup.policy" in topic["spec"]["config"]) == (name in progress)

    def test_the_notes_name_what_the_user_has_to_make(self) -> None:
        assert HELM is not None
        shown = subprocess.run(
            [HELM, "install", "watchword", CHART, "--dry-run=client"], capture_output=True, text=True, check=False, env=_no_cluster()
        )
        assert shown.returncode == 0, shown.stderr
        for word in ("watchword-tls", "watchword-api-key", "watchword-gateway, watchword-memory and 127.0.0.1"):
            assert word in shown.stdout


@needs_compose
class TestCompose:
    def test_it_is_valid_and_starts_kafka_first(self, tmp_path: Path) -> None:
        config = _compose("WATCHWORD_API_KEY=secret", tmp_path)
        assert config.returncode == 0, config.stderr
        services = yaml.safe_load(config.stdout)["services"]
        assert set(services) == {"kafka", *SERVICES}
        for service in SERVICES:
            assert services[service]["depends_on"] == {"kafka": {"condition": "service_healthy"}}

    def test_without_a_key_it_says_how_to_make_one(self, tmp_path: Path) -> None:
        config = _compose("", tmp_path)
        assert config.returncode != 0
        assert ".ci/secrets" in config.stderr

    def test_a_folder_of_ones_own_has_the_policies(self, tmp_path: Path) -> None:
        for settings, source in (("", str(ROOT / "pipeline/safety")), ("\nWATCHWORD_POLICY_FOLDER=/srv/policies", "/srv/policies")):
            services = yaml.safe_load(_compose(f"WATCHWORD_API_KEY=secret{settings}", tmp_path).stdout)["services"]
            for name in ("safety", "memory"):
                (mounted,) = [each for each in map(_mount, services[name]["volumes"]) if each[1] == "/etc/watchword/policies"]
                assert mounted == (source, "/etc/watchword/policies", True)
                assert services[name]["environment"]["WATCHWORD_POLICIES"] == "/etc/watchword/policies/policies.yaml"
        assert (ROOT / "pipeline/safety/policies.yaml").is_file()

    def test_only_loopback_is_published(self, tmp_path: Path) -> None:
        services = yaml.safe_load(_compose("WATCHWORD_API_KEY=secret", tmp_path).stdout)["services"]
        published = {name: [str(port) for port in service["ports"]] for name, service in services.items() if "ports" in service}
        assert published == {"gateway": ["127.0.0.1:50051:50051/tcp", "127.0.0.1:8080:8080/tcp"], "kafka": ["127.0.0.1:9094:9094/tcp"]}


def _compose(settings: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / ".env").write_text(settings)
    command = [str(COMPOSE), "--file", str(ROOT / "docker-compose.yml"), "--env-file", str(folder / ".env"), "config"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})


def _mount(volume: str | Document) -> tuple[str, str, bool]:
    """Source, target and whether it is read only; releases of docker-compose print these as one text or as a mapping."""
    if isinstance(volume, str):
        source, target, *mode = volume.split(":")
        return source, target, mode == ["ro"]
    return volume["source"], volume["target"], volume.get("read_only", False)


def _environment(deployment: Document) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container_of(deployment)["env"]}


def _no_cluster() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
