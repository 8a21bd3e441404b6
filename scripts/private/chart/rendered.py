"""What `helm template` makes of the chart, and its pods as local processes see them."""

import base64
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "helm/mtasts"
HELM = ROOT / "target/tools/helm/helm"
WORKLOADS = ("Deployment", "StatefulSet")


class Refused(Exception):
    """Helm said no."""


def helm(*arguments):
    """Runs it, and gives what it printed."""
    done = subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def template(*values, chart=CHART, release="mtasts", kube="1.35.0"):
    """The objects that an installation with these files of values makes, hooks included."""
    arguments = [argument for path in values for argument in ("--values", path)]
    text = helm("template", release, chart, "--namespace", "mail", "--kube-version", kube, *arguments)
    return [made for made in yaml.safe_load_all(text) if made]


def pod_spec(made):
    """The pod of an object that has one; None."""
    if made["kind"] in (*WORKLOADS, "Job"):
        return made["spec"]["template"]["spec"]
    return made["spec"] if made["kind"] == "Pod" else None


def pod_labels(made):
    if made["kind"] in (*WORKLOADS, "Job"):
        return made["spec"]["template"]["metadata"]["labels"]
    return made["metadata"]["labels"]


def role(made):
    return made["metadata"]["labels"].get("app.kubernetes.io/component", "")


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def find(objects, kind, name):
    """The one of this kind and name."""
    for made in objects:
        if made["kind"] == kind and made["metadata"]["name"] == name:
            return made
    raise KeyError(f"there is no {kind} {name}")


class Machine:
    """A folder in which a pod's volumes are real: what containers see at /etc/mtasts they find in folder/etc/mtasts."""

    def __init__(self, objects, secrets, config_maps=None):
        self.objects, self.secrets, self.config_maps = objects, secrets, config_maps or {}

    def _files(self, volume):
        """{path: octets} of a volume."""
        if "configMap" in volume:
            wanted = volume["configMap"]
            data = self.config_maps.get(wanted["name"])
            data = data if data is not None else find(self.objects, "ConfigMap", wanted["name"])["data"]
            items = wanted.get("items") or [{"key": key, "path": key} for key in data]
            return {item["path"]: data[item["key"]].encode() for item in items}
        files = {}
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                files[item["path"]] = self.secrets[source["secret"]["name"]][item["key"]].encode()
        return files

    def prepare(self, spec, container, folder, listen=None):
        """Lays the volumes out below the folder, and gives the arguments and the environment of the container. `listen`
        stands for the pod's own address: configurations name the unspecified one."""
        folder = pathlib.Path(folder).resolve()
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]

        def local(text):
            for place in sorted(places, key=len, reverse=True):
                text = text.replace(place, f"{folder}{place}")
            return text.replace("0.0.0.0", listen) if listen else text

        for mount in container.get("volumeMounts", []):
            place = pathlib.Path(f"{folder}{mount['mountPath']}")
            place.mkdir(parents=True, exist_ok=True)
            for path, octets in self._files(volumes.get(mount["name"], {})).items():
                file = place / path
                file.parent.mkdir(parents=True, exist_ok=True)
                # Only the configuration speaks of places.
                file.write_bytes(local(octets.decode()).encode() if path.endswith(".toml") else octets)
                file.chmod(0o600)
        environment = {}
        for variable in container.get("env", []):
            value = variable.get("value")
            if value is None:
                wanted = variable["valueFrom"]["secretKeyRef"]
                value = self.secrets[wanted["name"]][wanted["key"]]
            environment[variable["name"]] = local(value) if "://" not in value else value
        return [local(argument) for argument in container["args"]], environment


def random_base64(octets=32):
    with open("/dev/urandom", "rb") as source:
        return base64.b64encode(source.read(octets)).decode()
