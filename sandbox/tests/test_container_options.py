"""Nothing in a configuration, and nothing in a request for the engine, can weaken the isolation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from fairlead.errors import ConfigError
from fairlead_sandbox.container import ContainerLimits, ContainerSpec, Mount, UidRange, check_creation, check_options
from fairlead_sandbox.container._options import BOUNDS
from fairlead_sandbox.container._request import compose
from fairlead_sandbox.container._seccomp import CALLS, digest, seccomp_profile

IMAGE = f"sha256:{'0' * 64}"
UIDS = UidRange(1_900_000_000, 16)


def spec(**changes: Any) -> ContainerSpec:
    return evolve(ContainerSpec(IMAGE, ["cat"]), **changes)


def request(**host: Any) -> dict[str, Any]:
    body = compose(spec(), UIDS)
    body["Labels"] = {"fairlead.project": "tests"}
    body["HostConfig"].update(host)
    return body


def test_limits_are_read_from_a_table() -> None:
    """What is not named keeps its default."""
    assert ContainerLimits(memory_bytes=1 << 30, cpus=2) == check_options({"memory_bytes": 1 << 30, "cpus": 2})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("binds", "files of the host"),
        ("volumes", "files of the host"),
        ("network_mode", "through the proxy"),
        ("privileged", "isolates the container"),
        ("security_opt", "isolates the container"),
        ("devices", "isolates the container"),
        ("pid_mode", "isolates the container"),
        ("ipc_mode", "isolates the container"),
        ("Privileged", "isolates the container"),
        ("anything", "is no option"),
    ],
)
def test_option_that_is_no_limit_is_refused_by_name(key: str, reason: str) -> None:
    """At load, with the path of the key and why."""
    with pytest.raises(ConfigError, match=reason) as caught:
        check_options({"pids": 64, key: True}, "isolation.container")
    assert f"isolation.container.{key}" == caught.value.path
    assert caught.value.next_step


@pytest.mark.parametrize("value", [True, "1", None, -1, 0, float("nan"), float("inf"), 10**30, 1.5])
def test_limit_that_is_no_sensible_number_is_refused(value: object) -> None:
    """No limit can be switched off with 0, -1 or infinity."""
    with pytest.raises(ConfigError, match="a whole number from 8 to 32768 is expected"):
        check_options({"pids": value})


def test_every_limit_has_bounds() -> None:
    """And the defaults lie within them."""
    for key, (least, most) in BOUNDS.items():
        assert least <= getattr(ContainerLimits(), key) <= most


def test_what_we_make_is_allowed(tmp_path: Path) -> None:
    """With and without a supervisor, with mounts of our own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for supervised in (True, False):
        body = compose(spec(supervised=supervised, mounts=[Mount(tools.resolve(), "/plugin/0")]), UIDS)
        check_creation({**body, "Labels": {}}, [tmp_path.resolve()])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Privileged", True),
        ("NetworkMode", "host"),
        ("NetworkMode", "bridge"),
        ("NetworkMode", "container:db"),
        ("PidMode", "host"),
        ("PidMode", "container:db"),
        ("IpcMode", "host"),
        ("IpcMode", "shareable"),
        ("UTSMode", "host"),
        ("UsernsMode", "host"),
        ("CgroupnsMode", "host"),
        ("ReadonlyRootfs", False),
        ("ReadonlyRootfs", 1),
        ("CapDrop", []),
        ("CapAdd", ["SYS_ADMIN"]),
        ("CapAdd", ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYS_PTRACE"]),
        ("CapAdd", []),
        ("SecurityOpt", ["no-new-privileges", "seccomp=unconfined"]),
        ("SecurityOpt", ["no-new-privileges"]),
        ("SecurityOpt", [f"seccomp={seccomp_profile()}"]),
        ("SecurityOpt", ["no-new-privileges", f"seccomp={seccomp_profile()}", "apparmor=unconfined"]),
        ("Sysctls", {}),
        ("Sysctls", {"kernel.shmmni": "4096"}),
        ("Devices", [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]),
        ("Tmpfs", {}),
        ("Tmpfs", {"/tmp": "size=1m,nr_inodes=9,mode=1777", "/dev/shm": "size=1m,nr_inodes=9,mode=1777"}),  # noqa: S108  # a path inside
        ("Memory", 0),
        ("MemorySwap", -1),
        ("PidsLimit", 0),
        ("PidsLimit", -1),
        ("NanoCpus", 0),
        ("OomScoreAdj", -1000),
        ("AutoRemove", False),
        ("Init", True),
        ("LogConfig", {"Type": "json-file", "Config": {}}),
        ("RestartPolicy", {"Name": "always", "MaximumRetryCount": 0}),
        ("Ulimits", []),
        # keys that we never set
        ("Binds", ["/:/host"]),
        ("Binds", ["/var/run/docker.sock:/var/run/docker.sock"]),
        ("VolumesFrom", ["db"]),
        ("DeviceRequests", [{"Count": -1, "Capabilities": [["gpu"]]}]),
        ("DeviceCgroupRules", ["a *:* rwm"]),
        ("CgroupParent", "/"),
        ("ExtraHosts", ["host:host-gateway"]),
        ("PortBindings", {"80/tcp": [{"HostPort": "80"}]}),
        ("PublishAllPorts", True),
        ("MaskedPaths", []),
        ("ReadonlyPaths", []),
        ("OomKillDisable", True),
        ("GroupAdd", ["docker"]),
        ("Links", ["db"]),
        ("VolumeDriver", "local"),
        ("StorageOpt", {"size": "1G"}),
    ],
)
def test_request_that_weakens_isolation_is_refused_by_name(key: str, value: object) -> None:
    """At creation, whoever composed it."""
    with pytest.raises(ConfigError) as caught:
        check_creation(request(**{key: value}), [])
    assert caught.value.path.startswith(f"HostConfig.{key}" if key != "Memory" else "HostConfig.Memory")


@pytest.mark.parametrize("key", sorted(request()["HostConfig"]))
def test_request_that_leaves_an_option_out_is_refused(key: str) -> None:
    """The engine's default is never ours."""
    body = request()
    del body["HostConfig"][key]
    with pytest.raises(ConfigError, match="None was found"):
        check_creation(body, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Image", "python:3.12-slim"),
        ("User", "0:1"),
        ("User", "root"),
        ("Tty", True),
        ("StdinOnce", False),
        ("Entrypoint", ["sh"]),
        ("Volumes", {"/data": {}}),
        ("ExposedPorts", {"80/tcp": {}}),
        ("NetworkDisabled", False),
        ("NetworkingConfig", {"EndpointsConfig": {"host": {}}}),
        ("Labels", {"com.example": "x"}),
        ("Healthcheck", {"Test": ["CMD", "true"]}),
        ("HostConfig", None),
    ],
)
def test_request_with_another_body_is_refused_by_name(key: str, value: object) -> None:
    """Also outside of the host's part."""
    with pytest.raises(ConfigError) as caught:
        check_creation({**request(), key: value}, [])
    assert key == caught.value.path


def test_capabilities_are_for_the_supervisor_only() -> None:
    """Root without them, or another user with them, is neither of the two shapes."""
    body = request()
    body["User"] = "1900000000:1900000000"
    with pytest.raises(ConfigError, match="for nobody else") as caught:
        check_creation(body, [])
    assert "HostConfig.CapAdd" == caught.value.path


def bind(source: Path | str, target: str = "/plugin/0", *, read_only: bool = True, **more: Any) -> dict[str, Any]:
    options = {"Type": "bind", "BindOptions": {"Propagation": "rprivate"}}
    return {**options, "Source": str(source), "Target": target, "ReadOnly": read_only, **more}


@pytest.mark.parametrize(
    ("mount", "field"),
    [
        (bind("/"), "Source"),
        (bind("/etc"), "Source"),
        (bind("/var/run/docker.sock"), "Source"),
        (bind("OURS/../../.."), "Source"),
        (bind("OURS/link"), "Source"),
        (bind("OURS/socket"), "Source"),
        (bind("relative"), "Source"),
        (bind("OURS/tools", read_only=False), "ReadOnly"),
        (bind("OURS/tools", "/usr"), "Target"),
        (bind("OURS/tools", "/plugin/../usr"), "Target"),
        (bind("OURS/tools", Type="volume"), "Type"),
        (bind("OURS/tools", BindOptions={"Propagation": "rshared"}), "BindOptions"),
        (bind("OURS/tools", VolumeOptions={}), "VolumeOptions"),
        ({"Type": "bind"}, "BindOptions"),
    ],
)
def test_mount_of_what_is_not_ours_is_refused_by_name(tmp_path: Path, mount: dict[str, Any], field: str) -> None:
    """Only directories below our own, read-only, at their own places, and reached without a link."""
    import socket  # noqa: PLC0415  # one case of the table

    ours = tmp_path.resolve() / "ours"
    (ours / "tools").mkdir(parents=True)
    (ours / "link").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(ours / "socket"))
    mounts = [json.loads(json.dumps(mount).replace("OURS", str(ours)))]
    with pytest.raises(ConfigError) as caught:
        check_creation(request(Mounts=mounts), [ours])
    assert f"HostConfig.Mounts.0.{field}" == caught.value.path


@pytest.mark.parametrize("root", ["/", "/etc", "/var", "/run", "/home", "/root", "/usr"])
def test_directory_that_is_half_the_machine_is_not_ours(root: str) -> None:
    """A configuration that names such a directory as its own opens nothing."""
    with pytest.raises(ConfigError, match="below one of our own directories"):
        check_creation(request(Mounts=[bind("/etc" if root == "/" else f"{root}/passwd")]), [Path(root)])


def test_system_calls_are_those_on_the_list() -> None:
    """No call that looks into other processes, makes namespaces, mounts, or reaches what containers do not need."""
    closed = (
        "io_uring_setup io_uring_enter io_uring_register ptrace process_vm_readv process_vm_writev process_madvise"
        " pidfd_getfd kcmp keyctl add_key request_key bpf userfaultfd perf_event_open mount umount2 pivot_root"
        " move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr unshare setns clone clone3 socket"
        " personality kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct"
        " quotactl sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt"
        " syslog open_by_handle_at name_to_handle_at fanotify_init fanotify_mark vmsplice mbind set_mempolicy"
        " move_pages migrate_pages chroot shmget shmat semget msgget mq_open memfd_secret seccomp uselib vhangup"
    )
    assert set() == set(closed.split()) & set(CALLS)


def test_profile_is_one_text_with_a_hash() -> None:
    """What evidence says of it is the hash of what the engine was given."""
    profile = json.loads(seccomp_profile())
    assert ("SCMP_ACT_ERRNO", 1) == (profile["defaultAction"], profile["defaultErrnoRet"])
    actions = {(name, rule["action"], rule.get("errnoRet")) for rule in profile["syscalls"] for name in rule["names"]}
    assert ("clone3", "SCMP_ACT_ERRNO", 38) in actions
    assert 71 == len(digest(seccomp_profile()))
