"""The node as a process: it enrolls, advertises, ends cleanly, and says why it does not start."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType

import pytest
import trio

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enrollment
from qmesh_fabric import protocols
from qmesh_fabric.adverts import AdvertInbox
from qmesh_fabric.control import ControlHub
from qmesh_fabric.enroll import serve_enroll
from qmesh_fabric.host import open_host
from qmesh_fabric.identity import Identity, load_or_create
from qmesh_kit.ledger import verify

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the library leaves them
DESCRIPTION = {
    "name": "node-one",
    "services": [{"service_type": "cnot", "fidelity": 0.99}],
    "data_qubits": 4,
}


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


def _environ(folder: Path, lab: ModuleType, registry: str, listen: str) -> dict[str, str]:
    (folder / "node.json").write_text(json.dumps(DESCRIPTION))
    (folder / "runtime.peers").write_text("")
    (folder / "token.keys").write_text(lab.RESERVATION.public_key.hex())
    values = {
        "FABRIC": listen,
        "IDENTITY_FILE": folder / "node.key",
        "STATE_FILE": folder / "epoch",
        "DESCRIPTION_FILE": folder / "node.json",
        "REGISTRIES": json.dumps([registry]),
        "RUNTIME_PEERS_FILE": folder / "runtime.peers",
        "TOKEN_KEYS_FILE": folder / "token.keys",
        "POOL_TOKEN": "a-pool-token-of-this-test",
        "LEDGER_FILE": folder / "ledger.jsonl",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QMESH_")}
    return kept | {f"QMESH_NODE__{name}": str(value) for name, value in values.items()}


def _start(environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qmesh_node"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_node_enrolls_advertises_and_ends_on_sigterm(tmp_path: Path, lab: ModuleType) -> None:
    """The process proves its key with the pool token, is seen by its advertisement, and SIGTERM ends it with 0."""
    tokens: list[str] = []
    opened, closed = trio.Event(), trio.Event()

    async def decide(_hello: enrollment.EnrollHello, token: str) -> enrollment.EnrollResult:
        tokens.append(token)
        return enrollment.EnrollResult(status=enrollment.ENROLLMENT_STATUS_READY)

    async def watch() -> tuple[advert.Advertisement, int, str]:
        async with (
            open_host(Identity(b"registry".ljust(32)), ["/ip4/127.0.0.1/tcp/0"], pubsub="sink") as host,
            trio.open_nursery() as nursery,
        ):
            inbox = AdvertInbox(host, lambda _: True)
            hub = ControlHub(lambda _: opened.set(), lambda *_: None, lambda _: closed.set())
            host.serve(protocols.ENROLL, serve_enroll(host, decide))
            host.serve(protocols.CONTROL, hub.serve)
            await nursery.start(inbox.run)
            process = _start(_environ(tmp_path, lab, host.listen_addrs()[0], "/ip4/127.0.0.1/tcp/0"))
            try:
                await opened.wait()
                hub.send(hub.nodes()[0], control.ControlCommand(drain=control.Drain()))
                seen = None
                async with aclosing(inbox.batches()) as batches:
                    async for batch in batches:
                        seen = batch[0]
                        if seen.services[0].availability == advert.AVAILABILITY_DRAINING:
                            break
                process.send_signal(signal.SIGTERM)
                await closed.wait()
                _, errors = await trio.to_thread.run_sync(process.communicate)
            finally:
                process.kill()
                process.wait()
            nursery.cancel_scope.cancel()
            assert seen is not None
            return seen, process.returncode, errors

    async def limited() -> tuple[advert.Advertisement, int, str]:
        with trio.fail_after(30):
            return await watch()

    seen, code, errors = trio.run(limited)
    assert code == 0, errors[-2000:]
    assert tokens == ["a-pool-token-of-this-test"]
    assert (seen.name, seen.epoch) == ("node-one", 1)
    assert seen.node_id == load_or_create(tmp_path / "node.key").peer_id
    assert verify(tmp_path / "ledger.jsonl").intact


def _fails(environ: dict[str, str]) -> tuple[int, str]:
    process = _start(environ)
    try:
        out, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out + errors


def test_a_taken_port_and_broken_files_end_the_process_with_the_reason(
    tmp_path: Path, lab: ModuleType
) -> None:
    """A port in use is exit 1 with the address; a file that makes no sense is exit 78 with its name."""
    registry = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity(b'registry'.ljust(32)).peer_id}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        code, said = _fails(_environ(tmp_path, lab, registry, listen))
    assert code == 1
    assert listen in said
    assert "another process has this port" in said
    environ = _environ(tmp_path, lab, registry, "/ip4/127.0.0.1/tcp/0")
    (tmp_path / "token.keys").write_text("nonsense")
    code, said = _fails(environ)
    assert code == 78
    assert "token.keys" in said
