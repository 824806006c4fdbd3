"""What schemas cannot say of the RayService: ports, labels, security, placement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve.schema import ServeDeploySchema

from wavescope.serving import proxy
from wavescope.serving.command import cluster
from wavescope.settings import Settings, load_settings

Render = Callable[[dict[str, Any]], list[dict[str, Any]]]
Pods = dict[str, dict[str, Any]]


def ray_container(template: dict[str, Any]) -> dict[str, Any]:
    # KubeRay takes the first container for Ray's.
    return template["spec"]["containers"][0]


def ports_of(template: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in ray_container(template)["ports"]}


def environment(template: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item.get("value") for item in ray_container(template)["env"]}


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


def covers(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_head_runs_no_replica_and_opens_what_the_operator_asks_for(
    rayservice: dict[str, Any], pods: Pods
) -> None:
    head = rayservice["spec"]["rayClusterConfig"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert rayservice["spec"]["excludeHeadPodFromServeSvc"] is True
    assert ports_of(pods["head"]) == {
        "gcs-server": 6379,
        "dashboard": 8265,
        "metrics": 8080,
        "serve": 8000,
        "serve-grpc": 9000,
    }


def test_workers_open_the_service_and_metrics_ports_alone(pods: Pods) -> None:
    for name, template in pods.items():
        if name != "head":
            assert ports_of(template) == {"metrics": 8080, "serve": 8000, "serve-grpc": 9000}


def test_ports_agree_between_serve_config_pods_and_ray(
    render: Render, rayservice: dict[str, Any], pods: Pods
) -> None:
    cluster = rayservice["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["metrics-export-port"] == str(ports_of(group["template"])["metrics"])
    moved = one(render({"http": {"port": 8800}, "grpc": {"port": 9900}}), "RayService")
    template = moved["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    assert (ports_of(template)["serve"], ports_of(template)["serve-grpc"]) == (8800, 9900)
    assert ":8800/-/healthz" in ray_container(template)["readinessProbe"]["exec"]["command"][-1]
    assert "port: 8800" in moved["spec"]["serveConfigV2"]


def test_worker_is_ready_when_its_raylet_and_its_proxy_answer(pods: Pods) -> None:
    for name, template in pods.items():
        probe = ray_container(template).get("readinessProbe")
        if name == "head":  # KubeRay's own: a head without a proxy must stay in its Service
            assert probe is None
            continue
        command = probe["exec"]["command"]
        assert command[:2] == ["bash", "-c"]
        assert command[2].count("wget ") == 2
        assert "52365/api/local_raylet_healthz" in command[2]
        assert ":8000/-/healthz" in command[2]
        # Two questions, one after the other, within the probe's own limit.
        assert probe["timeoutSeconds"] >= 2 * 4


def test_services_of_the_namespace_do_not_leak_into_the_environment(pods: Pods) -> None:
    assert {template["spec"]["enableServiceLinks"] for template in pods.values()} == {False}


def test_pods_run_as_nobody_special_on_a_read_only_root(pods: Pods) -> None:
    for template in pods.values():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert template["spec"]["securityContext"]["runAsUser"] > 0
        assert ray_container(template)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_read_only_root_leaves_ray_and_the_caches_places_to_write(pods: Pods) -> None:
    for template in pods.values():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in ray_container(template)["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes)
        for path in ("/tmp", "/cache"):
            assert "emptyDir" in volumes[mounts[path]["name"]]
        for variable in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME"):
            assert environment(template)[variable].startswith("/cache")


def test_autoscaler_is_as_confined_as_ray_itself(
    rayservice: dict[str, Any], scenario: dict[str, Any]
) -> None:
    cluster = rayservice["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["securityContext"] == scenario["securityContext"]
    assert {"name": "tmp", "mountPath": "/tmp"} in cluster["autoscalerOptions"]["volumeMounts"]


def test_auth_mode_stands_in_every_container(
    rayservice: dict[str, Any], pods: Pods, scenario: dict[str, Any]
) -> None:
    mode = scenario["auth"]["mode"]
    cluster = rayservice["spec"]["rayClusterConfig"]
    assert cluster["authOptions"]["mode"] == mode
    for template in pods.values():
        assert environment(template)["RAY_AUTH_MODE"] == mode
    # In token mode KubeRay itself sets it beside the token; given twice it would be a warning at every apply.
    given = {item["name"]: item["value"] for item in cluster["autoscalerOptions"].get("env", [])}
    assert given == ({} if mode == "token" else {"RAY_AUTH_MODE": mode})


def test_only_the_head_holds_a_service_account_token(pods: Pods, objects: list[dict[str, Any]]) -> None:
    account = one(objects, "ServiceAccount")
    for name, template in pods.items():
        assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
        assert template["spec"]["automountServiceAccountToken"] is (name == "head")


def test_pods_mount_the_registry_that_the_serve_config_reads(
    objects: list[dict[str, Any]], serve_config: dict[str, Any], pods: Pods
) -> None:
    config_map = one(objects, "ConfigMap")
    for template in pods.values():
        volume, mount = mounted(template, "/etc/wavescope")
        assert volume["configMap"] == {"name": config_map["metadata"]["name"]}
        for application in serve_config["applications"]:
            assert application["args"]["models_file"] == f"{mount['mountPath']}/models.yaml"
        assert list(config_map["data"]) == ["models.yaml"]


def mounted(template: dict[str, Any], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Volume and mount of a folder, which is read-only and follows its source: a subPath would not."""
    (mount,) = [item for item in ray_container(template)["volumeMounts"] if item["mountPath"] == path]
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    (volume,) = [item for item in template["spec"]["volumes"] if item["name"] == mount["name"]]
    return volume, mount


def test_pods_know_who_may_call(pods: Pods, scenario: dict[str, Any]) -> None:
    for template in pods.values():
        given = environment(template)
        if scenario["noAuth"]:
            assert given["WAVESCOPE_NO_AUTH"] == "true"
            assert "WAVESCOPE_API_KEYS_FILE" not in given
            continue
        assert "WAVESCOPE_NO_AUTH" not in given
        volume, mount = mounted(template, "/etc/wavescope-keys")
        assert volume["secret"]["secretName"] == scenario["keysSecret"]["name"]
        assert volume["secret"]["defaultMode"] == 0o440
        assert template["spec"]["securityContext"]["fsGroup"] > 0  # which may read it
        assert given["WAVESCOPE_API_KEYS_FILE"] == f"{mount['mountPath']}/{scenario['keysSecret']['key']}"


def test_every_pod_has_the_same_store_and_no_password_stands_in_the_object(
    pods: Pods, scenario: dict[str, Any]
) -> None:
    for template in pods.values():
        (store,) = [item for item in ray_container(template)["env"] if item["name"] == "WAVESCOPE_STORE_URL"]
        reference = scenario["store"]["urlSecret"]
        if reference["name"]:
            assert store == {"name": "WAVESCOPE_STORE_URL", "valueFrom": {"secretKeyRef": reference}}
        else:
            assert store == {"name": "WAVESCOPE_STORE_URL", "value": scenario["store"]["url"]}


def test_proxies_of_every_pod_find_what_stands_before_them_and_its_limit(
    pods: Pods, scenario: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for template in pods.values():
        given = environment(template)
        for name in ("WAVESCOPE_MAX_BODY_BYTES", "WAVESCOPE_API_KEYS_FILE", "WAVESCOPE_NO_AUTH"):
            if name in given:
                monkeypatch.setenv(name, given[name])
        assert proxy.environment().items() <= given.items()
        expected = scenario["settings"].get("max_body_bytes", Settings.model_fields["max_body_bytes"].default)
        assert load_settings().max_body_bytes == expected


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_processes_of_every_container_are_as_nice_as_those_of_the_command(rayservice: dict[str, Any]) -> None:
    found = containers(rayservice["spec"]["rayClusterConfig"])
    name = "RAY_worker_niceness"
    said = [[item["value"] for item in one["env"] if item["name"] == name] for one in found]
    assert said == [[cluster.DEFAULTS[name]]] * len(found)


@pytest.mark.parametrize("name", ["RAY_worker_niceness", "FORWARDED_ALLOW_IPS"])
def test_what_the_operator_says_stands_once_in_every_container(render: Render, name: str) -> None:
    spec = one(render({"extraEnv": [{"name": name, "value": "7"}]}), "RayService")["spec"]
    for container in containers(spec["rayClusterConfig"]):
        assert [item["value"] for item in container["env"] if item["name"] == name] == ["7"]


def test_another_model_touches_no_other_and_no_pod(render: Render) -> None:
    """Ray Serve tells by the configuration of an application whether it has to be deployed anew."""

    def applications(*models: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        spec = one(render({"models": list(models)}), "RayService")["spec"]
        found = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"])).applications
        return spec["rayClusterConfig"], {item.name: get_app_code_version(item) for item in found}

    one_model = {"name": "a", "source": "embedded:efficientnet-lite0"}
    other = {"name": "b", "source": "torchvision:resnet50"}
    pods, before = applications(one_model, other)
    for models, changed in (
        ([one_model], {"model-b"}),
        ([one_model, other, {**other, "name": "c"}], {"model-c"}),
        ([one_model, {**other, "weights": "/weights/new.safetensors"}], {"model-b"}),
        ([one_model, {**other, "min_replicas": 0}], {"model-b"}),
    ):
        same_pods, after = applications(*models)
        assert same_pods == pods
        assert {name for name in before | after if before.get(name) != after.get(name)} == changed


def test_selectors_match_the_pods_and_leave_kuberays_labels_alone(
    objects: list[dict[str, Any]], pods: Pods
) -> None:
    policy, budget = one(objects, "NetworkPolicy"), one(objects, "PodDisruptionBudget")
    for name, template in pods.items():
        labels = template["metadata"]["labels"]
        assert covers(policy["spec"]["podSelector"]["matchLabels"], labels)
        assert covers(policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], labels)
        assert covers(budget["spec"]["selector"]["matchLabels"], labels) is (name != "head")
        # KubeRay's head Service selects on its own value of this label.
        assert "app.kubernetes.io/name" not in labels
        for spread in template["spec"].get("topologySpreadConstraints", []):
            assert covers(spread["labelSelector"]["matchLabels"], labels)


def test_network_policy_opens_the_service_to_clients_and_the_dashboard_to_the_operator(
    objects: list[dict[str, Any]], scenario: dict[str, Any]
) -> None:
    rules = one(objects, "NetworkPolicy")["spec"]["ingress"]
    opened = [sorted(port["port"] for port in rule.get("ports", [])) for rule in rules]
    expected = [[], [8000, 9000], [8000, 8265]]
    if scenario["monitoring"]["enabled"]:
        expected.append([8000, 8080])
    assert opened == expected
    assert rules[1].get("from", []) == scenario["networkPolicy"]["clients"]
    for rule in (rules[0], *rules[2:]):
        assert rule["from"]


def test_redis_is_used_where_it_is_named(rayservice: dict[str, Any], scenario: dict[str, Any]) -> None:
    options = rayservice["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions")
    if not scenario["redis"]["address"]:
        assert options is None
        return
    assert options == {
        "redisAddress": "redis.databases.svc.cluster.local:6379",
        "redisUsername": {"value": "wavescope"},
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "wavescope-redis", "key": "password"}}},
    }


def test_two_gateways_can_be_placed_on_different_nodes(
    rayservice: dict[str, Any], serve_config: dict[str, Any]
) -> None:
    (gateway,) = [
        item for item in serve_config["applications"][0]["deployments"] if item["name"] == "Gateway"
    ]
    assert gateway["num_replicas"] >= 2
    assert gateway["max_replicas_per_node"] == 1
    groups = rayservice["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert sum(group["minReplicas"] for group in groups) >= gateway["num_replicas"]


def test_a_gpu_group_asks_for_devices_in_its_own_image(render: Render) -> None:
    group = {
        "minReplicas": 1,
        "maxReplicas": 1,
        "cpu": 8,
        "memory": "32Gi",
        "gpu": 2,
        "image": {"tag": "x-gpu"},
    }
    service = one(render({"workers": {"gpu": group}}), "RayService")
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    containers = {item["groupName"]: ray_container(item["template"]) for item in groups}
    assert containers["gpu"]["image"] == "wavescope:x-gpu"
    assert containers["cpu"]["image"] != "wavescope:x-gpu"
    for kind in ("requests", "limits"):
        assert containers["gpu"]["resources"][kind]["nvidia.com/gpu"] == 2
        assert "nvidia.com/gpu" not in containers["cpu"]["resources"][kind]


def test_pod_monitor_scrapes_ports_that_pods_have(objects: list[dict[str, Any]], pods: Pods) -> None:
    for monitor in (item for item in objects if item["kind"] == "PodMonitor"):
        expressions = monitor["spec"]["selector"]["matchExpressions"]
        assert expressions == [{"key": "ray.io/node-type", "operator": "In", "values": ["head", "worker"]}]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        for template in pods.values():
            assert covers(monitor["spec"]["selector"]["matchLabels"], template["metadata"]["labels"])
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                assert endpoint["port"] in ports_of(template)
        ray, own = monitor["spec"]["podMetricsEndpoints"]
        assert "authorization" not in ray
        assert own["authorization"] == {"credentials": {"name": "prometheus-key", "key": "key"}}
