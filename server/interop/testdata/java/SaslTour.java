import java.util.Arrays;
import java.util.Collections;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;

/** The Java client with a JAAS login. */
public final class SaslTour extends Tour {
    private SaslTour(String servers) {
        super(servers);
    }

    public static void main(String[] args) throws Exception {
        new SaslTour(args[0]).run();
        System.exit(0);
    }

    private void run() throws Exception {
        Events w = new Events();
        ZooKeeper zk = connect(30000, w);
        put("authenticated", "" + w.await("SaslAuthenticated", 20000));
        step("whoAmI", () -> sorted(Arrays.asList(show(zk.whoAmI()).split("[\\[\\], ]+"))));
        step("create", () -> zk.create("/sasl", "x".getBytes(), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        step("acl", () -> zk.getACL("/sasl", null));
        step("create for another", () -> zk.create("/sasl/al", "x".getBytes(), Collections.singletonList(new ACL(31, new Id("sasl", "al"))), CreateMode.PERSISTENT));
        step("read another's", () -> zk.getData("/sasl/al", false, null));
        ZKClientConfig plain = new ZKClientConfig();
        plain.setProperty(ZKClientConfig.ENABLE_CLIENT_SASL_KEY, "false");
        Events pw = new Events();
        try (ZooKeeper p = new ZooKeeper(servers, 30000, pw, plain)) {
            pw.await("SyncConnected", 20000);
            step("without login", () -> p.getData("/sasl", false, null));
            step("without login whoAmI", () -> p.whoAmI());
        }
        zk.close();
    }
}
