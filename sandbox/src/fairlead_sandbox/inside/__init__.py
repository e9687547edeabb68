"""What runs in the sandbox: supervisor (PID 1), zygote, call. Standard library only; relative imports only.

Started as ``python3 -I -S -c START``, START being ``import sys; sys.path.insert(0, '/fairlead'); from
inside._supervisor import main; main()``, with this directory mounted read-only at ``/fairlead/inside``. The host's
side is `fairlead_sandbox.runner`.

What it needs of whoever starts it (container options):

- to be PID 1 of its own PID namespace (no ``--init``), stdin attached and open, stdout attached, no TTY;
- to start as uid 0 with the capabilities SETUID, SETGID and CHOWN, DAC_OVERRIDE, FOWNER (the last three only to hand
  the workspace and the record directory over), and no others. The supervisor gives up all of them, and uid 0, before
  it starts the zygote; no_new_privs is set, so nobody gets one again. It works under userns-remap;
- three uids and one gid (in the first frame, from the container's own range; below 65536 under userns-remap):
  supervisor ``uid``, zygote ``uid + 1``, call ``uid + 2``;
- ``/tmp`` and ``/dev/shm`` as tmpfs (mode 1777, with nr_inodes), ``/work`` the workspace, ``/record`` a directory of
  the session's volume that only the supervisor may read (not inside the workspace), plugin directories at
  ``/plugin/0``, ``/plugin/1``, ... read-only; everything else read-only; ``/proc`` mounted; the cgroup at
  ``/sys/fs/cgroup`` read-only (Docker's default), from which out-of-memory kills and peaks are read;
- no variables: the call's environment is made from nothing.
"""

from ._frames import FrameError, FrameReader, encode

__all__ = ["FrameError", "FrameReader", "encode"]
