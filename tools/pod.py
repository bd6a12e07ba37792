"""The pod of k8s/ as two containers of a Docker engine: arguments, variables, mounts, rights and order are the manifests'."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from engine import docker, inspect
from harness import ROOT, free_port

NAME = "streamvault-0"
API, METRICS = 8000, 9847


class Pod:
    """Does what a kubelet would; the ConfigMap has a stream that needs nobody."""

    def __init__(self, configuration):
        objects = yaml.safe_load_all(subprocess.run(
            ["kubectl", "kustomize", str(ROOT / "k8s")], check=True, capture_output=True, text=True).stdout)
        [workload] = [one for one in objects if one["kind"] == "StatefulSet"]
        self.spec = workload["spec"]["template"]["spec"]
        self.claims = [claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]]
        self.folder = Path(tempfile.mkdtemp())
        self.memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
        self.places = {volume["name"]: self.place(volume, configuration) for volume in self.spec["volumes"]}
        self.places |= {name: self.owned(self.folder / name) for name in self.claims}
        self.ports = {API: free_port(), METRICS: free_port()}

    def place(self, volume, configuration):
        if "configMap" in volume:
            place = self.owned(self.folder / volume["name"])
            shutil.copy(configuration, place / "recorder.json5")
            return place
        is_in_memory = volume["emptyDir"].get("medium") == "Memory"
        return self.owned((self.memory if is_in_memory else self.folder) / volume["name"])

    def owned(self, place):
        """As a kubelet makes one: root's, and the pod's group may write."""
        place.mkdir()
        os.chown(place, 0, self.spec["securityContext"]["fsGroup"])
        place.chmod(0o2775)
        return place

    def start(self):
        """A sidecar before what it is for; both have one network."""
        ports = [word for inside, outside in self.ports.items() for word in ("-p", f"127.0.0.1:{outside}:{inside}")]
        self.run(self.spec["initContainers"][0], *ports)
        self.run(self.spec["containers"][0], "--network", "container:sv-exporter")

    def run(self, container, *words):
        rights, owner = container["securityContext"], self.spec["securityContext"]
        words = [*words, "--user", f"{owner['runAsUser']}:{owner['runAsGroup']}",
                 "--memory", container["resources"]["limits"]["memory"].removesuffix("i")]
        words += ["--cap-drop", "ALL"] if rights["capabilities"]["drop"] == ["ALL"] else []
        words += ["--read-only"] if rights["readOnlyRootFilesystem"] else []
        words += [] if rights["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
        for variable in container.get("env", []):
            words += ["-e", f"{variable['name']}={variable.get('value', NAME)}"]  # The only reference is the pod's name.
        for mount in container["volumeMounts"]:
            mode = "ro" if mount.get("readOnly") else "rw"
            words += ["-v", f"{self.places[mount['name']]}:{mount['mountPath']}:{mode}"]
        docker("run", "-d", "--name", f"sv-{container['name']}", *words, container["image"], *container["args"])

    def url(self, port, path):
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def probe(self, container):
        """Where a kubelet asks for the container's liveness."""
        asked = container["livenessProbe"]["httpGet"]
        return self.url(asked["port"], asked["path"])

    def hook(self):
        """Where it tells the sidecar that the pod ends."""
        asked = self.spec["initContainers"][0]["lifecycle"]["preStop"]["httpGet"]
        return self.url(asked["port"], asked["path"])

    def stop(self):
        """The sidecar last; the exit statuses of both."""
        grace = self.spec["terminationGracePeriodSeconds"]
        for name in ("sv-recorder", "sv-exporter"):
            docker("stop", "-t", grace, name)
        return [inspect(name)["State"]["ExitCode"] for name in ("sv-recorder", "sv-exporter")]

    def close(self):
        docker("rm", "-f", "sv-recorder", "sv-exporter", check=False)
        for place in (self.folder, self.memory):
            shutil.rmtree(place)
