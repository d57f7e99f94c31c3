/* Every call of the C client, one line per step. Usage: tour SERVER PROXY CONTROL */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define PATIENCE 20

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void put(const char *step, const char *format, ...) {
    char line[65536];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    for (char *p = line; *p; p++) {
        if (*p == '\n') {
            *p = ' ';
        }
    }
    printf("%s | %s\n", step, line);
    fflush(stdout);
}

static const char *stat_text(const struct Stat *s) {
    static __thread char b[2][256];
    static __thread int n;
    n = !n;
    snprintf(b[n], sizeof b[n], "stat{m+%lld p+%lld v=%d cv=%d av=%d eph=%d dl=%d nc=%d t=%d}",
             (long long)(s->mzxid - s->czxid), (long long)(s->pzxid - s->czxid), s->version, s->cversion, s->aversion,
             s->ephemeralOwner != 0, s->dataLength, s->numChildren, s->mtime >= s->ctime);
    return b[n];
}

/* What a watcher saw. */
struct events {
    char text[8192];
    int connected, expired, authfailed;
};

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    struct events *e = ctx ? ctx : (struct events *)zoo_get_context(zh);
    pthread_mutex_lock(&mu);
    if (type == ZOO_SESSION_EVENT) {
        e->connected = state == ZOO_CONNECTED_STATE;
        e->expired |= state == ZOO_EXPIRED_SESSION_STATE;
        e->authfailed |= state == ZOO_AUTH_FAILED_STATE;
    } else {
        const char *name = type == ZOO_CREATED_EVENT ? "created" : type == ZOO_DELETED_EVENT ? "deleted"
            : type == ZOO_CHANGED_EVENT ? "changed" : type == ZOO_CHILD_EVENT ? "child" : "other";
        size_t n = strlen(e->text);
        snprintf(e->text + n, sizeof e->text - n, "%s(%s) ", name, path);
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mu);
}

/* Waits until *flag is as wanted. */
static int until(const int *flag, int wanted) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    pthread_mutex_lock(&mu);
    while (*flag != wanted && pthread_cond_timedwait(&changed, &mu, &end) == 0) {
    }
    int ok = *flag == wanted;
    pthread_mutex_unlock(&mu);
    return ok;
}

static zhandle_t *connect_to(const char *server, int timeout_ms, const clientid_t *id, struct events *e) {
    memset(e, 0, sizeof *e);
    zhandle_t *zh = zookeeper_init(server, watcher, timeout_ms, id, e, 0);
    if (!zh) {
        perror("zookeeper_init");
        exit(1);
    }
    return zh;
}

/* The result of an asynchronous call. */
struct reply {
    int done, rc;
    char text[8192];
};

static void finish(struct reply *r, int rc, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    pthread_mutex_lock(&mu);
    r->rc = rc;
    vsnprintf(r->text, sizeof r->text, format, ap);
    r->done = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mu);
    va_end(ap);
}

static void on_void(int rc, const void *data) { finish((struct reply *)data, rc, "-"); }

static void on_stat(int rc, const struct Stat *s, const void *data) {
    finish((struct reply *)data, rc, "%s", rc == ZOK ? stat_text(s) : "-");
}

static void on_data(int rc, const char *v, int n, const struct Stat *s, const void *data) {
    finish((struct reply *)data, rc, rc == ZOK ? "'%.*s' %d %s" : "-", n < 0 ? 0 : n, v ? v : "", n, rc == ZOK ? stat_text(s) : "");
}

static void on_string(int rc, const char *v, const void *data) { finish((struct reply *)data, rc, "%s", v ? v : "-"); }

static void on_string_stat(int rc, const char *v, const struct Stat *s, const void *data) {
    finish((struct reply *)data, rc, "%s %s", v ? v : "-", rc == ZOK ? stat_text(s) : "");
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static const char *names(const struct String_vector *v) {
    static __thread char b[8192];
    char *list[512];
    int n = v ? v->count : 0;
    if (n > 512) {
        return "many";
    }
    for (int i = 0; i < n; i++) {
        list[i] = v->data[i];
    }
    qsort(list, n, sizeof list[0], by_name);
    b[0] = 0;
    for (int i = 0; i < n; i++) {
        strcat(b, list[i]);
        strcat(b, ",");
    }
    return b;
}

static void on_strings(int rc, const struct String_vector *v, const void *data) { finish((struct reply *)data, rc, "%s", names(v)); }

static void on_strings_stat(int rc, const struct String_vector *v, const struct Stat *s, const void *data) {
    finish((struct reply *)data, rc, "%s %s", names(v), rc == ZOK ? stat_text(s) : "");
}

static const char *acl_text(const struct ACL_vector *v) {
    static __thread char b[4096];
    b[0] = 0;
    for (int i = 0; v && i < v->count; i++) {
        snprintf(b + strlen(b), sizeof b - strlen(b), "%d:%s:%s,", v->data[i].perms, v->data[i].id.scheme, v->data[i].id.id);
    }
    return b;
}

static void on_acl(int rc, struct ACL_vector *acl, struct Stat *s, const void *data) {
    finish((struct reply *)data, rc, "%s %s", acl_text(acl), rc == ZOK ? stat_text(s) : "");
}

#define ASYNC(step, call)                                        \
    do {                                                         \
        struct reply *r = calloc(1, sizeof *r);                  \
        int started = call;                                      \
        if (started != ZOK) {                                    \
            put(step, "not started: %s", zerror(started));       \
        } else if (!until(&r->done, 1)) {                        \
            put(step, "no answer");                              \
        } else {                                                 \
            put(step, "%s %s", zerror(r->rc), r->text);          \
        }                                                        \
    } while (0)

/* Events up to now: a completion runs behind all earlier events. */
static void events(const char *step, zhandle_t *zh, struct events *e) {
    struct reply *r = calloc(1, sizeof *r);
    if (zoo_aexists(zh, "/", 0, on_stat, r) != ZOK || !until(&r->done, 1)) {
        put(step, "no answer");
        return;
    }
    pthread_mutex_lock(&mu);
    char text[sizeof e->text];
    strcpy(text, e->text);
    e->text[0] = 0;
    pthread_mutex_unlock(&mu);
    put(step, "%s", text);
}

static void multi_text(const char *step, int rc, const zoo_op_result_t *rs, int n) {
    char b[4096] = "";
    for (int i = 0; i < n; i++) {
        snprintf(b + strlen(b), sizeof b - strlen(b), "[%s %s %s]", zerror(rs[i].err), rs[i].value && rs[i].valuelen > 0 ? rs[i].value : "-",
                 rs[i].stat && rs[i].err == ZOK && rs[i].stat->czxid ? stat_text(rs[i].stat) : "-");
    }
    put(step, "%s %s", zerror(rc), b);
}

static void calls(zhandle_t *zh) {
    char path[256], data[1024];
    struct Stat st;
    int n, rc;
    put("timeout", "%d", zoo_recv_timeout(zh));
    put("id", "%lld", (long long)(zoo_client_id(zh)->client_id >> 56));
    put("unrecoverable", "%d", is_unrecoverable(zh));
    struct {
        const char *name, *path;
        int mode;
    } modes[] = {{"persistent", "/c/p", 0}, {"ephemeral", "/c/e", 1}, {"sequential", "/c/s-", 2}, {"ephemeral sequential", "/c/es-", 3},
                 {"container", "/c/c", 4}, {"ttl", "/c/t", 5}, {"sequential ttl", "/c/st-", 6}, {"mode 7", "/c/7", 7}, {"mode -1", "/c/m", -1}};
    rc = zoo_create(zh, "/c", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    put("create root", "%s %s", zerror(rc), path);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char step[128];
        path[0] = 0;
        rc = zoo_create(zh, modes[i].path, "x", 1, &ZOO_OPEN_ACL_UNSAFE, modes[i].mode, path, sizeof path);
        snprintf(step, sizeof step, "create %s", modes[i].name);
        put(step, "%s %s", zerror(rc), rc == ZOK ? path : "");
        char p2[64];
        snprintf(p2, sizeof p2, "%s2", modes[i].path);
        rc = zoo_create2(zh, p2, "x", 1, &ZOO_OPEN_ACL_UNSAFE, modes[i].mode, path, sizeof path, &st);
        snprintf(step, sizeof step, "create2 %s", modes[i].name);
        put(step, "%s %s %s", zerror(rc), rc == ZOK ? path : "", rc == ZOK ? stat_text(&st) : "");
        snprintf(p2, sizeof p2, "%s3", modes[i].path);
        rc = zoo_create2_ttl(zh, p2, "x", 1, &ZOO_OPEN_ACL_UNSAFE, modes[i].mode, 60000, path, sizeof path, &st);
        snprintf(step, sizeof step, "create2 ttl %s", modes[i].name);
        put(step, "%s %s %s", zerror(rc), rc == ZOK ? path : "", rc == ZOK ? stat_text(&st) : "");
    }
    put("create exists", "%s", zerror(zoo_create(zh, "/c", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path)));
    put("create no parent", "%s", zerror(zoo_create(zh, "/none/c", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path)));
    put("create below ephemeral", "%s", zerror(zoo_create(zh, "/c/e/x", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path)));
    put("create null data", "%s", zerror(zoo_create(zh, "/c/null", 0, -1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path)));
    n = sizeof data;
    rc = zoo_get(zh, "/c/null", 0, data, &n, &st);
    put("get null data", "%s %d %s", zerror(rc), n, stat_text(&st));
    rc = zoo_exists(zh, "/c", 0, &st);
    put("exists", "%s %s", zerror(rc), stat_text(&st));
    put("exists missing", "%s", zerror(zoo_exists(zh, "/none", 0, &st)));
    n = sizeof data;
    rc = zoo_get(zh, "/c", 0, data, &n, &st);
    put("get", "%s '%.*s' %s", zerror(rc), n, data, stat_text(&st));
    n = sizeof data;
    put("get missing", "%s", zerror(zoo_get(zh, "/none", 0, data, &n, &st)));
    put("set", "%s", zerror(zoo_set(zh, "/c", "22", 2, 0)));
    rc = zoo_set2(zh, "/c", "333", 3, -1, &st);
    put("set2", "%s %s", zerror(rc), stat_text(&st));
    put("set bad version", "%s", zerror(zoo_set(zh, "/c", "22", 2, 77)));
    put("set missing", "%s", zerror(zoo_set(zh, "/none", "22", 2, -1)));
    struct String_vector kids = {0, 0};
    rc = zoo_get_children2(zh, "/c", 0, &kids, &st);
    put("children", "%s %s %s", zerror(rc), names(&kids), stat_text(&st));
    deallocate_String_vector(&kids);
    put("children missing", "%s", zerror(zoo_get_children(zh, "/none", 0, &kids)));
    struct ACL_vector acl = {0, 0};
    rc = zoo_get_acl(zh, "/c", &acl, &st);
    put("get acl", "%s %s %s", zerror(rc), acl_text(&acl), stat_text(&st));
    deallocate_ACL_vector(&acl);
    put("set acl", "%s", zerror(zoo_set_acl(zh, "/c", -1, &ZOO_OPEN_ACL_UNSAFE)));
    put("set acl bad version", "%s", zerror(zoo_set_acl(zh, "/c", 77, &ZOO_OPEN_ACL_UNSAFE)));
    put("set acl creator", "%s", zerror(zoo_set_acl(zh, "/c", -1, &ZOO_CREATOR_ALL_ACL)));
    put("delete not empty", "%s", zerror(zoo_delete(zh, "/c", -1)));
    put("delete bad version", "%s", zerror(zoo_delete(zh, "/c/p", 77)));
    put("delete", "%s", zerror(zoo_delete(zh, "/c/p", 0)));
    put("delete missing", "%s", zerror(zoo_delete(zh, "/c/p", 0)));
    put("bad path", "%s", zerror(zoo_exists(zh, "bad", 0, &st)));
    n = sizeof data;
    rc = zoo_getconfig(zh, 0, data, &n, &st);
    put("config", "%s %d %s", zerror(rc), n, stat_text(&st));
    n = sizeof data;
    put("reconfig", "%s", zerror(zoo_reconfig(zh, 0, "1", 0, -1, data, &n, &st)));
    char *big = calloc(1, 900000);
    put("big set", "%s", zerror(zoo_set(zh, "/c", big, 900000, -1)));
    char *back = malloc(1 << 20);
    n = 1 << 20;
    rc = zoo_get(zh, "/c", 0, back, &n, &st);
    put("big get", "%s %d", zerror(rc), n);
}

static void asynchronous(zhandle_t *zh) {
    zoo_create(zh, "/a", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    ASYNC("async create", zoo_acreate(zh, "/a/x", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, r));
    ASYNC("async create2", zoo_acreate2(zh, "/a/y", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string_stat, r));
    ASYNC("async create ttl", zoo_acreate2_ttl(zh, "/a/z", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 5, 99999, on_string_stat, r));
    const char *paths[] = {"/a", "/none"};
    for (int i = 0; i < 2; i++) {
        const char *p = paths[i];
        char step[64];
#define NAMED(what) (snprintf(step, sizeof step, "async %s %s", what, p), step)
        ASYNC(NAMED("exists"), zoo_aexists(zh, p, 0, on_stat, r));
        ASYNC(NAMED("get"), zoo_aget(zh, p, 0, on_data, r));
        ASYNC(NAMED("set"), zoo_aset(zh, p, "2", 1, -1, on_stat, r));
        ASYNC(NAMED("set bad version"), zoo_aset(zh, p, "2", 1, 77, on_stat, r));
        ASYNC(NAMED("children"), zoo_aget_children(zh, p, 0, on_strings, r));
        ASYNC(NAMED("children2"), zoo_aget_children2(zh, p, 0, on_strings_stat, r));
        ASYNC(NAMED("get acl"), zoo_aget_acl(zh, p, on_acl, r));
        ASYNC(NAMED("set acl"), zoo_aset_acl(zh, p, -1, &ZOO_READ_ACL_UNSAFE, on_void, r));
        ASYNC(NAMED("sync"), zoo_async(zh, p, on_string, r));
        ASYNC(NAMED("delete"), zoo_adelete(zh, p, -1, on_void, r));
    }
    /* Many in flight, answered in order. */
    enum { many = 500 };
    static struct reply rs[many];
    for (int i = 0; i < many; i++) {
        zoo_acreate(zh, "/many-", "", 0, &ZOO_OPEN_ACL_UNSAFE, 3, on_string, &rs[i]);
    }
    int wrong = 0;
    for (int i = 0; i < many; i++) {
        if (!until(&rs[i].done, 1) || rs[i].rc != ZOK || (i && strcmp(rs[i - 1].text, rs[i].text) >= 0)) {
            wrong++;
        }
    }
    put("async pipelined", "%d wrong", wrong);
}

static void multis(zhandle_t *zh) {
    zoo_op_t ops[8];
    zoo_op_result_t rs[8];
    char p1[64] = "", p2[64] = "", p3[64] = "";
    struct Stat st2 = {0};
    memset(rs, 0, sizeof rs);
    zoo_create_op_init(&ops[0], "/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, p1, sizeof p1);
    zoo_create_op_init(&ops[1], "/m/s-", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 3, p2, sizeof p2);
    zoo_create_op_init(&ops[2], "/m/c2", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, p3, sizeof p3);
    zoo_set_op_init(&ops[3], "/m", "22", 2, 0, &st2);
    zoo_check_op_init(&ops[4], "/m", 1);
    zoo_delete_op_init(&ops[5], "/m/c2", 0);
    multi_text("multi all", zoo_multi(zh, 6, ops, rs), rs, 6);
    memset(rs, 0, sizeof rs);
    zoo_check_op_init(&ops[0], "/m", 1);
    zoo_delete_op_init(&ops[1], "/m", 77);
    zoo_set_op_init(&ops[2], "/m", "22", 2, 0, &st2);
    multi_text("multi fails", zoo_multi(zh, 3, ops, rs), rs, 3);
    memset(rs, 0, sizeof rs);
    struct reply *r = calloc(1, sizeof *r);
    int started = zoo_amulti(zh, 1, ops, rs, on_void, r);
    until(&r->done, 1);
    put("multi async", "%s %s", zerror(started), zerror(r->rc));
    put("multi empty", "%s", zerror(zoo_multi(zh, 0, ops, rs)));
}

static void watches(zhandle_t *zh, struct events *main_events) {
    struct Stat st;
    char data[64];
    int n;
    struct events w = {""}, w2 = {""};
    struct String_vector kids;
    zoo_create(zh, "/w", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    main_events->text[0] = 0;
    put("watch exists", "%s", zerror(zoo_wexists(zh, "/w/n", watcher, &w, &st)));
    put("watch children", "%s", zerror(zoo_wget_children(zh, "/w", watcher, &w, &kids)));
    n = sizeof data;
    put("watch get", "%s", zerror(zoo_wget(zh, "/w", watcher, &w, data, &n, &st)));
    n = sizeof data;
    put("watch get second", "%s", zerror(zoo_wget(zh, "/w", watcher, &w2, data, &n, &st)));
    n = sizeof data;
    put("watch default", "%s", zerror(zoo_get(zh, "/w", 1, data, &n, &st)));
    zoo_create(zh, "/w/n", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    events("watch created", zh, &w);
    zoo_set(zh, "/w", "2", 1, -1);
    events("watch changed", zh, &w);
    events("watch changed second", zh, &w2);
    events("watch changed default", zh, main_events);
    zoo_set(zh, "/w", "3", 1, -1);
    events("watch one shot", zh, &w);
    n = sizeof data;
    zoo_wget(zh, "/w/n", watcher, &w, data, &n, &st);
    zoo_wget_children(zh, "/w/n", watcher, &w, &kids);
    zoo_wget_children(zh, "/w", watcher, &w, &kids);
    zoo_delete(zh, "/w/n", -1);
    events("watch deleted", zh, &w);
    n = sizeof data;
    zoo_wget(zh, "/w", watcher, &w, data, &n, &st);
    put("watch remove wrong", "%s", zerror(zoo_remove_watches(zh, "/w", ZWATCHTYPE_CHILD, watcher, &w, 0)));
    put("watch remove", "%s", zerror(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, watcher, &w, 0)));
    put("watch remove again", "%s", zerror(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, watcher, &w, 0)));
    n = sizeof data;
    zoo_wget(zh, "/w", watcher, &w, data, &n, &st);
    put("watch remove all", "%s", zerror(zoo_remove_all_watches(zh, "/w", ZWATCHTYPE_ANY, 0)));
    zoo_set(zh, "/w", "4", 1, -1);
    events("watch nothing left", zh, &w);
}

static void auth(zhandle_t *zh, const char *server) {
    struct events e;
    zhandle_t *o = connect_to(server, 30000, 0, &e);
    struct Stat st;
    char data[64];
    int n = sizeof data;
    until(&e.connected, 1);
    ASYNC("auth add", zoo_add_auth(zh, "digest", "bob:pw", 6, on_void, r));
    put("auth create", "%s", zerror(zoo_create(zh, "/auth", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, 0, 0)));
    struct ACL_vector acl = {0, 0};
    zoo_get_acl(zh, "/auth", &acl, &st);
    put("auth acl", "%s", acl_text(&acl));
    put("auth other get", "%s", zerror(zoo_get(o, "/auth", 0, data, &n, &st)));
    put("auth other set", "%s", zerror(zoo_set(o, "/auth", "y", 1, -1)));
    put("auth other acl", "%s", zerror(zoo_get_acl(o, "/auth", &acl, &st)));
    ASYNC("auth other add", zoo_add_auth(o, "digest", "bob:pw", 6, on_void, r));
    n = sizeof data;
    put("auth other get again", "%s", zerror(zoo_get(o, "/auth", 0, data, &n, &st)));
    ASYNC("auth bad scheme", zoo_add_auth(o, "nope", "x", 1, on_void, r));
    put("auth failed event", "%d", until(&e.authfailed, 1));
    put("auth unrecoverable", "%d", is_unrecoverable(o) != ZOK);
    put("auth close", "%s", zerror(zookeeper_close(o)) ? "closed" : "");
}

/* Tells the proxy to drop ('d') all connections, or to let them in again ('u'). */
static void proxy(const char *control, char c) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(atoi(strchr(control, ':') + 1))};
    char ack;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) || write(fd, &c, 1) != 1 || read(fd, &ack, 1) != 1) {
        perror("proxy");
        exit(1);
    }
    close(fd);
}

static void sessions(zhandle_t *zh, const char *server, const char *through, const char *control) {
    struct events e, w = {""};
    struct Stat st;
    struct String_vector kids;
    char data[64];
    int n = sizeof data;
    zoo_create(zh, "/s", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    zoo_create(zh, "/s/d", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    zoo_create(zh, "/s/same", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    zoo_create(zh, "/s/gone", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    zhandle_t *p = connect_to(through, 30000, 0, &e);
    put("session connected", "%d", until(&e.connected, 1));
    put("session ephemeral", "%s", zerror(zoo_create(p, "/s/e", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 1, 0, 0)));
    zoo_wget(p, "/s/d", watcher, &w, data, &n, &st);
    n = sizeof data;
    zoo_wget(p, "/s/same", watcher, &w, data, &n, &st);
    n = sizeof data;
    zoo_wget(p, "/s/gone", watcher, &w, data, &n, &st);
    zoo_wexists(p, "/s/new", watcher, &w, &st);
    zoo_wexists(p, "/s/never", watcher, &w, &st);
    zoo_wget_children(p, "/s", watcher, &w, &kids);
    zoo_wget_children(p, "/s/same", watcher, &w, &kids);
    clientid_t id = *zoo_client_id(p);
    proxy(control, 'd');
    put("session cut", "%d", until(&e.connected, 0));
    zoo_set(zh, "/s/d", "2", 1, -1);
    zoo_delete(zh, "/s/gone", -1);
    zoo_create(zh, "/s/new", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    proxy(control, 'u');
    put("session back", "%d", until(&e.connected, 1));
    put("session same", "%d", zoo_client_id(p)->client_id == id.client_id);
    events("session missed events", p, &w);
    put("session ephemeral lives", "%s", zerror(zoo_exists(p, "/s/e", 0, &st)));
    zoo_set(zh, "/s/same", "2", 1, -1);
    zoo_create(zh, "/s/never", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    events("session rearmed", p, &w);
    zookeeper_close(p);
    put("session ephemeral gone", "%s", zerror(zoo_exists(zh, "/s/e", 0, &st)));
    zhandle_t *x = connect_to(server, 30000, &id, &e);
    put("session closed cannot be had", "%d", until(&e.expired, 1));
    put("session expired use", "%s", zerror(zoo_exists(x, "/", 0, &st)));
    zookeeper_close(x);
    /* A client id that lives, without a cut: what a restarted process does. */
    zhandle_t *y = connect_to(server, 30000, 0, &e);
    until(&e.connected, 1);
    id = *zoo_client_id(y);
    memset(id.passwd, 9, sizeof id.passwd);
    struct events e2;
    zhandle_t *z = connect_to(server, 30000, &id, &e2);
    put("session wrong password", "%d", until(&e2.expired, 1));
    zookeeper_close(z);
    zookeeper_close(y);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zoo_deterministic_conn_order(1);
    struct events e;
    zhandle_t *zh = connect_to(argv[1], 30000, 0, &e);
    put("connected", "%d", until(&e.connected, 1));
    calls(zh);
    asynchronous(zh);
    multis(zh);
    watches(zh, &e);
    auth(zh, argv[1]);
    sessions(zh, argv[1], argv[2], argv[3]);
    put("close", "%s", zerror(zookeeper_close(zh)));
    return 0;
}
