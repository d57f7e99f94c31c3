package cli

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// Where quotas live (client protocol, section 5.8).
const (
	quotaRoot  = "/zookeeper/quota"
	limitsName = "zookeeper_limits"
	statsName  = "zookeeper_stats"
)

func limitsPath(path string) string { return quotaRoot + path + "/" + limitsName }
func statsPath(path string) string  { return quotaRoot + path + "/" + statsName }

// A quota is the text of a limits or stats znode. A key that is missing counts as -1, no limit.
type quota map[string]int64

// Keys of a quota.
const (
	quotaCount     = "count"
	quotaBytes     = "bytes"
	quotaCountHard = "countHardLimit"
	quotaByteHard  = "byteHardLimit"
)

// parseQuota reads "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4".
func parseQuota(text string) (quota, error) {
	q := quota{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' }) {
		key, value, _ := strings.Cut(pair, "=")
		value, _, _ = strings.Cut(value, "=")
		if value == "" {
			value = "-1"
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, failure("quota %q: %s is not a number", text, key)
		}
		q[key] = n
	}
	return q, nil
}

func (q quota) get(key string) int64 {
	if v, ok := q[key]; ok {
		return v
	}
	return -1
}

// String is the text that servers and old tools read; the "=" behind bytes is what keeps the
// latter from stumbling over the hard limits.
func (q quota) String() string {
	s := fmt.Sprintf("count=%d,bytes=%d", q.get(quotaCount), q.get(quotaBytes))
	var more []string
	for key, v := range q {
		if key != quotaCount && key != quotaBytes {
			more = append(more, fmt.Sprintf(";%s=%d", key, v))
		}
	}
	if len(more) > 0 {
		sort.Strings(more)
		s += "=" + strings.Join(more, "")
	}
	return s
}

// quotaKey is the key that a flag of setquota and delquota stands for.
var quotaKey = map[string]string{"n": quotaCount, "b": quotaBytes, "N": quotaCountHard, "B": quotaByteHard}

func (s *shell) readQuota(zk *client.Client, path string) (quota, error) {
	data, _, err := zk.GetData(s.ctx, path)
	if err != nil {
		return nil, err
	}
	return parseQuota(string(data))
}

func (s *shell) setQuota(p *parsed) error {
	path := p.args[0]
	if strings.HasPrefix(path, quotaRoot) {
		fmt.Fprintln(s.err, "cannot set a quota under the path: "+quotaRoot)
		return nil
	}
	var key string
	var limit int64
	for flag, text := range p.values { // one flag: they exclude each other and one is required
		bits, least := 64, int64(0)
		if flag == "n" || flag == "N" {
			bits, least = 32, 1
		}
		v, err := strconv.ParseInt(text, 10, bits)
		switch {
		case err != nil:
			fmt.Fprintln(s.err, "NumberFormatException happens when parsing the option value")
			return nil
		case v < least && bits == 32:
			fmt.Fprintln(s.err, "the num quota must be greater than zero")
			return nil
		case v < least:
			fmt.Fprintln(s.err, "the bytes quota must be greater than or equal to zero")
			return nil
		}
		key, limit = quotaKey[flag], v
	}
	zk, err := s.node(path)
	if err != nil {
		return err
	}
	if _, err := zk.Exists(s.ctx, path); errors.Is(err, proto.ErrNoNode) {
		return failure("%s does not exist.", path)
	} else if err != nil {
		return err
	}
	if err := s.quotaBelow(zk, path); err != nil {
		return err
	}
	if err := s.quotaAbove(zk, path); err != nil {
		return err
	}
	return s.storeQuota(zk, path, key, limit)
}

// quotaBelow fails if a descendant of path has a quota.
func (s *shell) quotaBelow(zk *client.Client, path string) error {
	top := strings.TrimSuffix(quotaRoot+path, "/")
	err := s.visit(zk, top, nil, func(at string) error {
		if parent, name := split(at); name == limitsName && parent != top {
			return failure("%s has a child %s which has a quota", path, strings.TrimPrefix(parent, quotaRoot))
		}
		return nil
	})
	if errors.Is(err, proto.ErrNoNode) {
		return nil
	}
	return err
}

// quotaAbove fails if a proper ancestor of path, other than the root, has a quota.
func (s *shell) quotaAbove(zk *client.Client, path string) error {
	for parent, _ := split(path); parent != "" && parent != "/"; parent, _ = split(parent) {
		_, err := zk.Exists(s.ctx, limitsPath(parent))
		if err == nil {
			return failure("%s has a parent %s which has a quota", path, parent)
		}
		if !errors.Is(err, proto.ErrNoNode) {
			return err
		}
	}
	return nil
}

// split gives parent and name; the parent of a child of the root is "/", that of "/" empty.
func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if path == "/" || i < 0 {
		return "", ""
	}
	return path[:max(i, 1)], path[i+1:]
}

// storeQuota writes the limit: into the limits that there are, or with all znodes around it
// as new ones, limits first (client protocol, section 5.8).
func (s *shell) storeQuota(zk *client.Client, path, key string, limit int64) error {
	limits, err := s.readQuota(zk, limitsPath(path))
	if err == nil {
		limits[key] = limit
		stats, err := s.readQuota(zk, statsPath(path))
		if err != nil {
			return err
		}
		s.warnQuota(limits, stats)
		_, err = zk.SetData(s.ctx, limitsPath(path), []byte(limits.String()), client.AnyVersion)
		return err
	}
	if !errors.Is(err, proto.ErrNoNode) {
		return err
	}
	at := quotaRoot
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		at = join(at, name)
		if err := s.createPlain(zk, at, nil); err != nil && !errors.Is(err, proto.ErrNodeExists) {
			return err
		}
	}
	limits = quota{quotaCount: -1, quotaBytes: -1, quotaCountHard: -1, quotaByteHard: -1}
	limits[key] = limit
	if err := s.createPlain(zk, limitsPath(path), []byte(limits.String())); err != nil {
		return err
	}
	if err := s.createPlain(zk, statsPath(path), []byte(quota{quotaCount: 0, quotaBytes: 0}.String())); err != nil {
		return err
	}
	stats, err := s.readQuota(zk, statsPath(path)) // the server has filled in the truth
	if err != nil {
		return err
	}
	s.warnQuota(limits, stats)
	return nil
}

func (s *shell) createPlain(zk *client.Client, path string, data []byte) error {
	_, err := zk.Create(s.ctx, path, data, proto.WorldAnyone, client.Persistent)
	return err
}

// warnQuota says so when the limits are exceeded from the start.
func (s *shell) warnQuota(limits, stats quota) {
	below := func(key, hardKey string, used int64) bool {
		soft, hard := limits.get(key), limits.get(hardKey)
		return soft > -1 && soft < used || hard > -1 && hard < used
	}
	if n := stats.get(quotaCount); below(quotaCount, quotaCountHard, n) {
		fmt.Fprintf(s.out, "[Warning]: the count quota you create is less than the existing count:%d\n", n)
	}
	if n := stats.get(quotaBytes); below(quotaBytes, quotaByteHard, n) {
		fmt.Fprintf(s.out, "[Warning]: the bytes quota you create is less than the existing bytes:%d\n", n)
	}
}

func (s *shell) listQuota(p *parsed) error {
	path := p.args[0]
	zk, err := s.node(path)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.err, "absolute path is "+limitsPath(path))
	limits, err := s.readQuota(zk, limitsPath(path))
	var stats quota
	if err == nil {
		stats, err = s.readQuota(zk, statsPath(path))
	}
	if errors.Is(err, proto.ErrNoNode) {
		fmt.Fprintln(s.err, "quota for "+path+" does not exist.")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Output quota for %s %s\n", path, limits)
	fmt.Fprintf(s.out, "Output stat for %s %s\n", path, stats)
	return nil
}

func (s *shell) delQuota(p *parsed) error {
	path := p.args[0]
	zk, err := s.node(path)
	if err != nil {
		return err
	}
	limits, err := s.readQuota(zk, limitsPath(path))
	if errors.Is(err, proto.ErrNoNode) {
		fmt.Fprintln(s.out, "Quota does not exist for "+path)
		return nil
	}
	if err != nil {
		return err
	}
	if len(p.values) > 0 {
		for flag := range p.values {
			limits[quotaKey[flag]] = -1
		}
		_, err := zk.SetData(s.ctx, limitsPath(path), []byte(limits.String()), client.AnyVersion)
		return err
	}
	// All of it: the znodes with the limits, then the parents that nothing else needs.
	at := strings.TrimSuffix(quotaRoot+path, "/")
	names, err := zk.GetChildren(s.ctx, at)
	for _, name := range names {
		if err == nil {
			err = zk.Delete(s.ctx, join(at, name), client.AnyVersion)
		}
	}
	for err == nil && at != quotaRoot {
		if names, err = zk.GetChildren(s.ctx, at); err != nil || len(names) > 0 {
			break
		}
		err = zk.Delete(s.ctx, at, client.AnyVersion)
		at, _ = split(at)
	}
	if errors.Is(err, proto.ErrNoNode) {
		fmt.Fprintln(s.err, "quota for "+path+" does not exist.")
		return nil
	}
	return err
}
