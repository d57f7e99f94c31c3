import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.utils.CloseableUtils;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;

/** Curator's framework and recipes, with two clients where it takes two. */
public final class CuratorTour extends Tour {
    private static final long PATIENCE = 20;

    private final CuratorFramework a;
    private final CuratorFramework b;
    private final ExecutorService pool = Executors.newCachedThreadPool();
    /** A mutex belongs to a thread: what the second contender does, it does on this one. */
    private final ExecutorService second = Executors.newSingleThreadExecutor();

    private CuratorTour(String servers) throws Exception {
        super(servers);
        a = client();
        b = client();
    }

    private CuratorFramework client() throws Exception {
        CuratorFramework c = CuratorFrameworkFactory.newClient(servers, 30000, 20000, new RetryOneTime(100));
        c.start();
        if (!c.blockUntilConnected((int) PATIENCE, TimeUnit.SECONDS)) {
            throw new IllegalStateException("not connected");
        }
        return c;
    }

    public static void main(String[] args) throws Exception {
        CuratorTour t = new CuratorTour(args[0]);
        t.section("framework", t::framework);
        t.section("locks", t::locks);
        t.section("leaders", t::leaders);
        t.section("barriers", t::barriers);
        t.section("counters", t::counters);
        t.section("caches", t::caches);
        t.section("nodes", t::nodes);
        t.section("queues", t::queues);
        t.a.close();
        t.b.close();
        System.exit(0);
    }

    private void section(String name, Action action) {
        long begin = System.nanoTime();
        try {
            action.run();
            System.err.println(name + " took " + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin) + " ms");
        } catch (Exception e) {
            put(name + " broke off", e.toString());
            e.printStackTrace();
        }
    }

    private static byte[] bytes(String s) {
        return s.getBytes();
    }

    /** Waits until the condition holds; whether it came to hold. */
    private static boolean until(Callable<Boolean> what) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (System.nanoTime() < end) {
            if (what.call()) {
                return true;
            }
            Thread.sleep(10);
        }
        return false;
    }

    private static String result(Collection<CuratorTransactionResult> rs) {
        StringBuilder out = new StringBuilder();
        for (CuratorTransactionResult r : rs) {
            out.append(r.getType()).append(' ').append(r.getForPath()).append(' ').append(r.getResultPath()).append(' ')
                .append(show(r.getResultStat())).append("; ");
        }
        return out.toString();
    }

    private void framework() throws Exception {
        step("framework/state", () -> a.getState());
        step("framework/create", () -> a.create().forPath("/f", bytes("1")));
        step("framework/create parents", () -> a.create().creatingParentsIfNeeded().forPath("/f/a/b", bytes("1")));
        step("framework/create containers", () -> a.create().creatingParentContainersIfNeeded().forPath("/f/c/d", bytes("1")));
        step("framework/or set", () -> a.create().orSetData().forPath("/f", bytes("2")));
        step("framework/or set again", () -> a.create().orSetData(1).forPath("/f", bytes("3")));
        Stat s = new Stat();
        step("framework/storing stat", () -> a.create().storingStatIn(s).withMode(CreateMode.PERSISTENT).forPath("/f/s", bytes("1")));
        step("framework/stored stat", () -> s);
        step("framework/ttl", () -> a.create().withTtl(100000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/f/ttl", bytes("1")));
        step("framework/container", () -> a.create().withMode(CreateMode.CONTAINER).forPath("/f/container", bytes("1")));
        step("framework/sequential", () -> a.create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/f/seq-", bytes("1")));
        step("framework/protected", () -> a.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/f/prot-", bytes("1"))
            .replaceAll("_c_[0-9a-f-]{36}-", "_c_GUID-"));
        step("framework/idempotent", () -> a.create().idempotent().forPath("/f/s", bytes("1")));
        step("framework/compressed", () -> a.create().compressed().forPath("/f/z", new byte[10000]));
        step("framework/decompressed", () -> a.getData().decompressed().forPath("/f/z").length);
        step("framework/exists", () -> a.checkExists().forPath("/f"));
        step("framework/missing", () -> a.checkExists().forPath("/none"));
        step("framework/get", () -> a.getData().storingStatIn(s).forPath("/f"));
        step("framework/set", () -> a.setData().withVersion(2).forPath("/f", bytes("4")));
        step("framework/set bad version", () -> a.setData().withVersion(99).forPath("/f", bytes("4")));
        step("framework/children", () -> sorted(a.getChildren().forPath("/f/a")));
        step("framework/acl", () -> a.getACL().forPath("/f"));
        step("framework/sync", () -> a.sync().forPath("/f"));
        step("framework/config", () -> a.getConfig().forEnsemble());
        step("framework/transaction", () -> result(a.transaction().forOperations(
            a.transactionOp().create().withMode(CreateMode.PERSISTENT).forPath("/f/t", bytes("1")),
            a.transactionOp().setData().withVersion(0).forPath("/f/t", bytes("2")),
            a.transactionOp().check().withVersion(1).forPath("/f/t"),
            a.transactionOp().create().withTtl(10000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/f/t/ttl", bytes("1")),
            a.transactionOp().delete().forPath("/f/t/ttl"),
            a.transactionOp().delete().withVersion(1).forPath("/f/t"))));
        step("framework/transaction fails", () -> result(a.transaction().forOperations(
            a.transactionOp().create().forPath("/f/t", bytes("1")),
            a.transactionOp().check().withVersion(99).forPath("/f"))));
        LinkedBlockingQueue<String> q = new LinkedBlockingQueue<>();
        step("framework/background", () -> {
            a.getData().inBackground((c, e) -> q.add(e.getType() + " " + e.getResultCode() + " " + e.getPath() + " " + show(e.getData()))).forPath("/f");
            return q.poll(PATIENCE, TimeUnit.SECONDS);
        });
        step("framework/watch", () -> {
            a.getData().usingWatcher((org.apache.zookeeper.Watcher) e -> q.add(e.getType() + " " + e.getPath())).forPath("/f");
            b.setData().forPath("/f", bytes("5"));
            return q.poll(PATIENCE, TimeUnit.SECONDS);
        });
        step("framework/namespace", () -> a.usingNamespace("ns").create().forPath("/x", bytes("1")));
        step("framework/namespace seen", () -> a.getChildren().forPath("/ns"));
        step("framework/guaranteed delete", () -> a.delete().guaranteed().deletingChildrenIfNeeded().forPath("/f/a"));
        step("framework/quiet delete", () -> a.delete().quietly().forPath("/none"));
        step("framework/delete missing", () -> a.delete().forPath("/none"));
    }

    private void locks() throws Exception {
        InterProcessMutex m1 = new InterProcessMutex(a, "/mutex");
        InterProcessMutex m2 = new InterProcessMutex(b, "/mutex");
        step("mutex/acquire", () -> m1.acquire(PATIENCE, TimeUnit.SECONDS));
        step("mutex/again", () -> m1.acquire(PATIENCE, TimeUnit.SECONDS));
        step("mutex/held", () -> m2.acquire(200, TimeUnit.MILLISECONDS));
        Future<Boolean> f = second.submit(() -> m2.acquire(PATIENCE, TimeUnit.SECONDS));
        put("mutex/waits", "" + until(() -> m1.getParticipantNodes().size() == 2));
        m1.release();
        put("mutex/still waits", "" + !f.isDone());
        m1.release();
        step("mutex/passed on", () -> f.get());
        second.submit(() -> {
            m2.release();
            return null;
        }).get();
        InterProcessSemaphoreMutex s1 = new InterProcessSemaphoreMutex(a, "/smutex");
        InterProcessSemaphoreMutex s2 = new InterProcessSemaphoreMutex(b, "/smutex");
        step("smutex/acquire", () -> s1.acquire(PATIENCE, TimeUnit.SECONDS));
        step("smutex/held", () -> s2.acquire(200, TimeUnit.MILLISECONDS));
        s1.release();
        step("smutex/free", () -> s2.acquire(PATIENCE, TimeUnit.SECONDS));
        s2.release();
        InterProcessReadWriteLock r1 = new InterProcessReadWriteLock(a, "/rw");
        InterProcessReadWriteLock r2 = new InterProcessReadWriteLock(b, "/rw");
        step("rw/read", () -> r1.readLock().acquire(PATIENCE, TimeUnit.SECONDS));
        step("rw/read too", () -> r2.readLock().acquire(PATIENCE, TimeUnit.SECONDS));
        step("rw/write held", () -> r2.writeLock().acquire(200, TimeUnit.MILLISECONDS));
        r1.readLock().release();
        r2.readLock().release();
        step("rw/write", () -> r1.writeLock().acquire(PATIENCE, TimeUnit.SECONDS));
        step("rw/downgrade", () -> r1.readLock().acquire(PATIENCE, TimeUnit.SECONDS));
        step("rw/read held", () -> r2.readLock().acquire(200, TimeUnit.MILLISECONDS));
        r1.writeLock().release();
        step("rw/read after downgrade", () -> r2.readLock().acquire(PATIENCE, TimeUnit.SECONDS));
        r1.readLock().release();
        r2.readLock().release();
        InterProcessSemaphoreV2 v1 = new InterProcessSemaphoreV2(a, "/sem", 2);
        InterProcessSemaphoreV2 v2 = new InterProcessSemaphoreV2(b, "/sem", 2);
        Lease l1 = v1.acquire(PATIENCE, TimeUnit.SECONDS);
        Lease l2 = v2.acquire(PATIENCE, TimeUnit.SECONDS);
        put("semaphore/two", "" + (l1 != null && l2 != null));
        put("semaphore/third", "" + v1.acquire(200, TimeUnit.MILLISECONDS));
        v1.returnLease(l1);
        Lease l3 = v2.acquire(PATIENCE, TimeUnit.SECONDS);
        put("semaphore/freed", "" + (l3 != null));
        v2.returnLease(l2);
        v2.returnLease(l3);
        step("semaphore/participants", () -> v1.getParticipantNodes().size());
        InterProcessMultiLock ml = new InterProcessMultiLock(a, Arrays.asList("/ml1", "/ml2"));
        step("multilock/acquire", () -> ml.acquire(PATIENCE, TimeUnit.SECONDS));
        ml.release();
        // A holder whose session ends lets go.
        CuratorFramework c = client();
        new InterProcessMutex(c, "/mutex").acquire(PATIENCE, TimeUnit.SECONDS);
        Future<Boolean> g = second.submit(() -> m2.acquire(PATIENCE, TimeUnit.SECONDS));
        put("mutex/waits for session", "" + until(() -> m1.getParticipantNodes().size() == 2));
        c.close();
        step("mutex/taken over", () -> g.get());
        // Many threads, one counter.
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            CuratorFramework cf = i % 2 == 0 ? a : b;
            all.add(pool.submit(() -> {
                InterProcessMutex m = new InterProcessMutex(cf, "/many");
                for (int j = 0; j < 10; j++) {
                    m.acquire();
                    most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    inside.decrementAndGet();
                    m.release();
                }
                return null;
            }));
        }
        for (Future<?> x : all) {
            x.get(PATIENCE, TimeUnit.SECONDS);
        }
        put("mutex/most inside", "" + most.get());
    }

    private void leaders() throws Exception {
        LeaderLatch l1 = new LeaderLatch(a, "/latch", "one");
        LeaderLatch l2 = new LeaderLatch(b, "/latch", "two");
        l1.start();
        step("latch/await", () -> l1.await(PATIENCE, TimeUnit.SECONDS));
        l2.start();
        put("latch/both", "" + until(() -> l1.getParticipants().size() == 2));
        step("latch/leader", () -> l2.getLeader());
        step("latch/second", () -> l2.hasLeadership());
        l1.close();
        step("latch/second leads", () -> l2.await(PATIENCE, TimeUnit.SECONDS));
        l2.close();
        CountDownLatch led = new CountDownLatch(1);
        CountDownLatch end = new CountDownLatch(1);
        CountDownLatch led2 = new CountDownLatch(1);
        LeaderSelector s1 = selector(a, led, end);
        s1.setId("one");
        s1.start();
        put("selector/one leads", "" + led.await(PATIENCE, TimeUnit.SECONDS));
        LeaderSelector s2 = selector(b, led2, new CountDownLatch(0));
        s2.setId("two");
        s2.start();
        put("selector/both", "" + until(() -> s1.getParticipants().size() == 2));
        step("selector/leader", () -> s2.getLeader().getId());
        end.countDown();
        put("selector/two leads", "" + led2.await(PATIENCE, TimeUnit.SECONDS));
        s1.close();
        s2.close();
    }

    private static LeaderSelector selector(CuratorFramework c, CountDownLatch led, CountDownLatch end) {
        return new LeaderSelector(c, "/selector", new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws Exception {
                led.countDown();
                end.await(PATIENCE, TimeUnit.SECONDS);
            }
        });
    }

    private void barriers() throws Exception {
        DistributedBarrier b1 = new DistributedBarrier(a, "/barrier");
        DistributedBarrier b2 = new DistributedBarrier(b, "/barrier");
        step("barrier/set", () -> b1.setBarrier());
        step("barrier/closed", () -> b2.waitOnBarrier(200, TimeUnit.MILLISECONDS));
        Future<Boolean> f = pool.submit(() -> b2.waitOnBarrier(PATIENCE, TimeUnit.SECONDS));
        step("barrier/remove", () -> b1.removeBarrier());
        step("barrier/passed", () -> f.get());
        DistributedDoubleBarrier d1 = new DistributedDoubleBarrier(a, "/double", 2);
        DistributedDoubleBarrier d2 = new DistributedDoubleBarrier(b, "/double", 2);
        Future<Boolean> e = pool.submit(() -> d1.enter(PATIENCE, TimeUnit.SECONDS));
        put("double/first waits", "" + until(() -> a.checkExists().forPath("/double") != null && a.getChildren().forPath("/double").size() == 1));
        put("double/not in", "" + !e.isDone());
        step("double/second enters", () -> d2.enter(PATIENCE, TimeUnit.SECONDS));
        step("double/first entered", () -> e.get());
        Future<Boolean> l = pool.submit(() -> d1.leave(PATIENCE, TimeUnit.SECONDS));
        step("double/second leaves", () -> d2.leave(PATIENCE, TimeUnit.SECONDS));
        step("double/first left", () -> l.get());
    }

    private static <T> String value(AtomicValue<T> v) {
        return v.succeeded() + " " + v.preValue() + "->" + v.postValue();
    }

    private void counters() throws Exception {
        DistributedAtomicLong l = new DistributedAtomicLong(a, "/long", new ExponentialBackoffRetry(10, 20));
        step("long/get", () -> value(l.get()));
        step("long/initialize", () -> l.initialize(5L));
        step("long/increment", () -> value(l.increment()));
        step("long/add", () -> value(l.add(10L)));
        step("long/compare", () -> value(l.compareAndSet(16L, 20L)));
        step("long/compare fails", () -> value(l.compareAndSet(16L, 21L)));
        step("long/set", () -> value(l.trySet(3L)));
        DistributedAtomicInteger i1 = new DistributedAtomicInteger(a, "/int", new ExponentialBackoffRetry(10, 100));
        DistributedAtomicInteger i2 = new DistributedAtomicInteger(b, "/int", new ExponentialBackoffRetry(10, 100));
        List<Future<Integer>> fs = new ArrayList<>();
        for (DistributedAtomicInteger i : Arrays.asList(i1, i2)) {
            fs.add(pool.submit(() -> {
                int done = 0;
                for (int n = 0; n < 20; n++) {
                    if (i.increment().succeeded()) {
                        done++;
                    }
                }
                return done;
            }));
        }
        int done = fs.get(0).get() + fs.get(1).get();
        put("int/both", "" + (i1.get().postValue() == done));
        SharedCount c1 = new SharedCount(a, "/shared", 7);
        SharedCount c2 = new SharedCount(b, "/shared", 7);
        c1.start();
        c2.start();
        step("shared/start", () -> c1.getCount());
        step("shared/set", () -> c1.setCount(8));
        put("shared/seen", "" + until(() -> c2.getCount() == 8));
        step("shared/try", () -> c2.trySetCount(c2.getVersionedValue(), 9));
        put("shared/seen back", "" + until(() -> c1.getCount() == 9));
        c1.close();
        c2.close();
    }

    private void caches() throws Exception {
        a.create().forPath("/cache", bytes("0"));
        LinkedBlockingQueue<String> q = new LinkedBlockingQueue<>();
        CuratorCache cache = CuratorCache.build(a, "/cache");
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forCreates(n -> q.add("created " + n.getPath()))
            .forChanges((o, n) -> q.add("changed " + n.getPath() + " " + new String(n.getData())))
            .forDeletes(n -> q.add("deleted " + n.getPath()))
            .forInitialized(() -> q.add("initialized")).build());
        cache.start();
        step("cache/first", () -> both(q));
        changes("/cache", "cache", q);
        put("cache/size", "" + until(() -> cache.size() == 1));
        cache.close();

        PathChildrenCache pc = new PathChildrenCache(a, "/cache", true);
        pc.getListenable().addListener((c, e) -> q.add(e.getType() + (e.getData() == null ? "" : " " + e.getData().getPath())));
        pc.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
        step("children/first", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        changes("/cache", "children", q);
        pc.close();

        TreeCache tc = new TreeCache(a, "/cache");
        tc.getListenable().addListener((c, e) -> q.add(e.getType() + (e.getData() == null ? "" : " " + e.getData().getPath())));
        tc.start();
        step("tree/first", () -> both(q));
        changes("/cache", "tree", q);
        tc.close();

        NodeCache nc = new NodeCache(a, "/cache/node");
        nc.getListenable().addListener(() -> q.add(nc.getCurrentData() == null ? "gone" : new String(nc.getCurrentData().getData())));
        nc.start(true);
        b.create().forPath("/cache/node", bytes("n1"));
        step("node/created", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        b.setData().forPath("/cache/node", bytes("n2"));
        step("node/changed", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        b.delete().forPath("/cache/node");
        step("node/gone", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        nc.close();

        PersistentWatcher pw = new PersistentWatcher(a, "/cache", true);
        CountDownLatch reset = new CountDownLatch(1);
        pw.getListenable().addListener(e -> q.add(e.getType() + " " + e.getPath()));
        pw.getResetListenable().addListener(reset::countDown);
        pw.start();
        put("watcher/armed", "" + reset.await(PATIENCE, TimeUnit.SECONDS));
        changes("/cache", "watcher", q);
        pw.close();
    }

    /** The first two events, whose order is chance. */
    private static String both(LinkedBlockingQueue<String> q) throws Exception {
        List<String> l = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            l.add("" + q.poll(PATIENCE, TimeUnit.SECONDS));
        }
        Collections.sort(l);
        return l.toString();
    }

    private void changes(String root, String name, LinkedBlockingQueue<String> q) throws Exception {
        b.create().forPath(root + "/x", bytes("1"));
        step(name + "/create", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        b.setData().forPath(root + "/x", bytes("2"));
        step(name + "/set", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        b.delete().forPath(root + "/x");
        step(name + "/delete", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        step(name + "/nothing more", () -> q.poll(50, TimeUnit.MILLISECONDS));
    }

    private void nodes() throws Exception {
        PersistentNode n = new PersistentNode(a, CreateMode.EPHEMERAL, false, "/pnode", bytes("1"));
        n.start();
        step("persistent/created", () -> n.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS));
        step("persistent/stat", () -> b.checkExists().forPath("/pnode").getEphemeralOwner() != 0);
        b.delete().forPath("/pnode");
        put("persistent/again", "" + until(() -> b.checkExists().forPath("/pnode") != null));
        step("persistent/data", () -> n.setData(bytes("2")));
        put("persistent/set", "" + until(() -> Arrays.equals(b.getData().forPath("/pnode"), bytes("2"))));
        n.close();
        put("persistent/closed", "" + until(() -> b.checkExists().forPath("/pnode") == null));
        PersistentTtlNode t = new PersistentTtlNode(a, "/ttlnode", 2000, bytes("1"));
        t.start();
        step("ttl/created", () -> t.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS));
        put("ttl/touched", "" + until(() -> !b.getChildren().forPath("/ttlnode").isEmpty()));
        t.close();
        GroupMember g1 = new GroupMember(a, "/group", "one", bytes("1"));
        GroupMember g2 = new GroupMember(b, "/group", "two", bytes("2"));
        g1.start();
        g2.start();
        put("group/both", "" + until(() -> g1.getCurrentMembers().size() == 2));
        put("group/members", "" + sorted(new ArrayList<>(g1.getCurrentMembers().keySet())));
        g2.close();
        put("group/one", "" + until(() -> g1.getCurrentMembers().size() == 1));
        g1.close();
    }

    private static final QueueSerializer<String> STRINGS = new QueueSerializer<String>() {
        @Override
        public byte[] serialize(String s) {
            return s.getBytes();
        }

        @Override
        public String deserialize(byte[] b) {
            return new String(b);
        }
    };

    private static QueueConsumer<String> consumer(LinkedBlockingQueue<String> q) {
        return new QueueConsumer<String>() {
            @Override
            public void consumeMessage(String message) {
                q.add(message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState s) {
            }
        };
    }

    private void queues() throws Exception {
        LinkedBlockingQueue<String> q = new LinkedBlockingQueue<>();
        DistributedQueue<String> producer = QueueBuilder.builder(a, null, STRINGS, "/queue").buildQueue();
        producer.start();
        for (int i = 0; i < 5; i++) {
            producer.put("m" + i);
        }
        producer.flushPuts(PATIENCE, TimeUnit.SECONDS);
        DistributedQueue<String> consumer = QueueBuilder.builder(b, consumer(q), STRINGS, "/queue").lockPath("/queuelocks").buildQueue();
        consumer.start();
        List<String> got = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            got.add("" + q.poll(PATIENCE, TimeUnit.SECONDS));
        }
        Collections.sort(got);
        put("queue/got", "" + got);
        put("queue/empty", "" + until(() -> a.getChildren().forPath("/queue").isEmpty()));
        CloseableUtils.closeQuietly(consumer);
        CloseableUtils.closeQuietly(producer);

        DistributedPriorityQueue<String> pq = QueueBuilder.builder(a, null, STRINGS, "/pqueue").buildPriorityQueue(0);
        pq.start();
        pq.put("low", 10);
        pq.put("high", 1);
        pq.flushPuts(PATIENCE, TimeUnit.SECONDS);
        step("priority/order", () -> {
            List<String> names = sorted(b.getChildren().forPath("/pqueue"));
            List<String> out = new ArrayList<>();
            for (String n : names) {
                byte[] d = b.getData().forPath("/pqueue/" + n);
                out.add(new String(d).replaceAll("[^a-z]", ""));
            }
            return out.toString();
        });
        CloseableUtils.closeQuietly(pq);

        DistributedDelayQueue<String> dq = QueueBuilder.builder(a, consumer(q), STRINGS, "/dqueue").buildDelayQueue();
        dq.start();
        long due = System.currentTimeMillis() + 300;
        dq.put("late", due);
        step("delay/got", () -> q.poll(PATIENCE, TimeUnit.SECONDS));
        put("delay/not early", "" + (System.currentTimeMillis() >= due));
        CloseableUtils.closeQuietly(dq);

        SimpleDistributedQueue sq = new SimpleDistributedQueue(a, "/squeue");
        step("simple/offer", () -> sq.offer(bytes("1")));
        step("simple/peek", () -> sq.peek());
        step("simple/poll", () -> sq.poll(PATIENCE, TimeUnit.SECONDS));
        step("simple/empty", () -> sq.poll(100, TimeUnit.MILLISECONDS));
    }
}
