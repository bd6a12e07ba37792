#!/usr/bin/env python3
"""Checks what kustomize makes of k8s/ against the schemas of Kubernetes and against the programs as they are built.

Needs kubectl 1.25 or later, PyYAML and kubernetes-validate; the programs in .build/debug, or where STREAMVAULT_BIN says.
"""

import ipaddress
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

from harness import ROOT, Report, flags, program

VERSIONS = ["1.33", "1.34", "1.35", "1.36"]
FOLDER = ROOT / "k8s"
# What each program answers, by the port in the manifest.
ENDPOINTS = {9847: {"/metrics", "/health", "/-/healthy", "/-/ready"}, 8000: {"/health"}}
PHASES_SECONDS = 38.5  # The sum of the recorder's phases: Tests/DeploymentTests compares it with the manifest.
# Addresses of streams, and of what a playlist must not reach.
PUBLIC = ["1.1.1.1", "9.255.255.255", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.169.0.1", "203.0.114.1", "2606:4700::1", "2a00::1"]
PRIVATE = [
    "0.0.0.0", "10.0.0.1", "10.96.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.192", "192.168.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2001:0:a00:1::", "2002:a00:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1",
]
KUBELET_SECONDS = 2  # What a sidecar has left when the grace period is used up.
# Fields of the Prometheus Operator's PodMonitor, as far as they are used; the API server refuses others.
MONITOR_FIELDS = {"selector", "podMetricsEndpoints", "scrapeClassicHistograms"}
ENDPOINT_FIELDS = {"port", "path", "interval", "scrapeTimeout"}

report = Report()
expect = report.expect


def built(folder):
    """The objects that `kubectl apply -k` would apply."""
    if not shutil.which("kubectl"):
        sys.exit("check_kubernetes: no kubectl on PATH: https://kubernetes.io/docs/tasks/tools/")
    run = subprocess.run(["kubectl", "kustomize", str(FOLDER / folder)], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"check_kubernetes: kubectl kustomize {folder}: {run.stderr.strip()}")
    return list(yaml.safe_load_all(run.stdout))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def mebibytes(text):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def check_schemas(objects):
    for item in objects:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
                expect(True, "")
            except kubernetes_validate.ValidationError as error:
                expect(False, f"{item['kind']}, Kubernetes {version}: {error}")


def check_flags(container):
    """Every flag and variable exists, and each flag is written --flag=value; returns {flag: value}."""
    known = flags(container["name"])
    given = {}
    for argument in container["args"]:
        flag, equals, value = argument.partition("=")
        expect(flag in known, f"{container['name']}: unknown flag {flag}")
        expect(equals and value, f"{container['name']}: {flag} without a value")
        given[flag] = value
    for variable in container.get("env", []):
        name = variable["name"]
        expect(name in known.values(), f"{container['name']}: unknown variable {name}")
    return given


def check_log(recorder):
    """The log file that the image's variable names can be written, or is none: the recorder does not start without it."""
    named = re.search(r"STREAMVAULT_LOG_FILE=(\S+)", (ROOT / "Dockerfile").read_text()).group(1)
    file = {entry["name"]: entry.get("value") for entry in recorder["env"]}.get("STREAMVAULT_LOG_FILE", named)
    writable = [mount["mountPath"] for mount in recorder["volumeMounts"] if not mount.get("readOnly")]
    expect(not file or any(file.startswith(f"{path}/") for path in writable), f"the log file {file} cannot be written")


def check_probes(container, port):
    """Probes ask, by number, for what is served; returns nothing."""
    ports = [entry["containerPort"] for entry in container["ports"]]
    expect(ports == [port], f"{container['name']}: ports {ports}, not {[port]}")
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        if kind not in container and container.get("restartPolicy") == "Always":
            continue  # The recorder would wait for the startup probe of its sidecar.
        get = container.get(kind, {}).get("httpGet", {})
        served = ENDPOINTS.get(get.get("port"), set())
        expect(get.get("path") in served, f"{container['name']}: {kind} asks {get}")


def check_hardening(pod, container):
    name, context = container["name"], container["securityContext"]
    expect(pod["securityContext"]["runAsNonRoot"] is True, "the pod may run as root")
    expect(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp")
    expect(context["readOnlyRootFilesystem"] is True, f"{name}: root file system is writable")
    expect(context["allowPrivilegeEscalation"] is False, f"{name}: may gain privileges")
    expect(context["capabilities"] == {"drop": ["ALL"]}, f"{name}: keeps capabilities")
    expect("memory" in container["resources"]["limits"], f"{name}: no limit of memory")


def check_volumes(workload, pod, recorder, exporter, recorder_flags, exporter_flags, config, pods):
    mounts = {m["mountPath"]: m for m in recorder["volumeMounts"]}
    shared = {m["mountPath"]: m for m in exporter["volumeMounts"]}
    claims = [c["metadata"]["name"] for c in workload.get("volumeClaimTemplates", [])]
    volumes = {v["name"]: v for v in pod["volumes"]}
    claims += [name for name, volume in volumes.items() if "persistentVolumeClaim" in volume]
    for mount in list(mounts.values()) + list(shared.values()):
        expect(mount["name"] in claims or mount["name"] in volumes, f"no volume {mount['name']}")
    written = mounts.get(recorder_flags["--telemetry-dir"], {})
    read = shared.get(exporter_flags["--telemetry-dir"], {})
    expect(written.get("name") and written.get("name") == read.get("name"), "telemetry is not shared")
    expect(not written.get("readOnly"), "the recorder cannot write its telemetry")
    expect(read.get("readOnly") is True, "the exporter may write the telemetry")
    memory = volumes[written["name"]]["emptyDir"]
    expect(memory.get("medium") == "Memory", "telemetry is not kept in memory")
    expect(mebibytes(memory["sizeLimit"]) >= 8, "the telemetry volume is too small")
    expect(config["metadata"]["name"] == volumes["config"]["configMap"]["name"], "another ConfigMap")
    directory, _, file = recorder_flags["--config"].rpartition("/")
    expect(mounts.get(directory, {}).get("name") == "config", f"nothing is mounted on {directory}")
    files = {file.replace("$(STREAMVAULT_RECORDER_NAME)", name) for name in pods}
    expect(files == config["data"].keys(), f"the ConfigMap has not {files}")
    for text in config["data"].values():
        recordings = re.search(r'recordings_dir: "(.*?)"', text).group(1)
        expect(mounts.get(recordings, {}).get("name") in claims, f"{recordings} is not on a claim")


def check_configuration(config):
    """The recorder accepts what the ConfigMap holds."""
    for name, text in config["data"].items():
        with tempfile.NamedTemporaryFile("w", suffix=name) as file:
            file.write(text)
            file.flush()
            command = [program("recorder"), "--config", file.name, "--check-config"]
            run = subprocess.run(command, capture_output=True, text=True)
        expect(run.returncode == 0, f"{name}: {run.stderr.strip()}")


def check_grace(pod, recorder, recorder_flags, exporter, exporter_flags, monitor):
    """The pod's grace period holds the recorder's, the wait for a last scrape, and the kubelet's own."""
    endpoint = monitor["spec"]["podMetricsEndpoints"][0]
    linger = 2 * seconds(endpoint["interval"]) + 5
    if "--linger.max" in exporter_flags:
        linger = seconds(exporter_flags["--linger.max"])
    recorder_grace = seconds(recorder_flags["--shutdown.grace-period"])
    needed = recorder_grace + linger + KUBELET_SECONDS
    granted = pod.get("terminationGracePeriodSeconds", 30)
    expect(granted >= needed, f"terminationGracePeriodSeconds {granted}, needed {needed}")
    probe = recorder["livenessProbe"]
    of_probe = probe.get("terminationGracePeriodSeconds", granted)
    expect(of_probe > PHASES_SECONDS, f"a failed liveness grants {of_probe} of {PHASES_SECONDS} s")
    to_failure = (probe["failureThreshold"] + 1) * probe["periodSeconds"]
    expect(to_failure + of_probe <= 60, f"a frozen recorder is killed after {to_failure + of_probe} s")
    told = exporter_flags.get("--termination-grace-period")
    expect(told and seconds(told) == granted, f"the exporter is told {told} of {granted} s")
    hook = exporter.get("lifecycle", {}).get("preStop", {}).get("httpGet")
    expect(
        hook == {"path": "/-/terminating", "port": 9847},
        f"the exporter does not hear when the grace period begins: preStop {hook}",
    )


def check_monitor(monitor, template, exporter, exporter_flags):
    labels = template["metadata"]["labels"].items()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    endpoint = monitor["spec"]["podMetricsEndpoints"][0]
    expect(monitor["kind"] == "PodMonitor", "not a PodMonitor: others lose terminating pods")
    expect(monitor["spec"].keys() <= MONITOR_FIELDS, f"PodMonitor: fields {monitor['spec'].keys() - MONITOR_FIELDS}")
    expect(endpoint.keys() <= ENDPOINT_FIELDS, f"PodMonitor's endpoint: fields {endpoint.keys() - ENDPOINT_FIELDS}")
    expect(wanted <= labels, "the PodMonitor selects other pods")
    expect(endpoint["port"] in [p["name"] for p in exporter["ports"]], "no port for the PodMonitor")
    path = exporter_flags.get("--web.telemetry-path", "/metrics")
    expect(endpoint["path"] == path, f"the PodMonitor asks for {endpoint['path']}")
    expect(
        seconds(endpoint["scrapeTimeout"]) <= seconds(endpoint["interval"]),
        "the scrape's timeout is longer than its interval",
    )


def check_writers(workload, mounts):
    """No two recorders write into one folder."""
    if workload["kind"] == "StatefulSet":
        expect(workload["spec"].get("volumeClaimTemplates"), "the pods have no claims of their own")
    else:
        # An update has two pods for a while.
        expect(workload["spec"]["replicas"] == 1, "more than one recorder of the same streams")
        folders = [m.get("subPathExpr") for m in mounts if m["name"] == "recordings"]
        expect(folders == ["$(STREAMVAULT_RECORDER_NAME)"], f"pods share the folder {folders}")


def reaches(rule, address, port):
    """Whether a rule of egress lets a pod send to an address outside the cluster's pods."""
    if "ports" in rule and port not in [entry["port"] for entry in rule["ports"]]:
        return False
    blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
    return any(
        address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(part) for part in block.get("except", []))
        for block in blocks
    )


def check_egress(spec):
    """Streams and names can be had, and nothing private: the recorder and its programs fetch what strangers name."""
    expect(spec["policyTypes"] == ["Ingress", "Egress"], f"the NetworkPolicy is about {spec['policyTypes']}")
    for text in PUBLIC + PRIVATE:
        address = ipaddress.ip_address(text)
        for port in (80, 443, 1935, 9847):
            open_ = any(reaches(rule, address, port) for rule in spec["egress"])
            expect(open_ == (text in PUBLIC), f"the NetworkPolicy {'opens' if open_ else 'shuts'} {text}, port {port}")
    names = [rule for rule in spec["egress"] if 53 in [entry["port"] for entry in rule.get("ports", [])]]
    expect({entry["protocol"] for rule in names for entry in rule["ports"]} == {"UDP", "TCP"}, "no names by UDP and TCP")
    spaces = [peer.get("namespaceSelector", {}).get("matchLabels", {}) for rule in names for peer in rule["to"]]
    expect({"kubernetes.io/metadata.name": "kube-system"} in spaces, "the cluster's DNS cannot be reached")


def check_availability(workload, by_kind):
    """The API answers to the end, streams can be fetched, nodes can be drained, and an update of a Deployment leaves no gap."""
    spec = by_kind["PodDisruptionBudget"]["spec"]
    expect(spec.get("maxUnavailable") == 1, f"a drained node may stop {spec.get('maxUnavailable')} pods")
    check_egress(by_kind["NetworkPolicy"]["spec"])
    expect(by_kind["Service"]["spec"].get("publishNotReadyAddresses") is True, "the API is lost in a shutdown")
    if workload["kind"] == "Deployment":
        update = workload["spec"]["strategy"]["rollingUpdate"]
        expect(update == {"maxSurge": 1, "maxUnavailable": 0}, f"an update leaves a gap: {update}")
        expect(workload["spec"].get("minReadySeconds", 0) >= 10, "the old pod is stopped before the new one records")
        modes = by_kind["PersistentVolumeClaim"]["spec"]["accessModes"]
        expect(modes == ["ReadWriteMany"], f"two pods of an update cannot share a claim that is {modes}")


def check(folder, kind, replicas, monitor):
    """One of the builds: everything that its objects say of each other and of the programs."""
    objects = built(folder)
    check_schemas(objects)
    by_kind = {item["kind"]: item for item in objects}
    workload, service, config = (by_kind[k] for k in (kind, "Service", "ConfigMap"))
    template = workload["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"].items()

    expect(workload["spec"]["replicas"] == replicas, f"{folder}: {workload['spec']['replicas']} replicas")
    if kind == "StatefulSet":
        expect(workload["spec"]["serviceName"] == service["metadata"]["name"], "another Service")
    expect(service["spec"]["selector"].items() <= labels, "the Service selects other pods")
    for name, path in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        expect(by_kind[name]["spec"][path]["matchLabels"].items() <= labels, f"the {name} selects other pods")
    expect([c["name"] for c in pod["containers"]] == ["recorder"], "the recorder is not alone")
    expect([c["name"] for c in pod["initContainers"]] == ["exporter"], "the exporter is no sidecar")
    recorder, exporter = pod["containers"][0], pod["initContainers"][0]
    expect(exporter.get("restartPolicy") == "Always", "the sidecar is not a native one")
    check_writers(workload, recorder["volumeMounts"])
    check_log(recorder)
    check_availability(workload, by_kind)

    recorder_flags, exporter_flags = check_flags(recorder), check_flags(exporter)
    open_ports = {rule["port"] for entry in by_kind["NetworkPolicy"]["spec"]["ingress"] for rule in entry["ports"]}
    for container, given, port in ((recorder, recorder_flags, 8000), (exporter, exporter_flags, 9847)):
        check_probes(container, port)
        check_hardening(pod, container)
        # Loopback would shut out the kubelet and Prometheus.
        expect(given.get("--web.listen-address") == f":{port}", f"{container['name']}: address")
        expect(port in open_ports, f"the NetworkPolicy shuts {port}")
    liveness = recorder["livenessProbe"]["httpGet"]
    expect(liveness == {"path": "/health", "port": 8000}, f"the recorder's liveness depends on others: it asks {liveness}")
    expect("startupProbe" not in exporter, "the recorder waits for an exporter that does not get ready")
    own = {p: exporter[p]["httpGet"]["path"] for p in ("livenessProbe", "readinessProbe")}
    expect(set(own.values()) == {"/-/healthy", "/-/ready"}, f"the exporter's own probes ask {own}")

    pods = [f"{workload['metadata']['name']}-{number}" for number in range(replicas)]
    check_volumes(
        workload["spec"], pod, recorder, exporter, recorder_flags, exporter_flags, config, pods
    )
    check_configuration(config)
    check_grace(pod, recorder, recorder_flags, exporter, exporter_flags, monitor)
    check_monitor(monitor, template, exporter, exporter_flags)


def check_example():
    """The folder of one's own that docs/deployment.md shows: other images, other streams, one namespace."""
    guide = (ROOT / "docs" / "deployment.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "streamvault").symlink_to(ROOT)
        own = Path(folder, "own")
        own.mkdir()
        own.joinpath("kustomization.yaml").write_text(re.search(r"```yaml\n(# kustomization.yaml.*?)```", guide, re.S).group(1))
        by_kind = {item["kind"]: item for item in built(own)}
    pod = by_kind["StatefulSet"]["spec"]["template"]["spec"]
    images = [container["image"] for container in pod["initContainers"] + pod["containers"]]
    expect(all(image.startswith("registry.example.org/streamvault-") for image in images), f"example: images {images}")
    expect({item["metadata"]["namespace"] for item in by_kind.values()} == {"recorders"}, "example: namespaces")
    check_configuration(by_kind["ConfigMap"])


def main():
    expect(built(".") == built("base"), "k8s/ is not its base")
    monitoring = {item["kind"]: item for item in built("monitoring")}
    monitor = monitoring.pop("PodMonitor")
    expect(monitoring.keys() == {"PrometheusRule"}, f"monitoring: {monitoring.keys()}")
    check("base", "StatefulSet", 1, monitor)
    check("overlays/deployment", "Deployment", 1, monitor)
    check("overlays/fleet", "StatefulSet", 3, monitor)
    check_example()
    report.end("k8s")


if __name__ == "__main__":
    main()
