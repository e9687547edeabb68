"""What the engine says of itself, as far as it decides how containers are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from fairlead.types import Isolation
from fairlead_sandbox.container._uids import UidSpace
from fairlead_sandbox.errors import EngineUnavailable

__all__ = ["EngineFacts"]

OWN_KERNEL = re.compile(r"runsc|kata", re.IGNORECASE)
"""Programs and shims that bring a kernel of their own: gVisor's and Kata's."""
REMAPPED = re.compile(r"/(\d+)\.(\d+)/?$")
"""An engine with userns-remap keeps its files in a directory named after the first uid and gid."""
REGISTER = (
    "sudo apt install runsc (or see https://gvisor.dev/docs/user_guide/install/), then:"
    " sudo runsc install runsc -- --platform=ptrace --network=none --host-uds=open"
    " && sudo systemctl restart docker"
)


@frozen
class EngineFacts:
    """The answers of ``/version`` and ``/info``."""

    version: str
    api: str
    cgroup: str
    rootless: bool
    seccomp: bool
    apparmor: bool
    uid_offset: int
    """What the host adds to a uid of a container: more than 0 with userns-remap."""
    remapped: bool
    runtimes: Mapping[str, str] = field(factory=dict)
    """Name to program or shim."""
    without_sockets: frozenset[str] = frozenset()
    """Runtimes of gVisor's that let no program reach a socket of the host, so that no proxy can be reached."""
    default_runtime: str = "runc"
    machine: str = ""

    @classmethod
    def of(cls, version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineFacts:
        options = {str(word).partition(",")[0].removeprefix("name=") for word in info.get("SecurityOptions") or ()}
        remap = REMAPPED.search(str(info.get("DockerRootDir", "")))
        userns = "userns" in options
        return cls(
            version=str(version.get("Version", "?")),
            api=str(version.get("ApiVersion", "1.41")),
            cgroup=str(info.get("CgroupVersion") or "1"),
            rootless="rootless" in options,
            seccomp="seccomp" in options,
            apparmor="apparmor" in options,
            uid_offset=int(remap[1]) if userns and remap else 0,
            remapped=userns or "rootless" in options,
            runtimes={name: _program(runtime) for name, runtime in (info.get("Runtimes") or {}).items()},
            without_sockets=frozenset(
                name for name, runtime in (info.get("Runtimes") or {}).items() if _is_without_sockets(runtime)
            ),
            default_runtime=str(info.get("DefaultRuntime") or "runc"),
            machine=str(info.get("Architecture", "")),
        )

    @property
    def uid_space(self) -> UidSpace:
        return UidSpace.remapped() if self.remapped else UidSpace()

    def check_sockets(self, runtime: str) -> None:
        """`EngineUnavailable` where the way out would be closed whatever is granted."""
        name = runtime or self.default_runtime
        if name in self.without_sockets:
            problem = f"the runtime {name!r} lets nothing reach the proxy's socket, so no host could be reached"
            raise EngineUnavailable(problem, next_step=REGISTER, floor="kernel")

    def level(self, runtime: str) -> Isolation:
        """``container``, or ``kernel`` where the runtime's program brings one; `EngineUnavailable`: no such one."""
        name = runtime or self.default_runtime
        program = self.runtimes.get(name)
        if program is None:
            have = ", ".join(sorted(self.runtimes)) or "none"
            problem = f"the engine has no runtime {name!r}; it has: {have}"
            raise EngineUnavailable(problem, next_step=REGISTER, floor="kernel")
        return "kernel" if OWN_KERNEL.search(program) else "container"


def _is_without_sockets(runtime: Any) -> bool:
    """As registered with arguments; what a shim reads from files of its own is not known here."""
    arguments = runtime.get("runtimeArgs") if isinstance(runtime, Mapping) else None
    return _program(runtime).endswith("runsc") and not any(
        str(argument).lstrip("-").startswith(("host-uds=open", "host-uds=all", "fsgofer-host-uds"))
        for argument in arguments or ()
    )


def _program(runtime: Any) -> str:
    if not isinstance(runtime, Mapping):
        return ""
    return str(runtime.get("path") or runtime.get("runtimeType") or "")
