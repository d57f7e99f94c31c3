"""What kazoo makes of local sessions and of servers in read-only mode."""

import logging
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KeeperState

logging.basicConfig(level=logging.CRITICAL)

SERVERS, MODE, PATH = sys.argv[1:4]


def step(name, f):
    try:
        line = str(f())
    except KazooException as e:
        line = "error " + type(e).__name__
    print("%s | %s" % (name, line), flush=True)


def await_state(c, state, seconds):
    end = time.time() + seconds
    while c.client_state != state and time.time() < end:
        time.sleep(0.05)
    return c.client_state


def local():
    c = KazooClient(SERVERS, timeout=20)
    c.start(30)
    step("create", lambda: c.create(PATH))
    step("set", lambda: c.set(PATH, b"x").version)
    step("ephemeral", lambda: c.create(PATH + "/e", ephemeral=True))
    step("owner", lambda: c.exists(PATH + "/e").owner_session_id == c.client_id[0])
    t = c.transaction()
    t.create(PATH + "/p")
    t.create(PATH + "/s", ephemeral=True, sequence=True)
    step("ephemerals", t.commit)
    step("children", lambda: sorted(c.get_children(PATH)))
    c.stop()
    c.close()
    other = KazooClient(SERVERS, timeout=20)
    other.start(30)
    step("after close", lambda: sorted(other.get_children(PATH)))
    other.stop()
    other.close()


def read_only():
    c = KazooClient(SERVERS, timeout=20, read_only=True)
    c.start(30)
    step("connect", lambda: await_state(c, KeeperState.CONNECTED_RO, 30))
    step("read", lambda: c.get("/n")[0] or b"")
    step("set", lambda: c.set("/n", b""))
    step("create", lambda: c.create(PATH, ephemeral=True))
    step("sync", lambda: c.sync("/n"))
    step("waiting", lambda: "")
    step("back", lambda: await_state(c, KeeperState.CONNECTED, 60))
    step("create", lambda: c.retry(c.create, PATH, ephemeral=True))
    step("set", lambda: c.retry(c.set, "/n", b"").version > 0)
    c.stop()
    c.close()


if MODE == "local":
    local()
else:
    read_only()
