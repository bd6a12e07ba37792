"""The Grafana dashboards, as they are written to grafana/ by tools/generate.py."""

from .fleet import fleet_dashboard
from .recorder import recorder_dashboard
from .shutdown import shutdown_dashboard

DASHBOARDS = {
    "streamvault-fleet.json": fleet_dashboard,
    "streamvault-recorder.json": recorder_dashboard,
    "streamvault-shutdown.json": shutdown_dashboard,
}
