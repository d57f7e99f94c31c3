import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** Every call of the Java client, synchronous and asynchronous. */
public final class ClientTour extends Tour {
    private final Events w = new Events();
    private ZooKeeper zk;

    private ClientTour(String servers) {
        super(servers);
    }

    public static void main(String[] args) throws Exception {
        ClientTour t = new ClientTour(args[0]);
        t.run(args[1], args[2]);
        System.exit(0);
    }

    private void run(String through, String control) throws Exception {
        zk = connect(30000, w);
        events("connect/events", zk, w);
        step("connect/timeout", () -> zk.getSessionTimeout());
        step("connect/id", () -> (zk.getSessionId() >>> 56) + " " + zk.getSessionPasswd().length);
        creates();
        synchronous();
        asynchronous();
        multis();
        watches();
        persistentWatches();
        auth();
        admin();
        chroot();
        reconnect(through, control, false);
        reconnect(through, control, true);
        session();
        zk.close();
        step("closed/use", () -> zk.exists("/", false));
    }

    private static byte[] b(String s) {
        return s.getBytes();
    }

    private void creates() throws Exception {
        zk.create("/c", b("c"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        for (CreateMode m : CreateMode.values()) {
            String p = "/c/" + m;
            step("create/" + m, () -> zk.create(p, b("x"), Ids.OPEN_ACL_UNSAFE, m));
            Stat s = new Stat();
            step("create/" + m + " stat", () -> zk.create(p + "-s", b("x"), Ids.OPEN_ACL_UNSAFE, m, s));
            step("create/" + m + " stat is", () -> s);
            for (long ttl : new long[] {1000000, 0, -1, 0xFFFFFFFFFFL, 0x10000000000L}) {
                Stat st = new Stat();
                step("create/" + m + " ttl " + ttl, () -> zk.create(p + "-t" + ttl, b("x"), Ids.OPEN_ACL_UNSAFE, m, st, ttl));
                step("create/" + m + " ttl " + ttl + " stat", () -> st);
            }
            step("create/" + m + " below", () -> zk.create(p + "/d", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
            async("create/" + m + " async", r -> zk.create(p + "-a", b("y"), Ids.OPEN_ACL_UNSAFE, m, (AsyncCallback.StringCallback) r, "ctx"));
            async("create/" + m + " async2", r -> zk.create(p + "-b", b("y"), Ids.OPEN_ACL_UNSAFE, m, (AsyncCallback.Create2Callback) r, "ctx"));
            async("create/" + m + " async ttl", r -> zk.create(p + "-e", b("y"), Ids.OPEN_ACL_UNSAFE, m, r, "ctx", 5000000L));
        }
        step("create/exists", () -> zk.create("/c", b("c"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/no parent", () -> zk.create("/none/c", b("c"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/bad path", () -> zk.create("/c/", b("c"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/null data", () -> zk.create("/c/null", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/empty acl", () -> zk.create("/c/acl", null, new ArrayList<>(), CreateMode.PERSISTENT));
        step("create/bad acl", () -> zk.create("/c/acl", null, Collections.singletonList(new ACL(31, new Id("no", "x"))), CreateMode.PERSISTENT));
        step("create/auth acl", () -> zk.create("/c/acl", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        step("create/children", () -> sorted(zk.getChildren("/c", false)));
        step("create/ephemerals", () -> sorted(zk.getEphemerals()));
        step("create/unicode", () -> zk.create("/c/\u00e9\u4e16\u754c", b("\u00e9"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/unicode get", () -> zk.getData("/c/\u00e9\u4e16\u754c", false, null));
        step("create/big", () -> zk.create("/c/big", new byte[900000], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("create/big get", () -> zk.getData("/c/big", false, null));
    }

    private void synchronous() throws Exception {
        zk.create("/s", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Stat s = new Stat();
        step("sync/exists", () -> zk.exists("/s", false));
        step("sync/exists missing", () -> zk.exists("/none", false));
        step("sync/getData", () -> zk.getData("/s", false, s));
        step("sync/getData stat", () -> s);
        step("sync/getData missing", () -> zk.getData("/none", false, s));
        step("sync/setData", () -> zk.setData("/s", b("22"), 0));
        step("sync/setData bad version", () -> zk.setData("/s", b("22"), 0));
        step("sync/setData missing", () -> zk.setData("/none", b("22"), 0));
        step("sync/setData null", () -> zk.setData("/s", null, -1));
        step("sync/getData null", () -> zk.getData("/s", false, s));
        step("sync/getACL", () -> zk.getACL("/s", s));
        step("sync/getACL missing", () -> zk.getACL("/none", s));
        step("sync/setACL", () -> zk.setACL("/s", Ids.OPEN_ACL_UNSAFE, 0));
        step("sync/setACL bad version", () -> zk.setACL("/s", Ids.OPEN_ACL_UNSAFE, 0));
        step("sync/getChildren", () -> sorted(zk.getChildren("/", false)));
        step("sync/getChildren stat", () -> sorted(zk.getChildren("/", false, s)));
        step("sync/getChildren stat is", () -> s);
        step("sync/getChildren missing", () -> zk.getChildren("/none", false));
        step("sync/count", () -> zk.getAllChildrenNumber("/c"));
        step("sync/count missing", () -> zk.getAllChildrenNumber("/none"));
        step("sync/ephemerals prefix", () -> sorted(zk.getEphemerals("/c/EPHEMERAL_")));
        step("sync/delete missing", () -> zk.delete("/none", -1));
        step("sync/delete bad version", () -> zk.delete("/s", 77));
        step("sync/delete not empty", () -> zk.delete("/c", -1));
        step("sync/delete", () -> zk.delete("/s", 2));
        step("sync/config", () -> zk.getConfig(false, s));
        step("sync/config stat", () -> s);
        step("sync/whoAmI", () -> zk.whoAmI());
        step("sync/bad path", () -> zk.exists("x", false));
    }

    private void asynchronous() throws Exception {
        zk.create("/a", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        for (String p : new String[] {"/a", "/none"}) {
            async("async/exists " + p, r -> zk.exists(p, false, r, "c"));
            async("async/getData " + p, r -> zk.getData(p, false, r, "c"));
            async("async/setData " + p, r -> zk.setData(p, b("2"), -1, r, "c"));
            async("async/setData bad version " + p, r -> zk.setData(p, b("2"), 99, r, "c"));
            async("async/getACL " + p, r -> zk.getACL(p, new Stat(), (AsyncCallback.ACLCallback) r::acl, "c"));
            async("async/setACL " + p, r -> zk.setACL(p, Ids.READ_ACL_UNSAFE, -1, r, "c"));
            async("async/getChildren " + p, r -> zk.getChildren(p, false, (AsyncCallback.ChildrenCallback) r, "c"));
            async("async/getChildren2 " + p, r -> zk.getChildren(p, false, (AsyncCallback.Children2Callback) r, "c"));
            async("async/count " + p, r -> zk.getAllChildrenNumber(p, r, "c"));
            async("async/ephemerals " + p, r -> zk.getEphemerals(p, r, "c"));
            async("async/sync " + p, r -> zk.sync(p, r, "c"));
            async("async/delete " + p, r -> zk.delete(p, -1, r, "c"));
        }
        async("async/config", r -> zk.getConfig(false, r, "c"));
        async("async/multi", r -> zk.multi(Arrays.asList(Op.create("/am", b("1"), Ids.OPEN_ACL_UNSAFE, 0), Op.setData("/am", b("2"), 0), Op.delete("/am", 1)),
            (AsyncCallback.MultiCallback) r::multi, "c"));
        async("async/multi fails", r -> zk.multi(Arrays.asList(Op.create("/am", b("1"), Ids.OPEN_ACL_UNSAFE, 0), Op.delete("/none", 1)),
            (AsyncCallback.MultiCallback) r::multi, "c"));
        // Many in flight, answered in order.
        List<Reply> rs = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            Reply r = new Reply();
            rs.add(r);
            zk.create("/a-seq-", b("" + i), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL, (AsyncCallback.StringCallback) r, i);
        }
        StringBuilder all = new StringBuilder();
        String first = rs.get(0).get();
        int base = Integer.parseInt(first.substring(first.length() - 10));
        for (int i = 0; i < rs.size(); i++) {
            String l = rs.get(i).get();
            if (!l.endsWith(String.format("%010d", base + i))) {
                all.append(' ').append(l);
            }
        }
        put("async/pipelined", "out of order:" + all);
    }

    private void multis() throws Exception {
        step("multi/empty", () -> zk.multi(new ArrayList<>()));
        step("multi/all", () -> zk.multi(Arrays.asList(
            Op.create("/m", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.create("/m/e", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL),
            Op.create("/m/c", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER),
            Op.create("/m/t", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, 100000),
            Op.setData("/m", b("22"), 0),
            Op.check("/m", 1),
            Op.delete("/m/c", 0))));
        step("multi/fails", () -> zk.multi(Arrays.asList(Op.check("/m", 1), Op.delete("/m", 7), Op.setData("/m", b("x"), -1))));
        step("multi/transaction", () -> zk.transaction().create("/m/x", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT)
            .check("/m/x", 0).setData("/m/x", b("2"), 0).delete("/m/x", 1).commit());
        step("multi/transaction fails", () -> zk.transaction().check("/m", 99).commit());
        step("multi/read", () -> zk.multi(Arrays.asList(Op.getData("/m"), Op.getChildren("/m"), Op.getData("/none"), Op.getChildren("/none"))));
        step("multi/mixed", () -> zk.multi(Arrays.asList(Op.getData("/m"), Op.delete("/m", -1))));
        step("multi/children", () -> sorted(zk.getChildren("/m", false)));
    }

    private void watches() throws Exception {
        zk.create("/w", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        w.take();
        step("watch/exists", () -> zk.exists("/w/n", w));
        step("watch/children", () -> zk.getChildren("/w", w));
        step("watch/data", () -> zk.getData("/w", w, null));
        zk.create("/w/n", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        events("watch/created", zk, w);
        zk.setData("/w", b("2"), -1);
        events("watch/data changed", zk, w);
        zk.setData("/w", b("3"), -1);
        events("watch/one shot", zk, w);
        step("watch/data n", () -> zk.getData("/w/n", w, null));
        step("watch/children n", () -> zk.getChildren("/w/n", w));
        step("watch/children again", () -> zk.getChildren("/w", w));
        zk.delete("/w/n", -1);
        events("watch/deleted", zk, w);
        step("watch/default data", () -> zk.getData("/w", true, null));
        Events other = new Events();
        step("watch/second watcher", () -> zk.getData("/w", other, null));
        zk.setData("/w", b("4"), -1);
        events("watch/default fired", zk, w);
        put("watch/second fired", other.take());
        step("watch/missing leaves none", () -> zk.getData("/w/none", w, null));
        zk.create("/w/none", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        events("watch/missing left none", zk, w);
        step("watch/config", () -> zk.getConfig(w, null));
        step("watch/remove data none", () -> zk.removeWatches("/w", w, WatcherType.Data, false));
        step("watch/arm 1", () -> zk.getData("/w", w, null));
        step("watch/arm 2", () -> zk.getChildren("/w", w));
        step("watch/remove wrong", () -> zk.removeWatches("/w/none", w, WatcherType.Data, false));
        step("watch/remove data", () -> zk.removeWatches("/w", w, WatcherType.Data, false));
        events("watch/remove data events", zk, w);
        step("watch/remove any", () -> zk.removeWatches("/w", w, WatcherType.Any, false));
        events("watch/remove any events", zk, w);
        step("watch/arm 3", () -> zk.getData("/w", w, null));
        step("watch/remove all", () -> zk.removeAllWatches("/w", WatcherType.Any, false));
        events("watch/remove all events", zk, w);
        zk.setData("/w", b("5"), -1);
        events("watch/nothing left", zk, w);
        async("watch/async remove all", r -> zk.removeAllWatches("/w", WatcherType.Any, false, r, "c"));
        events("watch/end", zk, w);
        // Events of another client's changes.
        Events ow = new Events();
        ZooKeeper o = connect(30000, ow);
        step("watch/of other set", () -> zk.getChildren("/w", w));
        o.create("/w/eph", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        events("watch/of other", zk, w);
        step("watch/of other set again", () -> zk.exists("/w/eph", w));
        o.close();
        events("watch/of other closed", zk, w);
        // close() does not wait for the event thread, which tells of it last.
        step("watch/other told of its close", () -> ow.await("Closed", 20000));
        put("watch/other's own events", ow.take());
    }

    private void persistentWatches() throws Exception {
        // On two nodes: 3.8 keeps only one mode per path.
        zk.create("/p", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create("/pr", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        w.take();
        Events p = new Events();
        Events r = new Events();
        step("persistent/add", () -> zk.addWatch("/p", p, AddWatchMode.PERSISTENT));
        step("persistent/add recursive", () -> zk.addWatch("/pr", r, AddWatchMode.PERSISTENT_RECURSIVE));
        step("persistent/add default", () -> zk.addWatch("/p/missing", AddWatchMode.PERSISTENT));
        async("persistent/add async", c -> zk.addWatch("/p/a", p, AddWatchMode.PERSISTENT, c, "c"));
        for (int i = 0; i < 2; i++) {
            for (String root : new String[] {"/p", "/pr"}) {
                zk.setData(root, b("2"), -1);
                zk.create(root + "/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
                zk.create(root + "/a/b", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
                zk.setData(root + "/a/b", b("2"), -1);
                zk.delete(root + "/a/b", -1);
                zk.delete(root + "/a", -1);
            }
            events("persistent/default " + i, zk, w);
            put("persistent/plain " + i, p.take());
            put("persistent/recursive " + i, r.take());
        }
        for (String root : new String[] {"/p", "/pr"}) {
            zk.delete(root, -1);
            zk.create(root, b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        }
        events("persistent/recreated default", zk, w);
        put("persistent/recreated plain", p.take());
        put("persistent/recreated recursive", r.take());
        step("persistent/remove", () -> zk.removeWatches("/p", p, WatcherType.Any, false));
        step("persistent/remove recursive", () -> zk.removeWatches("/pr", r, WatcherType.Any, false));
        events("persistent/removed default", zk, w);
        put("persistent/removed plain", p.take());
        put("persistent/removed recursive", r.take());
        zk.setData("/p", b("2"), -1);
        zk.setData("/pr", b("2"), -1);
        events("persistent/after default", zk, w);
        put("persistent/after plain", p.take());
        put("persistent/after recursive", r.take());
    }

    private void auth() throws Exception {
        Events ow = new Events();
        ZooKeeper o = connect(30000, ow);
        step("auth/add", () -> zk.addAuthInfo("digest", b("bob:pw")));
        step("auth/whoAmI", () -> sorted(Arrays.asList(show(zk.whoAmI()).split("[\\[\\], ]+"))));
        step("auth/create", () -> zk.create("/auth", b("x"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        step("auth/acl", () -> zk.getACL("/auth", null));
        step("auth/other read", () -> o.getData("/auth", false, null));
        step("auth/other exists", () -> o.exists("/auth", false));
        step("auth/other acl", () -> o.getACL("/auth", null));
        step("auth/other delete", () -> o.delete("/auth/none", -1));
        step("auth/set acl", () -> zk.setACL("/auth", Arrays.asList(new ACL(Perms.READ, Ids.ANYONE_ID_UNSAFE), new ACL(Perms.ALL, Ids.AUTH_IDS)), 0));
        step("auth/other read again", () -> o.getData("/auth", false, null));
        step("auth/other write again", () -> o.setData("/auth", b("y"), -1));
        step("auth/other acl again", () -> o.getACL("/auth", null));
        o.addAuthInfo("digest", b("bob:pw"));
        step("auth/other authed", () -> o.setData("/auth", b("y"), -1));
        step("auth/other bad scheme", () -> o.addAuthInfo("nope", b("x")));
        put("auth/failed event", "" + ow.await("AuthFailed", 20000));
        o.close();
    }

    private void admin() throws Exception {
        Events aw = new Events();
        try (ZooKeeperAdmin a = new ZooKeeperAdmin(servers, 30000, aw)) {
            aw.await("SyncConnected", 20000);
            step("admin/reconfigure", () -> a.reconfigure(null, "1", null, -1, new Stat()));
            step("admin/reconfigure full", () -> a.reconfigure(null, null, "server.1=127.0.0.1:1:2;3", -1, new Stat()));
            step("admin/config", () -> a.getConfig(false, new Stat()));
            step("admin/read", () -> a.exists("/", false));
        }
    }

    private void chroot() throws Exception {
        zk.create("/chroot", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Events cw = new Events();
        try (ZooKeeper c = new ZooKeeper(servers + "/chroot", 30000, cw)) {
            cw.await("SyncConnected", 20000);
            cw.take();
            step("chroot/create", () -> c.create("/x", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
            step("chroot/children", () -> c.getChildren("/", cw));
            step("chroot/create sequential", () -> c.create("/y-", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL));
            step("chroot/seen outside", () -> sorted(zk.getChildren("/chroot", false)));
            put("chroot/event", "" + cw.await("NodeChildrenChanged SyncConnected /]", 20000));
            step("chroot/multi", () -> c.multi(Arrays.asList(Op.create("/m", null, Ids.OPEN_ACL_UNSAFE, 0), Op.check("/m", 0))));
            step("chroot/ephemerals", () -> c.getEphemerals("/"));
        }
    }

    /** The connection breaks, things change, and the client comes back and sets its watches again. */
    private void reconnect(String through, String control, boolean persistent) throws Exception {
        String n = persistent ? "reconnect2/" : "reconnect/";
        String root = persistent ? "/r2" : "/r1";
        for (String p : new String[] {"", "/data", "/same", "/gone", "/kids", "/tree"}) {
            zk.create(root + p, b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        }
        Events cw = new Events();
        Events e = new Events();
        try (ZooKeeper c = new ZooKeeper(through, 30000, cw)) {
            cw.await("SyncConnected", 20000);
            long id = c.getSessionId();
            c.create(root + "/eph", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
            c.addAuthInfo("digest", b("bob:pw"));
            c.getData(root + "/data", e, null);
            c.getData(root + "/same", e, null);
            c.getData(root + "/gone", e, null);
            c.exists(root + "/new", e);
            c.exists(root + "/never", e);
            c.getChildren(root + "/kids", e);
            c.getChildren(root + "/same", e);
            if (persistent) {
                c.addWatch(root + "/plain", e, AddWatchMode.PERSISTENT);
                c.addWatch(root + "/tree", e, AddWatchMode.PERSISTENT_RECURSIVE);
            }
            cw.take();
            proxy(control, 'd');
            put(n + "cut", "" + cw.await("Disconnected", 20000));
            zk.setData(root + "/data", b("2"), -1);
            zk.delete(root + "/gone", -1);
            zk.create(root + "/new", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.create(root + "/kids/k", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.create(root + "/tree/t", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            e.take();
            proxy(control, 'u');
            put(n + "back", "" + cw.await("SyncConnected", 20000));
            step(n + "same session", () -> c.getSessionId() == id);
            // The order of the lists that the client sends is that of its hash tables.
            step(n + "whoAmI", () -> sorted(Arrays.asList(show(c.whoAmI()).split("[\\[\\], ]+"))));
            events(n + "client", c, cw);
            put(n + "missed", sorted(Arrays.asList(e.take().split("[\\[\\],]+ ?"))).toString());
            step(n + "ephemeral", () -> zk.exists(root + "/eph", false));
            zk.setData(root + "/same", b("2"), -1);
            zk.create(root + "/same/k", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.create(root + "/never", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.create(root + "/plain", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.setData(root + "/tree/t", b("2"), -1);
            zk.setData(root + "/tree/t", b("3"), -1);
            events(n + "client after", c, cw);
            put(n + "rearmed", e.take());
        }
        step(n + "ephemeral gone", () -> zk.exists(root + "/eph", false));
    }

    private void session() throws Exception {
        for (int timeout : new int[] {3000, 5000, 100000}) {
            Events tw = new Events();
            try (ZooKeeper t = connect(timeout, tw)) {
                step("session/timeout " + timeout, () -> t.getSessionTimeout());
            }
        }
        Events aw = new Events();
        ZooKeeper a = connect(30000, aw);
        a.create("/session-e", b("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        step("session/watch", () -> a.exists("/session-e", aw));
        Events bw = new Events();
        ZooKeeper t = new ZooKeeper(servers, 30000, bw, a.getSessionId(), a.getSessionPasswd());
        put("session/re-attached", "" + bw.await("SyncConnected", 20000));
        step("session/same id", () -> t.getSessionId() == a.getSessionId());
        put("session/first was cut", "" + aw.await("Disconnected", 20000));
        step("session/ephemeral", () -> t.exists("/session-e", false));
        step("session/ephemerals", () -> sorted(t.getEphemerals()));
        t.close();
        // The first client comes back, finds its session gone and says so.
        put("session/first expired", "" + aw.await("Expired", 20000));
        step("session/ephemeral gone", () -> zk.exists("/session-e", false));
        step("session/expired use", () -> a.exists("/", false));
        a.close();
        Events ew = new Events();
        ZooKeeper e = new ZooKeeper(servers, 30000, ew, zk.getSessionId(), new byte[16]);
        put("session/wrong password", "" + ew.await("Expired", 20000));
        e.close();
        // Only the connection was cut; the client repairs that by itself.
        step("session/own session lives", () -> {
            for (int i = 0;; i++) {
                try {
                    return zk.exists("/c", false) != null;
                } catch (org.apache.zookeeper.KeeperException.ConnectionLossException x) {
                    if (i == 100) {
                        throw x;
                    }
                    Thread.sleep(100);
                }
            }
        });
        Events rw = new Events();
        try (ZooKeeper r = new ZooKeeper(servers, 30000, rw, true)) {
            put("session/can be read only", "" + rw.await("SyncConnected", 20000));
            step("session/read only writes", () -> r.setData("/c", b("ro"), -1));
        }
    }
}
