import java.net.Socket;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

/** What the Java tours share: one line per step, with what differs from run to run left out. */
class Tour {
    final String servers;

    Tour(String servers) {
        this.servers = servers;
    }

    static synchronized void put(String step, String line) {
        System.out.println(step + " | " + line.replace("\n", "\\n"));
        System.out.flush();
    }

    /** Runs one call and prints its result or its error. */
    static void step(String name, Callable<?> call) {
        String line;
        try {
            line = show(call.call());
        } catch (KeeperException e) {
            line = "error " + e.code() + " " + e.getPath();
            if (e.getResults() != null) {
                line += " " + show(e.getResults());
            }
        } catch (Exception e) {
            line = "exception " + e.getClass().getName() + ": " + e.getMessage();
        }
        put(name, line);
    }

    interface Action {
        void run() throws Exception;
    }

    static void step(String name, Action a) {
        step(name, () -> {
            a.run();
            return "done";
        });
    }

    static String show(Object o) {
        if (o == null) {
            return "null";
        } else if (o instanceof byte[]) {
            byte[] b = (byte[]) o;
            return b.length > 60 ? "bytes(" + b.length + ")" : "'" + new String(b) + "'";
        } else if (o instanceof Stat) {
            Stat s = (Stat) o;
            return "stat{m+" + (s.getMzxid() - s.getCzxid()) + " p+" + (s.getPzxid() - s.getCzxid())
                + " v=" + s.getVersion() + " cv=" + s.getCversion() + " av=" + s.getAversion()
                + " eph=" + (s.getEphemeralOwner() != 0) + " dl=" + s.getDataLength() + " nc=" + s.getNumChildren()
                + " t=" + (s.getMtime() >= s.getCtime()) + "}";
        } else if (o instanceof ClientInfo) {
            return ((ClientInfo) o).getAuthScheme() + ":" + ((ClientInfo) o).getUser();
        } else if (o instanceof ACL) {
            ACL a = (ACL) o;
            return a.getPerms() + ":" + a.getId().getScheme() + ":" + a.getId().getId();
        } else if (o instanceof OpResult.CreateResult) {
            OpResult.CreateResult r = (OpResult.CreateResult) o;
            return "create(" + r.getPath() + "," + show(r.getStat()) + ")";
        } else if (o instanceof OpResult.SetDataResult) {
            return "set(" + show(((OpResult.SetDataResult) o).getStat()) + ")";
        } else if (o instanceof OpResult.GetDataResult) {
            OpResult.GetDataResult r = (OpResult.GetDataResult) o;
            return "get(" + show(r.getData()) + "," + show(r.getStat()) + ")";
        } else if (o instanceof OpResult.GetChildrenResult) {
            return "children(" + sorted(((OpResult.GetChildrenResult) o).getChildren()) + ")";
        } else if (o instanceof OpResult.ErrorResult) {
            return "error(" + ((OpResult.ErrorResult) o).getErr() + ")";
        } else if (o instanceof OpResult) {
            return o.getClass().getSimpleName();
        } else if (o instanceof List) {
            List<String> out = new ArrayList<>();
            for (Object e : (List<?>) o) {
                out.add(show(e));
            }
            return out.toString();
        }
        return o.toString();
    }

    static List<String> sorted(List<String> l) {
        List<String> out = new ArrayList<>(l);
        Collections.sort(out);
        return out;
    }

    /** Keeps events until they are asked for. */
    static class Events implements Watcher {
        private final List<String> seen = new ArrayList<>();

        @Override
        public synchronized void process(WatchedEvent e) {
            seen.add(e.getType() + " " + e.getState() + " " + e.getPath());
            notifyAll();
        }

        synchronized String take() {
            String s = seen.toString();
            seen.clear();
            return s;
        }

        synchronized boolean await(String what, long ms) throws InterruptedException {
            long end = System.currentTimeMillis() + ms;
            while (!seen.toString().contains(what)) {
                long left = end - System.currentTimeMillis();
                if (left <= 0) {
                    return false;
                }
                wait(left);
            }
            return true;
        }
    }

    /**
     * Prints the events that arrived up to now: an asynchronous read goes through the event
     * thread behind all of them.
     */
    static void events(String name, ZooKeeper zk, Events w) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        zk.exists("/", false, (AsyncCallback.StatCallback) (rc, path, ctx, stat) -> done.countDown(), null);
        if (!done.await(20, TimeUnit.SECONDS)) {
            put(name, "no answer");
            return;
        }
        put(name, w.take());
    }

    ZooKeeper connect(int timeoutMs, Events w) throws Exception {
        ZooKeeper zk = new ZooKeeper(servers, timeoutMs, w);
        if (!w.await("SyncConnected", 20000)) {
            throw new IllegalStateException("not connected");
        }
        return zk;
    }

    /** A reply of an asynchronous call. */
    static class Reply implements AsyncCallback.StringCallback, AsyncCallback.Create2Callback, AsyncCallback.StatCallback,
        AsyncCallback.DataCallback, AsyncCallback.ChildrenCallback, AsyncCallback.Children2Callback,
        AsyncCallback.VoidCallback, AsyncCallback.EphemeralsCallback, AsyncCallback.AllChildrenNumberCallback {
        private final CountDownLatch done = new CountDownLatch(1);
        private String line;

        private void set(int rc, String path, Object ctx, Object... what) {
            StringBuilder b = new StringBuilder(KeeperException.Code.get(rc) + " " + path + " ctx=" + ctx);
            for (Object o : what) {
                b.append(' ').append(show(o));
            }
            line = b.toString();
            done.countDown();
        }

        String get() throws Exception {
            return done.await(20, TimeUnit.SECONDS) ? line : "no answer";
        }

        public void processResult(int rc, String path, Object ctx, String name) {
            set(rc, path, ctx, name);
        }

        public void processResult(int rc, String path, Object ctx, String name, Stat stat) {
            set(rc, path, ctx, name, stat);
        }

        public void processResult(int rc, String path, Object ctx, Stat stat) {
            set(rc, path, ctx, stat);
        }

        public void processResult(int rc, String path, Object ctx, byte[] data, Stat stat) {
            set(rc, path, ctx, data, stat);
        }

        public void processResult(int rc, String path, Object ctx, List<String> children) {
            set(rc, path, ctx, children == null ? null : sorted(children));
        }

        public void processResult(int rc, String path, Object ctx, List<String> children, Stat stat) {
            set(rc, path, ctx, children == null ? null : sorted(children), stat);
        }

        /** An ACLCallback, which cannot be implemented beside Children2Callback. */
        void acl(int rc, String path, Object ctx, List<ACL> acl, Stat stat) {
            set(rc, path, ctx, acl, stat);
        }

        /** A MultiCallback, which cannot be implemented beside ChildrenCallback. */
        void multi(int rc, String path, Object ctx, List<OpResult> results) {
            set(rc, path, ctx, results);
        }

        public void processResult(int rc, String path, Object ctx) {
            set(rc, path, ctx);
        }

        public void processResult(int rc, Object ctx, List<String> paths) {
            set(rc, null, ctx, paths == null ? null : sorted(paths));
        }

        public void processResult(int rc, String path, Object ctx, int number) {
            set(rc, path, ctx, number);
        }
    }

    /** Tells the proxy to drop ('d') all connections, or to let them in again ('u'). */
    static void proxy(String control, char c) throws Exception {
        String[] hostPort = control.split(":");
        try (Socket s = new Socket(hostPort[0], Integer.parseInt(hostPort[1]))) {
            s.getOutputStream().write(c);
            s.getInputStream().read();
        }
    }

    interface Start {
        void with(Reply r) throws Exception;
    }

    static void async(String name, Start s) {
        step(name, () -> {
            Reply r = new Reply();
            s.with(r);
            return r.get();
        });
    }
}
