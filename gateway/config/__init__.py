"""The configuration: a YAML file that people edit, read into checked models and built into routing objects.

`load` reads a file or raises a ConfigError with every problem it has; `check_role` tells what a command needs beyond that, `unchangeable` what a restart;
`build_table` makes the RouteTable; `watch` tells of changes. Nothing here logs, and only `load` and `watch` touch files.
"""

from gateway.config.addresses import Address
from gateway.config.changes import unchangeable
from gateway.config.ejection import HealthConfig
from gateway.config.load import Config, Overrides, digest, json_schema, load, read
from gateway.config.metrics import ResolvedMetric
from gateway.config.models import BackendConfig
from gateway.config.problems import ConfigError, Problem
from gateway.config.roles import Role, check_role, resolve_command
from gateway.config.routes import RouteConfig
from gateway.config.scale import ResolvedScale, ScaleConfig
from gateway.config.table import build_table, limits_of
from gateway.config.target import Target
from gateway.config.tls import PodTls
from gateway.config.units import format_duration
from gateway.config.watch import watch

__all__ = [
    "Address",
    "BackendConfig",
    "Config",
    "ConfigError",
    "HealthConfig",
    "Overrides",
    "PodTls",
    "Problem",
    "ResolvedMetric",
    "ResolvedScale",
    "Role",
    "RouteConfig",
    "ScaleConfig",
    "Target",
    "build_table",
    "check_role",
    "digest",
    "format_duration",
    "json_schema",
    "limits_of",
    "load",
    "read",
    "resolve_command",
    "unchangeable",
    "watch",
]
