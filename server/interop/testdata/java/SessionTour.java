import java.util.Arrays;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/** What the Java client makes of local sessions and of servers in read-only mode. */
public final class SessionTour extends Tour {
    private SessionTour(String servers) {
        super(servers);
    }

    public static void main(String[] args) throws Exception {
        SessionTour t = new SessionTour(args[0]);
        if (args[1].equals("local")) {
            t.local(args[2]);
        } else {
            t.readOnly(args[2]);
        }
        System.exit(0);
    }

    private void local(String path) throws Exception {
        Events w = new Events();
        ZooKeeper zk = connect(20000, w);
        step("create", () -> zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        step("set", () -> zk.setData(path, "x".getBytes(), 0));
        step("watch", () -> zk.exists(path + "/e", true));
        step("ephemeral", () -> zk.create(path + "/e", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL));
        step("owner", () -> zk.exists(path + "/e", false).getEphemeralOwner() == zk.getSessionId());
        step("ephemerals", () -> zk.multi(Arrays.asList(
            Op.create(path + "/p", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.create(path + "/s", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL))));
        events("events", zk, w);
        step("children", () -> sorted(zk.getChildren(path, false)));
        zk.close();
        ZooKeeper other = connect(20000, new Events());
        step("after close", () -> sorted(other.getChildren(path, false)));
        other.close();
    }

    private void readOnly(String path) throws Exception {
        Events w = new Events();
        ZooKeeper zk = new ZooKeeper(servers, 20000, w, true);
        put("connect", "" + w.await("ConnectedReadOnly", 30000));
        step("state", () -> zk.getState());
        long session = zk.getSessionId();
        step("read", () -> zk.getData("/n", true, null));
        step("set", () -> zk.setData("/n", null, -1));
        step("create", () -> zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL));
        step("multi", () -> zk.multi(Arrays.asList(Op.delete("/n", -1))));
        events("events", zk, w);
        put("waiting", "");
        put("back", "" + w.await("SyncConnected", 60000));
        step("state", () -> zk.getState());
        put("session", "" + (zk.getSessionId() != session));
        step("create", () -> zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL));
        step("set", () -> zk.setData("/n", null, -1).getVersion() > 0);
        zk.close();
    }
}
