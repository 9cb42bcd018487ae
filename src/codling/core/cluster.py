"""Calls of a function on a Ray cluster, for the shards of a stage (extra `ray`).

Input: a function that is importable by name and the arguments of its calls. Output: one value per
call, as they end. Nodes share the file system with this process: a call returns next to nothing,
its result is what it writes.

Not here: which calls there are and what they write (shards.py); starting clusters on machines.
"""

import importlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codling.core.errors import CodlingError, ConfigError, ToolMissingError

WAITING_PER_CORE = 2
"""Calls handed to Ray at a time, per core of the cluster: the rest stays unread."""
PROBE_SECONDS = 10.0
"""How long an address may take to accept a connection."""


def map_on_ray(
    function: Callable[..., object], calls: Iterator[tuple[Any, ...]], address: str
) -> Iterator[object]:
    """What `function` returns for each of `calls`, in the order in which they end.

    `address` is a cluster's, "auto" for the one of this machine, or "local" for a new one that ends
    with the calls. Raises ToolMissingError without the package, ConfigError if no cluster answers,
    CodlingError if a node is lost for good, and whatever `function` raises.
    """
    with _connect(address) as ray:
        remote = ray.remote(_call)
        limit = max(1, int(ray.cluster_resources().get("CPU", 1))) * WAITING_PER_CORE
        here, running = Path.cwd(), []
        try:
            for call in calls:
                running.append(remote.remote(here, function, call))
                if len(running) >= limit:
                    yield _next(ray, running)
            while running:
                yield _next(ray, running)
        finally:
            for each in running:
                ray.cancel(each, force=True)


def _call(here: Path, function: Callable[..., object], call: tuple[Any, ...]) -> object:
    # Relative paths mean on every node what they mean to the user.
    if here.is_dir():
        os.chdir(here)
    return function(*call)


def _next(ray: Any, running: list[Any]) -> object:  # noqa: ANN401  an optional package's module
    """The value of the call that ends next, which leaves `running`."""
    (done,), rest = ray.wait(running, num_returns=1)
    running[:] = rest
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        reason = type(error).__name__
        raise CodlingError(
            f"Ray lost a worker ({reason}); run the command again: it goes on from here"
        ) from None


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    # Ray would otherwise send statistics of its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ToolMissingError("Ray is not installed; pip install 'codling[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        _probe(address)
        ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"no Ray cluster at {address} ({reason}); start one with `ray start --head`"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _probe(address: str) -> None:
    """Raise OSError unless something listens where Ray would look for the cluster.

    Ray itself asks for 14 minutes: for a cluster that is gone but is still named in its file
    of the last one ("auto"), and for one on 127.0.0.1, which it looks for at the machine's address.
    """
    if "://" in address:
        return
    services = importlib.import_module("ray._private.services")
    found = services.canonicalize_bootstrap_address(address)
    if found is None:
        return
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
    except OSError as error:
        raise OSError(f"nothing answers at {found}: {error.strerror or error}") from None
