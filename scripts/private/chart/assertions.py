"""What must hold of every rendering of the chart. Each assertion takes the objects and yields what is wrong; BREAKERS has,
for each, what breaks it, so that the check proves each time that none of them is blind."""

import copy
import json
import re
import tomllib

from rendered import ROOT, WORKLOADS, containers, find, pod_labels, pod_spec, role

# How long a process takes at most to end.
STOP_DEADLINE = int(re.search(r"STOP_DEADLINE: Duration = Duration::from_secs\((\d+)\)", (ROOT / "crates/app/src/roles.rs").read_text())[1])
# Keys of the configuration with a secret in them (docs/CONFIGURATION.md).
SECRET_KEYS = {"key_ring", "operator_token", "url", "api_url", "worker_url", "edge_url", "intake_url", "secret", "password", "eab_hmac_key", "authorization"}
LOGINS = {"api": "API", "worker": "WORKER", "edge": "EDGE", "nameserver": "EDGE", "intake": "INTAKE"}


def pods(objects):
    for made in objects:
        if spec := pod_spec(made):
            yield f"{made['kind']} {made['metadata']['name']}", made, spec


def of_kind(objects, *kinds):
    return [made for made in objects if made["kind"] in kinds]


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def pods_are_restricted(objects):
    """The Pod Security Standard `restricted`, and a root file system that cannot be written."""
    for name, _, spec in pods(objects):
        pod = spec.get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser") or pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: the pod may be root, or without seccomp"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: shares the node"
        for container in containers(spec):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged") or not own.get("readOnlyRootFilesystem"):
                yield f"{name}/{container['name']}: may gain rights, or write its root"
            capabilities = own.get("capabilities", {})
            low = any(port["containerPort"] < 1024 for port in container.get("ports", []))
            if capabilities.get("drop") != ["ALL"] or capabilities.get("add", []) != (["NET_BIND_SERVICE"] if low else []):
                yield f"{name}/{container['name']}: capabilities are {capabilities}"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{name}/{container['name']}: takes a port of the node"
        allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "ephemeral", "csi", "downwardAPI"}
        for volume in spec.get("volumes", []):
            if not allowed & set(volume):
                yield f"{name}: a volume of a kind that `restricted` does not have: {volume}"


def pods_have_no_token(objects):
    for name, _, spec in pods(objects):
        if spec.get("automountServiceAccountToken") is not False or "serviceAccountToken" in json.dumps(spec.get("volumes", [])):
            yield f"{name}: is given a token of the API server"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: has variables of other Services"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{account['metadata']['name']}: its pods are given a token"


def probes_ask_the_admin_port(objects):
    for made in of_kind(objects, *WORKLOADS):
        for container in pod_spec(made)["containers"]:
            for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
                if container.get(probe, {}).get("httpGet") != {"path": path, "port": "admin"}:
                    yield f"{made['metadata']['name']}: {probe} does not ask {path}"
            if "admin" not in [port["name"] for port in container["ports"]]:
                yield f"{made['metadata']['name']}: has no admin port"


def grace_covers_the_drain(objects):
    drain = configuration(objects).get("edge", {}).get("drain_seconds", 0)
    for made in of_kind(objects, *WORKLOADS):
        spec = pod_spec(made)
        sleep = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if spec["terminationGracePeriodSeconds"] < sleep + drain + STOP_DEADLINE + 5:
            yield f"{made['metadata']['name']}: is killed before it has finished"
        if role(made) != "worker" and sleep < 1:
            yield f"{made['metadata']['name']}: ends while balancers still send to it"


def a_new_pod_serves_before_an_old_one_goes(objects):
    for made in of_kind(objects, "Deployment"):
        if made["spec"]["strategy"].get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{made['metadata']['name']}: {made['spec']['strategy']}"


def images_are_pinned(objects):
    images = {container["image"] for _, _, spec in pods(objects) for container in containers(spec)}
    if len(images) != 1:
        yield f"more than one image: {images}"
    for image in images:
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if not re.search(r"@sha256:[0-9a-f]{64}$", image) and tag in ("", "latest"):
            yield f"{image} is another one tomorrow"


def secrets_stay_in_secrets(objects):
    for made in of_kind(objects, "Secret"):
        yield f"the chart makes a Secret {made['metadata']['name']}: its values would be in the release"
    for made in of_kind(objects, "ConfigMap"):
        if "mtasts.toml" not in made["data"]:
            continue
        for place, key in keys_of(tomllib.loads(made["data"]["mtasts.toml"])):
            if key in SECRET_KEYS and not place.startswith(("service", "zones")) or key in ("secret", "password"):
                yield f"ConfigMap {made['metadata']['name']}: {place}{key}"
    for name, _, spec in pods(objects):
        for container in containers(spec):
            for variable in container.get("env", []):
                if re.search("URL|SECRET|TOKEN|PASSWORD|KEY", variable["name"]) and "secretKeyRef" not in variable.get("valueFrom", {}):
                    yield f"{name}: {variable['name']} is readable"


def keys_of(value, place=""):
    if isinstance(value, dict):
        for key, child in value.items():
            yield place, key
            yield from keys_of(child, f"{place}{key}.")
    elif isinstance(value, list):
        for child in value:
            yield from keys_of(child, place)


def roles_see_their_own_secrets_alone(objects):
    readers = {
        "key-ring": {"api", "worker", "edge", "nameserver"},
        "operator-token": {"api"},
        "mail-password": {"worker"},
        "domain-connect.pem": {"api"},
        "zones/": {"worker"},
        "transfers/": {"nameserver"},
        "dnssec/": {"nameserver"},
        "intake/": {"intake"},
    }
    for made in of_kind(objects, *WORKLOADS):
        spec, name = pod_spec(made), role(made)
        for path in secret_paths(spec):
            if not any(path.startswith(start) and name in roles for start, roles in readers.items()):
                yield f"{name} is given {path}"
        logins = {variable["name"] for variable in spec["containers"][0]["env"] if "DATABASE" in variable["name"]}
        if logins not in ({"MTASTS__DATABASE__URL"}, {f"MTASTS__DATABASE__{LOGINS[name]}_URL"}):
            yield f"{name} logs in by {logins}"


def secret_paths(spec):
    return [
        item["path"]
        for volume in spec.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    ]


def configuration(objects):
    return tomllib.loads(find(objects, "ConfigMap", config_name(objects))["data"]["mtasts.toml"])


def config_name(objects):
    for made in of_kind(objects, *WORKLOADS):
        return next(volume["configMap"]["name"] for volume in pod_spec(made)["volumes"] if volume["name"] == "config")
    raise KeyError("there are no workloads")


def files_that_are_named_are_mounted(objects):
    """Each file below /etc/mtasts that the configuration names is there for the migration, which looks at all of it."""
    text = find(objects, "ConfigMap", config_name(objects))["data"]["mtasts.toml"]
    for made in of_kind(objects, "Job"):
        spec = pod_spec(made)
        there = {f"/etc/mtasts/secrets/{path}" for path in secret_paths(spec)}
        there |= {"/etc/mtasts/trust/ca.pem"} if any(volume["name"] == "trust" for volume in spec["volumes"]) else set()
        for path in set(re.findall(r'"(/etc/mtasts/[^"]+)"', text)):
            # Only its own role reads it, when a client comes.
            if path not in there and not path.startswith("/etc/mtasts/secrets/intake/"):
                yield f"{path} is nowhere"
    for name, _, spec in pods(objects):
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
        for container in containers(spec):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name}: there is no volume {mount['name']}"


def services_lead_to_pods(objects):
    workloads = of_kind(objects, *WORKLOADS)
    for made in of_kind(objects, "Service"):
        name, spec = made["metadata"]["name"], made["spec"]
        behind = [workload for workload in workloads if matches(spec["selector"], pod_labels(workload))]
        if len(behind) != 1:
            yield f"Service {name}: {len(behind)} workloads behind it"
            continue
        ports = {(port["name"], port.get("protocol", "TCP")) for port in pod_spec(behind[0])["containers"][0]["ports"]}
        for port in spec["ports"]:
            if (port["targetPort"], port.get("protocol", "TCP")) not in ports:
                yield f"Service {name}: no port {port['targetPort']} behind it"
        if spec.get("type") in ("LoadBalancer", "NodePort") and spec.get("externalTrafficPolicy") != "Local":
            yield f"Service {name}: clients' addresses are lost"


def pods_listen_where_they_say(objects):
    """A pod's ports are those of the configuration's addresses."""
    config = configuration(objects)
    keys = {
        ("api", "http"): "api.listen",
        ("edge", "https"): "edge.https_listen",
        ("edge", "http"): "edge.http_listen",
        ("nameserver", "dns"): "nameserver.listen",
        ("nameserver", "dns-tcp"): "nameserver.listen",
        ("intake", "smtp"): "intake.smtp_listen",
        ("intake", "https"): "intake.https_listen",
    }
    for made in of_kind(objects, *WORKLOADS):
        for port in pod_spec(made)["containers"][0]["ports"]:
            section, key = keys.get((role(made), port["name"]), "admin.listen").split(".")
            listen = config[section][key]
            for address in [listen] if isinstance(listen, str) else listen:
                if int(address.rpartition(":")[2]) != port["containerPort"]:
                    yield f"{role(made)}: {port['name']} is at {address}"


def everything_is_denied_but_what_is_needed(objects):
    policies = of_kind(objects, "NetworkPolicy")
    closed = [made["spec"]["podSelector"]["matchLabels"] for made in policies if not made["spec"].get("ingress") and not made["spec"].get("egress")]
    for name, made, spec in pods(objects):
        labels = pod_labels(made)
        if not any(matches(selector, labels) for selector in closed):
            yield f"{name}: nothing is denied to it"
        mine = [policy["spec"] for policy in policies if matches(policy["spec"]["podSelector"]["matchLabels"], labels)]
        let_in = {(port["port"], port["protocol"]) for policy in mine for rule in policy.get("ingress", []) for port in rule["ports"]}
        if made["kind"] in WORKLOADS:
            for port in spec["containers"][0]["ports"]:
                if (port["name"], port.get("protocol", "TCP")) not in let_in:
                    yield f"{name}: its port {port['name']} is closed"
        out = {port["port"] for policy in mine for rule in policy.get("egress", []) for port in rule["ports"]}
        if 53 not in out or (made["kind"] != "Pod" and 5432 not in out):
            yield f"{name}: cannot reach DNS or the database"
        if role(made) in ("edge", "nameserver", "intake") and out & {25, 443}:
            yield f"{name}: may talk with the world"
        if role(made) == "worker" and not {25, 443} <= out:
            yield f"{name}: cannot reach MX hosts or the CA"
        for policy in mine:
            for rule in policy.get("ingress", []):
                if any(port["port"] == "admin" for port in rule["ports"]) and not rule.get("from"):
                    yield f"{name}: anybody may read its metrics"


def workloads_are_kept_up(objects):
    budgets, scalers = of_kind(objects, "PodDisruptionBudget"), of_kind(objects, "HorizontalPodAutoscaler")
    for made in of_kind(objects, *WORKLOADS):
        name, spec, labels = made["metadata"]["name"], pod_spec(made), pod_labels(made)
        if not matches(made["spec"]["selector"]["matchLabels"], labels):
            yield f"{name}: does not select its pods"
        if not any(matches(budget["spec"]["selector"]["matchLabels"], labels) for budget in budgets):
            yield f"{name}: no budget for disruptions"
        keys = {constraint["topologyKey"] for constraint in spec.get("topologySpreadConstraints", [])}
        if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{name}: is not spread"
        scaled = [scaler for scaler in scalers if scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": made["kind"], "name": name}]
        if bool(scaled) == ("replicas" in made["spec"]):
            yield f"{name}: two decide on its replicas, or nobody"
    for name, _, spec in pods(objects):
        for container in containers(spec):
            resources = container.get("resources", {})
            if {"cpu", "memory"} - set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
                yield f"{name}/{container['name']}: resources are {resources}"


def scaling_goes_by_metrics_that_exist(objects):
    source = None
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                source = source or "".join(path.read_text() for path in (ROOT / "crates").glob("*/src/**/*.rs"))
                if f'"{metric["pods"]["metric"]["name"]}"' not in source:
                    yield f"{scaler['metadata']['name']}: nobody has the metric {metric['pods']['metric']['name']}"


def monitors_find_the_admin_ports(objects):
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        found = {role(made) for made in of_kind(objects, "Service") if matches(selector, made["metadata"]["labels"])}
        if found != {role(made) for made in of_kind(objects, *WORKLOADS)}:
            yield f"Prometheus finds only {found}"


def hooks_come_first(objects):
    for made in of_kind(objects, "Job"):
        wanted = {made["metadata"]["name"]} | {pod_spec(made)["serviceAccountName"]}
        wanted |= {volume["configMap"]["name"] for volume in pod_spec(made)["volumes"] if volume["name"] == "config"}
        for other in of_kind(objects, "ServiceAccount", "ConfigMap", "Job"):
            hook = other["metadata"].get("annotations", {}).get("helm.sh/hook")
            if other["metadata"]["name"] in wanted and hook != "pre-install,pre-upgrade":
                yield f"{other['kind']} {other['metadata']['name']} is not there yet when the Job runs"


def _first(objects, *kinds, wanted=lambda made: True):
    return next(made for made in objects if made["kind"] in kinds and wanted(made))


def _container(objects, name="edge"):
    return pod_spec(_first(objects, *WORKLOADS, wanted=lambda made: role(made) == name))["containers"][0]


def _edge_files(objects, path):
    spec = pod_spec(_first(objects, *WORKLOADS, wanted=lambda made: role(made) == "edge"))
    next(v for v in spec["volumes"] if v["name"] == "secrets")["projected"]["sources"].append({"secret": {"name": "s", "items": [{"key": "k", "path": path}]}})


def _config(objects, line):
    for made in of_kind(objects, "ConfigMap"):
        if "mtasts.toml" in made["data"]:
            made["data"]["mtasts.toml"] += line


def _policy(objects, name):
    return _first(objects, "NetworkPolicy", wanted=lambda made: role(made) == name)["spec"]


# By assertion: what someone might do to a template. Run on a rendering with everything turned on.
BREAKERS = {
    pods_are_restricted: [
        lambda o: _container(o)["securityContext"].update(readOnlyRootFilesystem=False),
        lambda o: _container(o)["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
        lambda o: _container(o)["ports"][1].update(containerPort=443),
        lambda o: pod_spec(_first(o, "Job"))["securityContext"].pop("seccompProfile"),
        lambda o: pod_spec(_first(o, "Pod")).update(hostNetwork=True),
        lambda o: pod_spec(_first(o, "Job"))["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ],
    pods_have_no_token: [
        lambda o: pod_spec(_first(o, "Job")).pop("automountServiceAccountToken"),
        lambda o: _first(o, "ServiceAccount").pop("automountServiceAccountToken"),
        lambda o: pod_spec(_first(o, "Pod")).pop("enableServiceLinks"),
    ],
    probes_ask_the_admin_port: [lambda o: _container(o)["livenessProbe"]["httpGet"].update(path="/readyz")],
    grace_covers_the_drain: [
        lambda o: pod_spec(_first(o, *WORKLOADS)).update(terminationGracePeriodSeconds=30),
        lambda o: _container(o).pop("lifecycle"),
    ],
    a_new_pod_serves_before_an_old_one_goes: [lambda o: _first(o, "Deployment")["spec"]["strategy"].update(rollingUpdate={})],
    images_are_pinned: [
        lambda o: _container(o).update(image="registry.example.net/mtasts"),
        lambda o: [c.update(image="r.example:5000/mtasts:latest") for _, _, s in pods(o) for c in containers(s)],
    ],
    secrets_stay_in_secrets: [
        lambda o: _config(o, "\n[database]\nurl = 'postgres://u:p@h/d'\n"),
        lambda o: _config(o, "\n[zones.x]\nsecret = 'x'\n"),
        lambda o: _container(o)["env"].append({"name": "MTASTS__REDIS__URL", "value": "redis://:p@h"}),
        lambda o: o.append({"kind": "Secret", "metadata": {"name": "x", "labels": {}}}),
    ],
    roles_see_their_own_secrets_alone: [
        lambda o: _edge_files(o, "operator-token"),
        lambda o: _edge_files(o, "zones/main"),
        lambda o: _container(o)["env"].append({"name": "MTASTS__DATABASE__URL", "value": "x"}),
    ],
    files_that_are_named_are_mounted: [
        lambda o: _config(o, '\n[zones.x]\nsecret_file = "/etc/mtasts/secrets/zones/x"\n'),
        lambda o: _container(o)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
    ],
    services_lead_to_pods: [
        lambda o: _first(o, "Service")["spec"]["selector"].update({"app.kubernetes.io/component": "x"}),
        lambda o: _first(o, "Service")["spec"]["ports"][0].update(targetPort="x"),
        lambda o: _first(o, "Service", wanted=lambda m: m["spec"].get("type") == "LoadBalancer")["spec"].update(externalTrafficPolicy="Cluster"),
    ],
    pods_listen_where_they_say: [lambda o: _container(o, "nameserver")["ports"][-1].update(containerPort=5353)],
    everything_is_denied_but_what_is_needed: [
        lambda o: _policy(o, "").update(podSelector={"matchLabels": {"app.kubernetes.io/component": "edge"}}),
        lambda o: _policy(o, "edge").update(ingress=[]),
        lambda o: _policy(o, "edge")["egress"].append({"ports": [{"port": 443, "protocol": "TCP"}]}),
        lambda o: _policy(o, "worker").update(egress=_policy(o, "edge")["egress"]),
        lambda o: _policy(o, "edge")["ingress"][0].pop("from"),
        lambda o: _policy(o, "migrate").update(egress=[]),
    ],
    workloads_are_kept_up: [
        lambda o: o.remove(_first(o, "PodDisruptionBudget")),
        lambda o: o.remove(_first(o, "HorizontalPodAutoscaler")),
        lambda o: pod_spec(_first(o, *WORKLOADS)).pop("topologySpreadConstraints"),
        lambda o: _container(o)["resources"].pop("limits"),
        lambda o: _first(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(kind="ReplicaSet"),
        lambda o: pod_labels(_first(o, *WORKLOADS)).pop("app.kubernetes.io/instance"),
    ],
    scaling_goes_by_metrics_that_exist: [
        lambda o: _first(o, "HorizontalPodAutoscaler", wanted=lambda m: role(m) == "edge")["spec"]["metrics"][1]["pods"]["metric"].update(name="mtasts_edge_open")
    ],
    monitors_find_the_admin_ports: [lambda o: _first(o, "ServiceMonitor")["spec"]["selector"]["matchLabels"].update({"mtasts/port": "x"})],
    hooks_come_first: [lambda o: _first(o, "ConfigMap", wanted=lambda m: role(m) == "migrate")["metadata"].pop("annotations")],
}


def wrong(objects):
    """Everything that is wrong with a rendering."""
    return [f"{check.__name__}: {problem}" for check in BREAKERS for problem in check(objects)]


def blind(objects):
    """Assertions that do not see what breaks them."""
    for check, breakers in BREAKERS.items():
        for number, breaker in enumerate(breakers, 1):
            broken = copy.deepcopy(objects)
            breaker(broken)
            if not list(check(broken)):
                yield f"{check.__name__} does not see its breaker {number}"
