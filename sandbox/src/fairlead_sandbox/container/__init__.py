"""Hardened containers on the Docker Engine: their life cycle, the proof of their isolation, and a pool of them.

From below: what a container is asked to be (`_spec`, `_options`, `_request`, `_seccomp`), the engine (`_facts`,
`_translate`, `_threads`, `_hijack`), one container (`_container`, `_evidence`, `_figures`, `_supervisor`), whose it is
(`_instance`, `_uids`), making them (`_engine`), who else is there (`_orphans`, `_open`, `_doctor`), files that stay
(`_disk`, `_workspace`), and the pool, which knows none of them.
Nothing here imports code of plugins, and no other room imports this.
"""

from fairlead_sandbox.container._container import Container
from fairlead_sandbox.container._disk import WorkspaceError
from fairlead_sandbox.container._doctor import diagnose
from fairlead_sandbox.container._engine import Engine
from fairlead_sandbox.container._evidence import Evidence
from fairlead_sandbox.container._facts import EngineFacts
from fairlead_sandbox.container._hijack import AttachedStream
from fairlead_sandbox.container._instance import Instance
from fairlead_sandbox.container._open import open_engine
from fairlead_sandbox.container._options import check_creation, check_options
from fairlead_sandbox.container._orphans import Listing, collect_garbage, list_containers
from fairlead_sandbox.container._pool import Lease, Pool, PoolExhausted, PoolFigures, PoolKey, PoolLimits
from fairlead_sandbox.container._spec import ContainerLimits, ContainerSpec, Mount, UidRange, Workspace
from fairlead_sandbox.container._supervisor import SUPERVISOR, inside_mount
from fairlead_sandbox.container._workspace import Measure, Workspaces

__all__ = [
    "SUPERVISOR",
    "AttachedStream",
    "Container",
    "ContainerLimits",
    "ContainerSpec",
    "Engine",
    "EngineFacts",
    "Evidence",
    "Instance",
    "Lease",
    "Listing",
    "Measure",
    "Mount",
    "Pool",
    "PoolExhausted",
    "PoolFigures",
    "PoolKey",
    "PoolLimits",
    "UidRange",
    "Workspace",
    "WorkspaceError",
    "Workspaces",
    "check_creation",
    "check_options",
    "collect_garbage",
    "diagnose",
    "inside_mount",
    "list_containers",
    "open_engine",
]
