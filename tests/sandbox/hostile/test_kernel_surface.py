"""Attacks on the kernel: what a call must not be able to ask of it."""

from __future__ import annotations

import platform

import pytest

from .conftest import Arena
from .probes import SAME, Probe, refused, table

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are those of x86-64"),
]
CALLS = {
    "io_uring_setup": "425, 8, ctypes.create_string_buffer(120)",
    "io_uring_register": "427, -1, 0, 0, 0",
    "keyctl": "250, 0, -3, 1",
    "add_key": "248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), ctypes.c_char_p(b'y'), 1, -2",
    "request_key": "249, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), 0, -2",
    "bpf": "321, 0, ctypes.create_string_buffer(b'\\x02\\0\\0\\0\\x04\\0\\0\\0\\x04\\0\\0\\0\\x01', 72), 72",
    "userfaultfd": "323, 1",
    "perf_event_open": "298, ctypes.create_string_buffer(b'\\1\\0\\0\\0\\x70', 112), 0, -1, -1, 0",
    "mount": "165, ctypes.c_char_p(b'none'), ctypes.c_char_p(b'/tmp'), ctypes.c_char_p(b'tmpfs'), 0, 0",
    "umount": "166, ctypes.c_char_p(b'/tmp'), 2",
    "pivot_root": "155, ctypes.c_char_p(b'/tmp'), ctypes.c_char_p(b'/tmp')",
    "chroot": "161, ctypes.c_char_p(b'/tmp')",
    "open_tree": "428, -100, ctypes.c_char_p(b'/'), 1",
    "fsopen": "430, ctypes.c_char_p(b'tmpfs'), 0",
    "move_mount": "429, -1, ctypes.c_char_p(b''), -100, ctypes.c_char_p(b'/tmp'), 4",
    "unshare user": "272, 0x10000000",
    "unshare mount": "272, 0x00020000",
    "unshare network": "272, 0x40000000",
    "setns": "308, os.open('/proc/self/ns/net', 0), 0",
    "clone in a user namespace": "56, 0x10000000 | 17, 0, 0, 0, 0",
    "clone in a process namespace": "56, 0x20000000 | 17, 0, 0, 0, 0",
    "clone3": "435, ctypes.create_string_buffer(88), 88",
    "kexec_load": "246, 0, 0, 0, 0",
    "kexec_file_load": "320, -1, -1, 0, 0, 0",
    "init_module": "175, ctypes.create_string_buffer(64), 64, ctypes.c_char_p(b'')",
    "finit_module": "313, os.open('/etc/hostname', 0), ctypes.c_char_p(b''), 0",
    "delete_module": "176, ctypes.c_char_p(b'x'), 0",
    "open_by_handle_at": "304, -100, ctypes.create_string_buffer(b'\\x08\\0\\0\\0\\1', 128), 0",
    "name_to_handle_at": "303, -100, ctypes.c_char_p(b'/'), ctypes.create_string_buffer(b'\\x80', 200), "
    "ctypes.create_string_buffer(4), 0",
    "fanotify_init": "300, 0, 0",
    "swapon": "167, ctypes.c_char_p(b'/tmp/x'), 0",
    "reboot": "169, 0xfee1dead, 672274793, 0, 0",
    "sethostname": "170, ctypes.c_char_p(b'x'), 1",
    "settimeofday": "164, ctypes.create_string_buffer(16), 0",
    "clock_settime": "227, 0, ctypes.create_string_buffer(16)",
    "adjtimex": "159, ctypes.create_string_buffer(b'\\1', 208)",
    "syslog": "103, 3, ctypes.create_string_buffer(100), 100",
    "acct": "163, ctypes.c_char_p(b'/tmp/x')",
    "quotactl": "179, 0, 0, 0, 0",
    "iopl": "172, 3",
    "ioperm": "173, 0x80, 1, 1",
    "personality": "135, 0x0040000",
    "modify_ldt": "154, 0, ctypes.create_string_buffer(16), 16",
    "process_vm_writev": "311, 1, ctypes.create_string_buffer(16), 1, ctypes.create_string_buffer(16), 1, 0",
    "process_madvise": "440, -1, 0, 0, 0, 0",
    "migrate_pages": "256, 1, 1, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)",
    "memfd_secret": "447, 0",
    "lookup_dcookie": "212, 0, 0, 0",
    "a call that does not exist": "600",
}
UNDER_GVISOR = {"io_uring_setup": "DONE", "bpf": SAME, "keyctl": SAME, "kexec_load": SAME}
"""It has an io_uring of its own, which is no way to the host's."""
ASKED = [
    Probe(
        name,
        f"return syscall({arguments})",
        "refused",
        UNDER_GVISOR.get(name),
    )
    for name, arguments in CALLS.items()
]
FAMILIES = {
    "netlink": 16,
    "packet": 17,
    "vsock": 40,
    "alg": 38,
    "bluetooth": 31,
    "can": 29,
    "key": 15,
    "tipc": 30,
    "rds": 21,
    "xdp": 44,
}
SOCKETS = [
    *(
        refused(f"socket of the family {name}", f"__import__('socket').socket({number}, 3, 0)")
        for name, number in FAMILIES.items()
    ),
    refused("raw socket", "__import__('socket').socket(2, 3, 1)", kernel=SAME),
    refused("terminal that is typed into", "__import__('fcntl').ioctl(os.openpty()[1], 0x5412, b'x')"),
]
FILES = {
    "core pattern": "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')",
    "sysrq": "open('/proc/sysrq-trigger', 'w').write('b')",
    "a sysctl": "open('/proc/sys/vm/drop_caches', 'w').write('3')",
    "host name": "open('/proc/sys/kernel/hostname', 'w').write('x')",
    "a module's path": "open('/proc/sys/kernel/modprobe', 'w').write('/tmp/x')",
    "uevents": "open('/sys/kernel/uevent_helper', 'w').write('/tmp/x')",
    "release of a cgroup": "[open(f'/sys/fs/cgroup/{p}release_agent', 'w').write('/x') for p in ('', 'memory/')]",
    "limit of memory": "open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w').write('-1')",
    "limit of memory, version 2": "open('/sys/fs/cgroup/memory.max', 'w').write('max')",
    "a cgroup of its own": "[os.mkdir(p) for p in ('/sys/fs/cgroup/memory/x', '/sys/fs/cgroup/x')]",
    "memory of the machine": "open('/dev/mem', 'rb')",
    "memory of the kernel": "open('/proc/kcore', 'rb').read(1) or open('/x')",
    "log of the kernel": "open('/dev/kmsg', 'rb')",
    "a disk by its number": "os.mknod('/tmp/sda', 0o60666, os.makedev(8, 0)) or open('/tmp/sda', 'rb')",
    "a device by its number": "os.mknod('/work/null', 0o20666, os.makedev(1, 3))",
    "kvm": "open('/dev/kvm', 'rb')",
    "fuse": "open('/dev/fuse', 'rb')",
    "device mapper": "open('/dev/mapper/control', 'rb')",
    "tun": "open('/dev/net/tun', 'rb')",
    "timer list": "open('/proc/timer_list').read(1) or open('/x')",
    "keys": "open('/proc/keys').read(1) or open('/x')",
    "map of its own user": "open('/proc/self/uid_map', 'w').write('0 0 1')",
    "security's files": "os.listdir('/sys/kernel/security') or open('/x')",
    "debugger's files": "os.listdir('/sys/kernel/debug') or open('/x')",
    "firmware": "os.listdir('/sys/firmware') or open('/x')",
}
PLACES = [
    refused(name, act, kernel=SAME if name in ("core pattern", "a disk by its number") else None)
    for name, act in FILES.items()
]
THIRTY_TWO_BITS = (
    "import mmap\n"
    "m = mmap.mmap(-1, 4096, prot=7)\n"
    # mov eax, 20 (getpid of i386); int 0x80; movsxd rax, eax; ret
    "m.write(bytes.fromhex('b814000000cd804863c0c3'))\n"
    "act = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
    "return 'refused' if act() < 0 else 'DONE'"
)
OTHERS = [
    Probe("a call with pointers of 32 bits", "return syscall(0x40000000 | 39)", "Killed"),
    Probe("a call of 32 bits", THIRTY_TWO_BITS, "Killed"),
    Probe(
        "capabilities",
        "fields = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\n"
        "return str({k: int(fields.get(k, '0'), 16) for k in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb')})",
        "{'CapEff': 0, 'CapPrm': 0, 'CapInh': 0, 'CapAmb': 0}",
        SAME,
    ),
    Probe(
        "new privileges and filters",
        "fields = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\n"
        "return fields['NoNewPrivs'].strip() + fields['Seccomp'].strip()",
        "12",
    ),
    Probe(
        "filter of its own that lets all pass", "return syscall(317, 1, 0, ctypes.create_string_buffer(16))", "refused"
    ),
    Probe("kernel's own word for who it is", "return os.uname().nodename", "sandbox", SAME),
]


@table(ASKED, SOCKETS, PLACES, OTHERS)
def test_attack_on_the_kernel(arena: Arena, level: str, probe: Probe) -> None:
    """It is refused, and the call lives on."""
    arena.attack(probe)
