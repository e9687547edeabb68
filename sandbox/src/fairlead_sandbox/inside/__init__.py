"""What runs in the sandbox: supervisor (PID 1), seed, zygote, call. Standard library only; relative imports only.

Started as ``python3 -I -S -c START``, START being ``import sys; sys.path.insert(0, '/fairlead'); from
inside._supervisor import main; main()``, with this directory mounted read-only at ``/fairlead/inside``. The host's
side is `fairlead_sandbox.runner`.

What passes between the two is `schemas/sandbox-call.schema.json`; its end means that the other side is gone.

    _supervisor   PID 1: _zygotes, _running, _sweep, _record, _cgroup, _pipes  never imports what belongs to a plugin
    _start        what is done as root, and the seed: zygotes are forked from it
    _zygote       loads the plugins (_plugins), forks a process for each call before it is ordered
    _call         one call: _tool, _forward                                    with `_frames` and `_kernel` below all

What it needs of whoever starts it (container options):

- to be PID 1 of its own PID namespace (no ``--init``), stdin attached and open, stdout attached, no TTY;
- to start as uid 0 with the capabilities SETUID and SETGID, and CHOWN, DAC_OVERRIDE and FOWNER (these three only to
  hand the workspace and the record directory over), and no others. The supervisor gives up all of them, and uid 0,
  before a plugin is loaded; no_new_privs is set, so nobody gets one again. It works under userns-remap and gVisor.
  Started as an ordinary user (no identities in the setup), all roles are one user, and it says so in its facts;
- three users and a group from the container's own range, in the setup (below 65536 under userns-remap);
- ``/tmp`` and ``/dev/shm`` as mounts of their own (tmpfs, mode 1777, with nr_inodes); a workspace, and for what must
  happen once a record directory outside of it; plugin directories, read-only; everything else read-only; ``/proc``
  mounted; the cgroup at ``/sys/fs/cgroup`` read-only, where kills for want of memory and peaks are read;
- no variables: the call's environment is made from nothing.
"""

from ._frames import FrameError, FrameReader, encode

__all__ = ["FrameError", "FrameReader", "encode"]
