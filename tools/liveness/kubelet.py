"""A kubelet for one container: starts a program, asks its probes as a manifest says, and restarts it.

Times are the manifest's and Kubernetes'. All but the timeout of a request can be sped up by a factor.
"""

import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS = 10, 300
BACK_OFF_RESET_SECONDS = 600


class Container:
    """One container of a pod; `spec` is its part of the manifest, `ports` maps those of the manifest to real ones."""

    def __init__(self, spec, command, ports, pod_grace, log, speed=1):
        self.spec, self.command, self.ports = spec, command, ports
        self.pod_grace, self.log, self.speed = pod_grace, log, speed
        self.process = None
        self.events = []  # (seconds since the start, what happened)
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.starting = threading.Lock()  # Held to start a program, and to see that none is started any more.
        self.statuses = []  # Exit statuses, in their order.
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def note(self, text):
        self.events.append((time.monotonic() - self.began, text))

    def times(self, text):
        return [moment for moment, what in self.events if what == text]

    def close(self):
        """The end of the pod: SIGTERM, and SIGKILL when the grace period is over. Returns the exit status."""
        with self.starting:
            self.ended.set()
        self.end_process(self.pod_grace)
        self.thread.join()
        return self.process.returncode

    def kill(self):
        """What a crash is."""
        with self.starting:
            if self.process and self.process.poll() is None:
                self.process.kill()

    # The life of a container.

    def run(self):
        crashes = 0
        while True:
            with self.starting, open(self.log, "a") as log:
                if self.ended.is_set():
                    return
                self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
            started = time.monotonic()
            self.note("started")
            self.watch()
            self.statuses.append(self.process.wait())
            self.note("ended")
            if (time.monotonic() - started) * self.speed > BACK_OFF_RESET_SECONDS:
                crashes = 0
            back_off = 0 if crashes == 0 else min(BACK_OFF_SECONDS * 2 ** (crashes - 1), LONGEST_BACK_OFF_SECONDS)
            crashes += 1
            self.ended.wait(back_off / self.speed)

    def watch(self):
        """Probes until the process ends; returns at once when it does."""
        failures, is_started = 0, "startupProbe" not in self.spec
        while not self.ended.is_set():
            probe = self.spec["livenessProbe" if is_started else "startupProbe"]
            due = time.monotonic() + probe.get("periodSeconds", 10) / self.speed
            problem = self.ask(probe)
            if self.process.poll() is not None:
                return
            if problem is None:
                if not is_started:
                    self.note("ready")
                failures, is_started = 0, True
            else:
                failures += 1
                if is_started:
                    self.note(f"probe failed: {problem}")
                if failures >= probe.get("failureThreshold", 3):
                    self.note("restart")
                    self.end_process(probe.get("terminationGracePeriodSeconds", self.pod_grace))
                    return
            while time.monotonic() < due and self.process.poll() is None and not self.ended.is_set():
                time.sleep(min(0.05, max(0, due - time.monotonic())))
            if self.process.poll() is not None:
                return

    def ask(self, probe):
        """Asks once; why it failed, or None."""
        get = probe["httpGet"]
        url = f"http://127.0.0.1:{self.ports[get['port']]}{get['path']}"
        request = urllib.request.Request(url, headers={"User-Agent": "kube-probe/1.36", "Connection": "close"})
        try:
            with urllib.request.urlopen(request, timeout=probe.get("timeoutSeconds", 1)):
                return None
        except urllib.error.HTTPError as error:
            return f"status {error.code}"
        except OSError as error:
            return str(error)

    def end_process(self, grace):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.note("SIGKILL")
            self.process.kill()
            self.process.wait()
