"""Every call and every recipe of kazoo, one line per step."""

import logging
import socket
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.protocol.states import EventType
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.party import Party, ShallowParty
from kazoo.recipe.queue import LockingQueue, Queue
from kazoo.recipe.watchers import ChildrenWatch, DataWatch, PatientChildrenWatch
from kazoo.security import make_acl, make_digest_acl, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

logging.basicConfig(level=logging.CRITICAL)

SERVERS, THROUGH, CONTROL = sys.argv[1:4]
PATIENCE = 20

_print_lock = threading.Lock()


def put(step, line):
    with _print_lock:
        print("%s | %s" % (step, str(line).replace("\n", "\\n")), flush=True)


def show(o):
    if type(o).__name__ == "ZnodeStat":
        return "stat{m+%d p+%d v=%d cv=%d av=%d eph=%s dl=%d nc=%d}" % (
            o.mzxid - o.czxid, o.pzxid - o.czxid, o.version, o.cversion, o.aversion,
            o.ephemeralOwner != 0, o.dataLength, o.numChildren)
    if isinstance(o, bytes) and len(o) > 60:
        return "bytes(%d)" % len(o)
    if isinstance(o, (tuple, list)):
        return "(" + ", ".join(show(x) for x in o) + ")"
    if isinstance(o, Exception):
        return type(o).__name__
    return repr(o)


def step(name, f, *args, **kwargs):
    try:
        line = show(f(*args, **kwargs))
    except KazooException as e:
        line = "error " + type(e).__name__
    except Exception as e:
        line = "exception %s: %s" % (type(e).__name__, e)
    put(name, line)


def until(what):
    """Waits until what() is true; whether it became so."""
    end = time.time() + PATIENCE
    while time.time() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def client(**kwargs):
    c = KazooClient(hosts=SERVERS, timeout=30, **kwargs)
    c.start(timeout=PATIENCE)
    return c


zk = client()


class Events(object):
    def __init__(self):
        self.seen = []

    def __call__(self, e):
        self.seen.append("%s %s %s" % (e.type, e.state, e.path))

    def take(self):
        # Callbacks run in order on one thread: a completed barrier means that all came.
        done = threading.Event()
        zk.handler.dispatch_callback(_Barrier(done))
        done.wait(PATIENCE)
        out, self.seen = self.seen, []
        return out


class _Barrier(object):
    def __init__(self, done):
        self.func, self.args = done.set, ()


def sync_events(w):
    zk.exists("/")
    return w.take()


def calls():
    step("client/state", lambda: zk.state)
    step("client/version", lambda: zk.server_version()[0] == 3)
    step("client/command ruok", zk.command, b"ruok")
    step("client/id", lambda: (zk.client_id[0] >> 56, len(zk.client_id[1])))
    step("create/node", zk.create, "/k", b"1")
    step("create/exists", zk.create, "/k", b"1")
    step("create/no parent", zk.create, "/k/a/b", b"1")
    step("create/makepath", zk.create, "/k/a/b/c", b"1", makepath=True)
    step("create/ephemeral", zk.create, "/k/e", b"1", ephemeral=True)
    step("create/below ephemeral", zk.create, "/k/e/x", b"1")
    step("create/sequence", zk.create, "/k/s-", b"1", sequence=True)
    step("create/ephemeral sequence", zk.create, "/k/s-", b"1", ephemeral=True, sequence=True)
    step("create/with data", zk.create, "/k/d", b"12", include_data=True)
    step("create/acl", zk.create, "/k/acl", b"", acl=READ_ACL_UNSAFE)
    step("create/digest acl", zk.create, "/k/acl2", b"", acl=[make_digest_acl("bob", "pw", all=True)])
    step("create/big", zk.create, "/k/big", b"x" * 900000)
    step("ensure", zk.ensure_path, "/k/x/y/z")
    step("ensure again", zk.ensure_path, "/k/x/y/z")
    step("exists", zk.exists, "/k")
    step("exists missing", zk.exists, "/none")
    step("get", zk.get, "/k")
    step("get missing", zk.get, "/none")
    step("get big", zk.get, "/k/big")
    step("children", lambda: sorted(zk.get_children("/k")))
    step("children data", lambda: zk.get_children("/k", include_data=True)[1])
    step("children missing", zk.get_children, "/none")
    step("set", zk.set, "/k", b"22")
    step("set version", zk.set, "/k", b"333", version=1)
    step("set bad version", zk.set, "/k", b"333", version=1)
    step("set missing", zk.set, "/none", b"")
    step("set empty", zk.set, "/k", b"")
    step("get empty", zk.get, "/k")
    step("acls", zk.get_acls, "/k")
    step("acls digest", zk.get_acls, "/k/acl2")
    step("set acls", zk.set_acls, "/k", OPEN_ACL_UNSAFE)
    step("set acls bad", zk.set_acls, "/k", [make_acl("nope", "x", all=True)])
    step("set acls bad version", zk.set_acls, "/k", OPEN_ACL_UNSAFE, version=9)
    step("no auth set", zk.set, "/k/acl", b"x")
    step("sync", zk.sync, "/k")
    step("delete not empty", zk.delete, "/k/a")
    step("delete bad version", zk.delete, "/k/d", version=9)
    step("delete", zk.delete, "/k/d")
    step("delete missing", zk.delete, "/k/d")
    step("delete recursive", zk.delete, "/k/a", recursive=True)
    step("chroot", lambda: KazooClient(hosts=SERVERS + "/k/x").chroot)
    step("config", zk.get, "/zookeeper/config")
    results = [zk.create_async("/k/p-", b"%d" % i, sequence=True) for i in range(200)]
    names = [r.get(timeout=PATIENCE) for r in results]
    put("pipelined", names == sorted(names) and len(set(names)) == 200)
    results = []
    for i in range(100):
        results.append(zk.set_async("/k", b"%d" % i))
        results.append(zk.get_async("/k"))
    put("read own writes", all(results[2 * i + 1].get(timeout=PATIENCE)[0] == b"%d" % i for i in range(100)))


def transactions():
    t = zk.transaction()
    t.create("/t", b"1")
    t.create("/t/e", b"2", ephemeral=True, sequence=True)
    t.set_data("/t", b"3", version=0)
    t.check("/t", version=1)
    t.delete("/t/none", version=3)
    step("transaction/fails", t.commit)
    t = zk.transaction()
    t.create("/t", b"1")
    t.create("/t/e", b"2", ephemeral=True, sequence=True)
    t.set_data("/t", b"3", version=0)
    t.check("/t", version=1)
    step("transaction/works", t.commit)
    step("transaction/children", zk.get_children, "/t")
    step("transaction/empty", zk.transaction().commit)

    def managed():
        with zk.transaction() as m:
            m.create("/t/m", b"")
            m.delete("/t/m")
        return zk.exists("/t/m")
    step("transaction/managed", managed)


def watches():
    w = Events()
    zk.create("/w", b"")
    step("watch/exists", zk.exists, "/w/n", watch=w)
    step("watch/children", zk.get_children, "/w", watch=w)
    step("watch/get", zk.get, "/w", watch=w)
    zk.create("/w/n", b"")
    put("watch/created", sync_events(w))
    zk.set("/w", b"1")
    put("watch/changed", sync_events(w))
    zk.get("/w/n", watch=w)
    zk.get_children("/w/n", watch=w)
    zk.get_children("/w", watch=w)
    zk.delete("/w/n")
    put("watch/deleted", sync_events(w))


def auth():
    o = client()
    step("auth/add", zk.add_auth, "digest", "bob:pw")
    step("auth/create", zk.create, "/auth", b"x", acl=[make_acl("auth", "", all=True)])
    step("auth/acls", zk.get_acls, "/auth")
    step("auth/other get", o.get, "/auth")
    step("auth/other set", o.set, "/auth", b"")
    step("auth/other add", o.add_auth, "digest", "bob:pw")
    step("auth/other get again", o.get, "/auth")
    step("auth/bad scheme", o.add_auth, "nope", "x")
    o.stop()
    o.close()
    a = KazooClient(hosts=SERVERS, timeout=30, auth_data=[("digest", "bob:pw")])
    a.start(timeout=PATIENCE)
    step("auth/at start", a.get, "/auth")
    a.stop()
    a.close()


def locks():
    other = client()
    a, b = Lock(zk, "/lock", "a"), Lock(other, "/lock", "b")
    step("lock/acquire", a.acquire)
    step("lock/held", b.acquire, blocking=False)
    step("lock/timeout", b.acquire, timeout=0.2)
    step("lock/contenders", a.contenders)
    got = threading.Event()
    th = threading.Thread(target=lambda: (b.acquire(), got.set()))
    th.start()
    put("lock/waits", until(lambda: len(a.contenders()) == 2) and not got.is_set())
    step("lock/contenders both", a.contenders)
    step("lock/release", a.release)
    put("lock/passed on", got.wait(PATIENCE))
    step("lock/contenders after", b.contenders)
    step("lock/release b", b.release)
    th.join()
    # A holder whose session ends lets go.
    c = client()
    step("lock/third", Lock(c, "/lock", "c").acquire)
    th = threading.Thread(target=lambda: a.acquire())
    th.start()
    put("lock/third waited for", until(lambda: len(a.contenders()) == 2))
    c.stop()
    th.join(PATIENCE)
    put("lock/taken over", not th.is_alive())
    a.release()
    c.close()

    r1, r2, wl = ReadLock(zk, "/rw", "r1"), ReadLock(other, "/rw", "r2"), WriteLock(other, "/rw", "w")
    step("rwlock/read 1", r1.acquire)
    step("rwlock/read 2", r2.acquire)
    step("rwlock/write held", wl.acquire, blocking=False)
    r1.release()
    r2.release()
    step("rwlock/write", wl.acquire)
    step("rwlock/read held", r1.acquire, blocking=False)
    wl.release()

    s = [Semaphore(zk, "/sem", "s%d" % i, max_leases=2) for i in range(3)]
    step("semaphore/1", s[0].acquire)
    step("semaphore/2", s[1].acquire)
    step("semaphore/3", s[2].acquire, blocking=False)
    step("semaphore/holders", lambda: sorted(s[0].lease_holders()))
    s[0].release()
    step("semaphore/3 again", s[2].acquire)
    s[1].release()
    s[2].release()

    import datetime
    step("lease/first", lambda: bool(NonBlockingLease(zk, "/lease", datetime.timedelta(seconds=60), identifier="x")))
    step("lease/second", lambda: bool(NonBlockingLease(other, "/lease", datetime.timedelta(seconds=60), identifier="y")))
    step("lease/again", lambda: bool(NonBlockingLease(other, "/lease", datetime.timedelta(seconds=60), identifier="x")))
    for i in range(3):
        step("lease/multi %d" % i, lambda: bool(MultiNonBlockingLease(zk, 2, "/leases", datetime.timedelta(seconds=60), identifier="m%d" % i)))
    other.stop()
    other.close()


def elections():
    other = client()
    a, b = Election(zk, "/election", "a"), Election(other, "/election", "b")
    led, end = threading.Event(), threading.Event()
    ta = threading.Thread(target=lambda: a.run(lambda: (led.set(), end.wait(PATIENCE))))
    ta.start()
    put("election/a leads", led.wait(PATIENCE))
    led_b = threading.Event()
    tb = threading.Thread(target=lambda: b.run(led_b.set))
    tb.start()
    put("election/b waits", until(lambda: len(a.contenders()) == 2) and not led_b.is_set())
    step("election/contenders", a.contenders)
    end.set()
    ta.join()
    put("election/b leads", led_b.wait(PATIENCE))
    tb.join()
    step("election/nobody", a.contenders)
    other.stop()
    other.close()


def queues():
    q = Queue(zk, "/queue")
    step("queue/empty", q.get)
    for i in range(5):
        q.put(b"%d" % i)
    q.put(b"urgent", priority=10)
    step("queue/length", lambda: len(q))
    step("queue/all", lambda: [q.get() for _ in range(6)])
    step("queue/empty again", q.get)

    lq = LockingQueue(zk, "/lqueue")
    other = client()
    lo = LockingQueue(other, "/lqueue")
    step("locking/put", lq.put, b"one")
    step("locking/put all", lq.put_all, [b"two", b"three"])
    step("locking/length", lambda: len(lq))
    step("locking/get", lq.get, timeout=PATIENCE)
    step("locking/holds", lq.holds_lock)
    step("locking/other gets", lo.get, timeout=PATIENCE)
    step("locking/consume", lq.consume)
    step("locking/other consumes", lo.consume)
    step("locking/third", lq.get, timeout=PATIENCE)
    step("locking/release", lq.release)
    step("locking/third by other", lo.get, timeout=PATIENCE)
    step("locking/third consumed", lo.consume)
    step("locking/timeout", lq.get, timeout=0.2)
    got = []
    th = threading.Thread(target=lambda: got.append(lo.get(timeout=PATIENCE)))
    th.start()
    until(lambda: len(zk.get_children("/lqueue/taken")) >= 0)
    lq.put(b"late")
    th.join()
    put("locking/late", got)
    other.stop()
    other.close()


def barriers():
    b = Barrier(zk, "/barrier")
    step("barrier/none", b.wait, timeout=PATIENCE)
    step("barrier/create", b.create)
    step("barrier/create again", b.create)
    step("barrier/closed", b.wait, timeout=0.2)
    passed = threading.Event()
    th = threading.Thread(target=lambda: b.wait(PATIENCE) and passed.set())
    th.start()
    step("barrier/remove", b.remove)
    th.join()
    put("barrier/passed", passed.is_set())
    step("barrier/remove again", b.remove)

    other = client()
    d1, d2 = DoubleBarrier(zk, "/double", 2, "d1"), DoubleBarrier(other, "/double", 2, "d2")
    log = []

    def go(d, name):
        d.enter()
        log.append("in")
        d.leave()
        log.append("out")
    ts = [threading.Thread(target=go, args=(d, n)) for d, n in ((d1, "1"), (d2, "2"))]
    ts[0].start()
    put("double/waits", until(lambda: zk.exists("/double") and len(zk.get_children("/double")) == 1) and not log)
    ts[1].start()
    for t in ts:
        t.join(PATIENCE)
    put("double/log", sorted(log))
    step("double/left", zk.get_children, "/double")
    other.stop()
    other.close()


def counters():
    c = Counter(zk, "/counter")
    step("counter/zero", lambda: c.value)
    c += 2
    c -= 1
    step("counter/one", lambda: c.value)
    other = client()
    o = Counter(other, "/counter")

    def bump(x):
        for _ in range(25):
            x += 1
    ts = [threading.Thread(target=bump, args=(x,)) for x in (c, o)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    step("counter/both", lambda: o.value)
    f = Counter(zk, "/fcounter", default=1.5)
    f += 2.25
    step("counter/float", lambda: f.value)
    other.stop()
    other.close()


def parties():
    other = client()
    for cls in (Party, ShallowParty):
        n = cls.__name__
        a, b = cls(zk, "/" + n, "a"), cls(other, "/" + n, "b")
        a.join()
        b.join()
        step(n + "/members", lambda: (sorted(a), len(b)))
        a.leave()
        step(n + "/after leave", lambda: sorted(b))
        b.leave()
        step(n + "/empty", lambda: sorted(a))
    other.stop()
    other.close()


def watchers():
    zk.create("/cw", b"0")
    seen = []

    @zk.ChildrenWatch("/cw")
    def children(c):
        seen.append(sorted(c))
        return len(c) < 3
    for n in "abcd":
        zk.create("/cw/" + n, b"")
        put("childrenwatch/" + n, until(lambda: len(seen[-1]) >= min(3, len(zk.get_children("/cw")))))
    put("childrenwatch/seen last", seen[-1])

    data = []

    @zk.DataWatch("/cw/data")
    def watch(d, stat, event):
        data.append((d, stat and stat.version, event and event.type))
    put("datawatch/missing", data[-1:])
    zk.create("/cw/data", b"1")
    put("datawatch/created", until(lambda: data[-1][0] == b"1") and data[-1])
    zk.set("/cw/data", b"2")
    put("datawatch/set", until(lambda: data[-1][0] == b"2") and data[-1])
    zk.delete("/cw/data")
    put("datawatch/deleted", until(lambda: data[-1][0] is None) and data[-1])

    p = PatientChildrenWatch(zk, "/cw", time_boundary=0.3)
    r = p.start()
    children, asy = r.get(timeout=PATIENCE)
    put("patient/settled", sorted(children))
    zk.create("/cw/more", b"")
    put("patient/changed", asy.get(timeout=PATIENCE) is not None)


def caches():
    zk.create("/tc", b"root")
    zk.create("/tc/a", b"1")
    events = []
    cache = TreeCache(zk, "/tc")
    cache.listen(lambda e: events.append((e.event_type, e.event_data and e.event_data.path)) and None)
    cache.start()
    put("treecache/initialized", until(lambda: any(t == TreeEvent.INITIALIZED for t, _ in events)))
    put("treecache/first", sorted(set(events), key=str))
    del events[:]
    zk.create("/tc/a/b", b"2")
    put("treecache/added", until(lambda: (TreeEvent.NODE_ADDED, "/tc/a/b") in events))
    zk.set("/tc/a/b", b"3")
    put("treecache/updated", until(lambda: (TreeEvent.NODE_UPDATED, "/tc/a/b") in events))
    step("treecache/data", lambda: cache.get_data("/tc/a/b").data)
    step("treecache/children", lambda: sorted(cache.get_children("/tc/a")))
    zk.delete("/tc/a/b")
    put("treecache/removed", until(lambda: (TreeEvent.NODE_REMOVED, "/tc/a/b") in events))
    cache.close()


def partitioners():
    other = client()
    ps = [SetPartitioner(c, "/part", set=("1", "2", "3", "4"), identifier=i, time_boundary=0.3) for c, i in ((zk, "a"), (other, "b"))]
    end = time.time() + PATIENCE
    while time.time() < end and not all(p.acquired for p in ps):
        for p in ps:
            if p.release:
                p.release_set()
            elif p.allocating:
                p.wait_for_acquire(0.1)
    put("partitioner/split", [sorted(p) for p in ps])
    ps[1].finish()
    end = time.time() + PATIENCE
    while time.time() < end and not (ps[0].acquired and len(list(ps[0])) == 4):
        if ps[0].release:
            ps[0].release_set()
        elif ps[0].allocating:
            ps[0].wait_for_acquire(0.1)
    put("partitioner/alone", sorted(ps[0]))
    ps[0].finish()
    other.stop()
    other.close()


def sessions():
    states = []
    c = KazooClient(hosts=SERVERS, timeout=30)
    c.add_listener(states.append)
    c.start(timeout=PATIENCE)
    c.create("/sess-e", b"", ephemeral=True)
    sid = c.client_id
    # A second client on the same session takes the connection over; the first comes back
    # and takes it over again: the session and its ephemeral live through it.
    o = KazooClient(hosts=SERVERS, timeout=30, client_id=sid)
    o.start(timeout=PATIENCE)
    step("session/same", lambda: o.client_id[0] == sid[0])
    put("session/suspended", until(lambda: KazooState.SUSPENDED in states))
    o.stop()
    put("session/lost", until(lambda: KazooState.LOST in states))
    step("session/ephemeral gone", lambda: until(lambda: zk.exists("/sess-e") is None))
    put("session/new one", until(lambda: c.connected and c.client_id is not None and c.client_id[0] != sid[0]))
    step("session/works", lambda: c.exists("/k") is not None)
    c.stop()
    put("session/states end", states[-1])
    c.close()
    o.close()
    r = KazooClient(hosts=SERVERS, timeout=30, read_only=True)
    r.start(timeout=PATIENCE)
    step("session/read only state", lambda: r.client_state)
    r.stop()
    r.close()
    c = client()
    c.create("/restart-e", b"", ephemeral=True)
    c.restart()
    step("session/restart", lambda: c.exists("/restart-e"))
    c.stop()
    c.close()


def proxy(what):
    """Tells the proxy to drop (b'd') all connections, or to let them in again (b'u')."""
    host, port = CONTROL.split(":")
    c = socket.create_connection((host, int(port)))
    c.sendall(what)
    c.recv(1)
    c.close()


def reconnect():
    states = []
    zk.create("/rc", b"1")
    c = KazooClient(hosts=THROUGH, timeout=30)
    c.add_listener(states.append)
    c.start(timeout=PATIENCE)
    sid = c.client_id
    c.create("/rc/e", b"", ephemeral=True)
    data, children = [], []
    c.DataWatch("/rc", lambda d, s: data.append(d) and None)
    c.ChildrenWatch("/rc", lambda k: children.append(sorted(k)) and None)
    lock = Lock(c, "/rclock", "x")
    lock.acquire()
    proxy(b"d")
    put("reconnect/suspended", until(lambda: states[-1] == KazooState.SUSPENDED))
    zk.set("/rc", b"2")
    zk.create("/rc/n", b"")
    proxy(b"u")
    put("reconnect/connected", until(lambda: states[-1] == KazooState.CONNECTED))
    put("reconnect/same session", c.client_id == sid)
    put("reconnect/data", until(lambda: data[-1] == b"2"))
    put("reconnect/children", until(lambda: children[-1] == ["e", "n"]))
    zk.set("/rc", b"3")
    put("reconnect/data again", until(lambda: data[-1] == b"3"))
    step("reconnect/ephemeral", lambda: zk.exists("/rc/e") is not None)
    step("reconnect/lock held", Lock(zk, "/rclock", "y").acquire, blocking=False)
    lock.release()
    c.stop()
    c.close()


ALL = [reconnect, calls, transactions, watches, auth, locks, elections, queues, barriers, counters, parties, watchers, caches, partitioners, sessions]


def main():
    for f in ALL:
        try:
            f()
        except Exception as e:
            put(f.__name__ + " broke off", "%s: %s" % (type(e).__name__, e))
            traceback.print_exc()
    zk.stop()
    step("stopped", lambda: zk.state)
    zk.close()


main()
sys.stdout.flush()
