package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// startBoth starts a real server with an AdminServer beside it.
func startBoth(t *testing.T, lines ...string) (addr, url string) {
	t.Helper()
	dir := t.TempDir()
	p, err := config.ParseProperties([]byte("tickTime=500\ndataDir=" + dir + "/data\nclientPort=1\npreAllocSize=1024\nadmin.rateLimiterIntervalInMS=0\nadmin.serverAddress=127.0.0.1\nadmin.serverPort=0\n" + strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Parse(p, config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		t.Fatal(err)
	}
	o := server.FromConfig(cfg)
	o.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	s, err := server.Start(o, discardLog())
	if err != nil {
		t.Fatal(err)
	}
	adminOpts, err := FromConfig(cfg, nil, discardLog())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Start(adminOpts, s, discardLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.Addr(0).String(), "http://" + a.Addr().String() + "/commands/"
}

// call makes a request with credentials and returns status, headers and body.
func call(t *testing.T, method, url string, body []byte) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "digest ops:secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

// TestEveryCommand runs all GET commands against a real server: each answers with what JSON parsers take.
func TestEveryCommand(t *testing.T) {
	addr, url := startBoth(t)
	c, err := client.Dial(t.Context(), addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Create(t.Context(), "/e\"1", nil, proto.WorldAnyone, client.Ephemeral); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExistsW(t.Context(), "/watched", client.WatchFunc(func(client.Event) {})); !errors.Is(err, proto.ErrNoNode) {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"dump": `[ "/e\"1" ]`, "watches": `[ "/watched" ]`, "watches_by_path": `"/watched" : [ `, "connections": `"last_operation" : "EXIS"`} {
		if _, _, body := call(t, http.MethodGet, url+name, nil); !strings.Contains(string(body), want) {
			t.Errorf("%s: no %s in\n%s", name, want, body)
		}
	}
	for _, cmd := range commandTable() {
		if cmd.post {
			continue
		}
		status, header, body := call(t, http.MethodGet, url+cmd.name, nil)
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", cmd.name, status, body)
		}
		if cmd.name == "snapshot" {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil || fields["command"] != cmd.name || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, %s", cmd.name, err, body)
		}
	}
}

// TestBackup takes a snapshot over HTTP, changes the tree, and puts it back.
func TestBackup(t *testing.T) {
	addr, url := startBoth(t)
	c, err := client.Dial(t.Context(), addr, client.Options{SessionTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	big := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	if _, err := c.Create(t.Context(), "/big", big, proto.WorldAnyone, client.Persistent); err != nil {
		t.Fatal(err)
	}
	status, header, backup := call(t, http.MethodGet, url+"snapshot?streaming=true", nil)
	if status != http.StatusOK || header.Get("last_zxid") != "0x2" && header["Last_zxid"] == nil || len(backup) < len(big) {
		t.Fatalf("%d %v, %d bytes", status, header, len(backup))
	}
	if _, err := c.SetData(t.Context(), "/big", nil, -1); err != nil {
		t.Fatal(err)
	}
	status, _, body := call(t, http.MethodPost, url+"restore", backup)
	if status != http.StatusOK || !strings.Contains(string(body), `"last_zxid" : 2`) {
		t.Fatalf("%d %s", status, body)
	}
	got, stat, err := c.GetData(t.Context(), "/big")
	for errors.Is(err, client.ErrConnectionLoss) {
		got, stat, err = c.GetData(t.Context(), "/big") // sent before the client knew that its connection was closed
	}
	if err != nil || !bytes.Equal(got, big) || stat.Version != 0 {
		t.Fatalf("%d bytes, %+v, %v", len(got), stat, err)
	}
	status, _, body = call(t, http.MethodPost, url+"restore", backup[:len(backup)/2])
	if status != http.StatusInternalServerError || !strings.Contains(string(body), `"error" : null`) {
		t.Fatalf("%d %s", status, body)
	}
	if status, _, body = call(t, http.MethodPost, url+"shed_connections", []byte(`{"percentage": 100}`)); status != http.StatusOK || !strings.Contains(string(body), `"connections_shed" : 1`) {
		t.Fatalf("%d %s", status, body)
	}
}

// TestHTTPS: on one port with HTTP, or alone, with a certificate asked for; x509 is a scheme of its own then.
func TestHTTPS(t *testing.T) {
	stores := []string{"ssl.quorum.keyStore.location=../certs/testdata/server.jks", "ssl.quorum.keyStore.password=changeit",
		"ssl.quorum.trustStore.location=../certs/testdata/ca.pem", "authProvider.1=org.apache.zookeeper.server.auth.X509AuthenticationProvider"}
	pool, _, err := certs.LoadTrust(config.Store{Location: "../certs/testdata/ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := certs.LoadKeys(config.Store{Location: "../certs/testdata/client.pem"})
	if err != nil {
		t.Fatal(err)
	}
	try := func(url, auth string, certificates []tls.Certificate) (int, http.Header, error) {
		c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: certificates}, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", auth)
		resp, err := c.Do(r)
		if err != nil {
			return 0, nil, err
		}
		return resp.StatusCode, resp.Header, resp.Body.Close()
	}
	secure := func(url string) string { return strings.Replace(url, "http:", "https:", 1) }

	_, url := startBoth(t, append(stores, "admin.portUnification=true")...)
	if code, h, err := try(url+"ruok", "", nil); err != nil || code != 200 || h.Get("Strict-Transport-Security") != "" {
		t.Errorf("plain: %d, %v, %v", code, h, err)
	}
	if code, h, err := try(secure(url)+"ruok", "", nil); err != nil || code != 200 || h.Get("Strict-Transport-Security") == "" {
		t.Errorf("TLS: %d, %v, %v", code, h, err)
	}
	if code, _, err := try(secure(url)+"snapshot?streaming=false", "x509", nil); err != nil || code != 401 {
		t.Errorf("x509 without a certificate: %d, %v", code, err)
	}

	_, url = startBoth(t, append(stores, "admin.forceHttps=true", "admin.needClientAuth=true")...)
	if _, _, err := try(url+"ruok", "", nil); err == nil {
		if code, _, _ := try(url+"ruok", "", nil); code != http.StatusBadRequest {
			t.Errorf("plain where HTTPS is forced: %d", code)
		}
	}
	if _, _, err := try(secure(url)+"ruok", "", nil); err == nil {
		t.Error("a client without a certificate is let in")
	}
	if code, _, err := try(secure(url)+"snapshot?streaming=false", "x509", keys); err != nil || code != 200 {
		t.Errorf("x509: %d, %v", code, err)
	}
}
