import asyncio
import json
import os
import signal
from types import ModuleType
from typing import Any

import pytest

from qmesh_local.child import StartError
from qmesh_local.control import NotRunningError, ask
from qmesh_local.layout import Layout

STORES = {"supervisor", "postgres", "nats-server"}


async def test_status_lists_every_process_with_pid_port_state_and_size(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """A running mesh shows each process; the mesh file says the same, and is gone with the mesh."""
    async with start(lab.spec(layout, "gateway"), lab.spec(layout, "alice")) as mesh:
        document = (await mesh.ask("status"))["status"]
        written = lab.mesh_file(layout)
        assert document["state"] == written["state"] == "running"
        assert {p["name"] for p in document["processes"]} == STORES | {"gateway", "alice"}
        for process in document["processes"]:
            assert lab.alive(process["pid"])
            assert process["state"] == "running"
            assert process["ports"]
            assert process["rss_bytes"] > 0
            assert process["started_at"].endswith("Z")
        assert any(line.startswith("ready in") for line in mesh.said)
        pids = [p["pid"] for p in document["processes"] if p["pid"] != os.getpid()]
    assert not any(map(lab.alive, pids))
    assert not layout.mesh_file.exists()
    with pytest.raises(NotRunningError):
        ask(layout, "status")


async def test_killed_process_is_restarted_and_counted(start: Any, layout: Layout, lab: ModuleType) -> None:
    """`kill -9` of a process brings a new one with a new pid, and the reason is kept."""
    async with start(lab.spec(layout, "alice")) as mesh:
        pid = (await mesh.process("alice"))["pid"]
        os.kill(pid, signal.SIGKILL)
        again = await mesh.until("alice", lambda p: p["restarts"] == 1 and p["state"] == "running")
        assert again["pid"] not in {pid, None}
        assert "SIGKILL" in again["reason"]
        assert any("restarting" in line for line in mesh.said)


async def test_killed_store_is_restarted(start: Any, layout: Layout, lab: ModuleType) -> None:
    """NATS and PostgreSQL are kept alive like the others."""
    async with start(lab.spec(layout, "alice")) as mesh:
        for name in ("nats-server", "postgres"):
            pid = (await mesh.process(name))["pid"]
            os.kill(pid, signal.SIGKILL)
            again = await mesh.until(name, lambda p: p["restarts"] == 1 and p["state"] == "running")
            assert again["pid"] != pid


async def test_process_that_keeps_dying_stays_down_after_five_restarts(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """At most five restarts in a minute; then the status and the report say which process and why."""
    dying = lab.READY.replace("signal.sigwait({signal.SIGTERM})", "sys.exit('out of luck')")
    async with start(lab.spec(layout, "alice", dying), lab.spec(layout, "bob")) as mesh:
        down = await mesh.until("alice", lambda p: p["state"] == "failed")
        assert down["restarts"] == 5
        assert "out of luck" in down["reason"]
        assert any(line.startswith("alice keeps ending") for line in mesh.said)
        assert (await mesh.process("bob"))["state"] == "running"


async def test_bad_configuration_is_not_retried(start: Any, layout: Layout, lab: ModuleType) -> None:
    """A process that ends with 78 after its start stays down at once."""
    script = lab.READY.replace("signal.sigwait({signal.SIGTERM})", "sys.exit(78)")
    async with start(lab.spec(layout, "alice", script)) as mesh:
        down = await mesh.until("alice", lambda p: p["state"] == "failed")
        assert down["restarts"] == 0


async def test_stopped_process_stays_down_until_it_is_started(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """`stop` ends a process and keeps it down; `start` brings it back; both may be said twice."""
    async with start(lab.spec(layout, "alice")) as mesh:
        pid = (await mesh.process("alice"))["pid"]
        for _ in range(2):
            assert (await mesh.ask("stop", "alice"))["ok"]
        down = await mesh.process("alice")
        assert (down["state"], down["pid"], down["restarts"]) == ("stopped", None, 0)
        assert not lab.alive(pid)
        for _ in range(2):
            assert (await mesh.ask("start", "alice"))["ok"]
        up = await mesh.process("alice")
        assert up["state"] == "running"
        os.kill(up["pid"], signal.SIGKILL)
        await mesh.until("alice", lambda p: p["restarts"] == 1 and p["state"] == "running")


async def test_start_while_a_restart_is_pending_makes_one_process(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """Stop and start in the pause before a restart leave one process, not two."""
    script = f"open({str(layout.run / 'begun')!r}, 'a').write('x')\n" + lab.READY
    (layout.run / "begun").write_text("")
    async with start(lab.spec(layout, "alice", script)) as mesh:
        os.kill((await mesh.process("alice"))["pid"], signal.SIGKILL)
        await mesh.until("alice", lambda p: p["state"] == "restarting")
        assert (await mesh.ask("stop", "alice"))["ok"]
        assert (await mesh.ask("start", "alice"))["ok"]
        assert (await mesh.process("alice"))["state"] == "running"
    assert (layout.run / "begun").read_text() == "xx"


async def test_unknown_names_and_commands_are_refused(start: Any, layout: Layout, lab: ModuleType) -> None:
    """The control socket names what there is, and survives what makes no sense."""
    async with start(lab.spec(layout, "alice")) as mesh:
        answer = await mesh.ask("stop", "nobody")
        assert "alice" in answer["error"]
        assert not (await mesh.ask("dance"))["ok"]
        for line in (b"[]\n", b"not json\n", b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(layout.control_socket))
            writer.write(line)
            assert json.loads(await reader.readline())["ok"] is False
            writer.close()
            await writer.wait_closed()
        assert (await mesh.ask("status"))["ok"]


async def test_process_that_does_not_start_ends_the_mesh_with_its_words(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """A start that fails says which process and why, and leaves nothing running."""
    pids = layout.run / "pids"
    good = f"import os\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\n" + lab.READY
    wait = f"while not os.path.exists({str(pids)!r}): time.sleep(0.01)"
    bad = f"import time, os, sys\n{wait}\nsys.exit('no luck today')"
    with pytest.raises(StartError, match="bob ended while starting: no luck today"):
        async with start(lab.spec(layout, "alice", good), lab.spec(layout, "bob", bad)):
            pass
    assert not lab.alive(int(pids.read_text()))


async def test_bad_configuration_at_the_start_is_told_apart(
    start: Any, layout: Layout, lab: ModuleType
) -> None:
    """Exit code 78 of a process while starting is a matter of configuration."""
    script = "import sys\nprint('configuration: QMESH_X is not a setting', file=sys.stderr)\nsys.exit(78)"
    with pytest.raises(StartError, match="QMESH_X") as caught:
        async with start(lab.spec(layout, "alice", script)):
            pass
    assert caught.value.configuration


async def test_second_supervisor_of_a_home_is_refused(
    start: Any, layout: Layout, lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two supervisors never share a home, even when they start at the same moment."""
    monkeypatch.setattr("qmesh_local.supervisor._LAST_HOLDER_SECONDS", 0.0)
    async with start(lab.spec(layout, "alice")) as mesh:
        with pytest.raises(StartError, match="already runs"):
            async with start(lab.spec(layout, "alice")):
                pass
        assert (await mesh.ask("status"))["ok"]


async def test_stop_while_starting_ends_everything(start: Any, layout: Layout, lab: ModuleType) -> None:
    """`down` before the mesh is ready ends what has begun."""
    begun = layout.run / "begun-2"
    script = f"import os, signal\nopen({str(begun)!r}, 'w').write(str(os.getpid()))\nsignal.pause()"

    async def down() -> None:
        await lab.until(lambda: begun.exists() and bool(begun.read_text()))
        await asyncio.to_thread(ask, layout, "down")

    async with asyncio.TaskGroup() as group:
        group.create_task(down())
        async with start(lab.spec(layout, "alice", script)):
            pass
    assert not lab.alive(int(begun.read_text()))
