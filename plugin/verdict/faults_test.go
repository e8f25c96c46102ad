package verdict

import (
	"encoding/pem"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hang keeps a request until its caller gives up or the test ends. The body is read first: only then does the
// server notice that the caller has gone.
func hang(t *testing.T) func(http.ResponseWriter, *http.Request, func()) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ http.ResponseWriter, r *http.Request, _ func()) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}
}

func hijacked(w http.ResponseWriter, write string) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	connection.Write([]byte(write))
	if tcp, ok := connection.(*net.TCPConn); ok {
		tcp.SetLinger(0) // RST
	}
	connection.Close()
}

const settled = 20 * time.Second // by when every fault has an outcome, on a busy machine too

// TestFaults: everything bad a cluster can do gives a reason, and nothing of it is believed.
func TestFaults(t *testing.T) {
	t.Parallel()
	reply := func(body string) func(http.ResponseWriter, *http.Request, func()) {
		return func(w http.ResponseWriter, _ *http.Request, _ func()) { fmt.Fprint(w, body) }
	}
	status := func(code int) func(http.ResponseWriter, *http.Request, func()) {
		return func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, `{"code":"x"}`, code) }
	}
	good := "{" + saysBenign + "}"
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request, func())
		want  reason
	}{
		{"late", hang(t), reasonTimeout},
		{"half a body", func(w http.ResponseWriter, _ *http.Request, _ func()) {
			hijacked(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"epoch\":1,")
		}, reasonError},
		{"cut in the middle of JSON", reply(`{"epoch":1,"generation":"g1","verdicts":[`), reasonMalformed},
		{"wrong length", reply(`{"epoch":1,"generation":"g1","verdicts":[` + good + "," + good + `]}`), reasonMalformed},
		{"NaN", reply(`{"epoch":1,"generation":"g1","verdicts":[` + strings.Replace(good, "0.1", "NaN", 1) + `]}`), reasonMalformed},
		{"unknown action", reply(`{"epoch":1,"generation":"g1","verdicts":[` + strings.Replace(good, "passthru", "explode", 1) + `]}`), reasonMalformed},
		{"a score beyond 1", reply(`{"epoch":1,"generation":"g1","verdicts":[` + strings.Replace(good, "0.1", "1.5", 1) + `]}`), reasonMalformed},
		{"another name's verdict", reply(`{"epoch":1,"generation":"g1","verdicts":[{` + listed("blocklist", "nxdomain", "other.example") + `}]}`), reasonMalformed},
		{"another request's answer", reply(`{"epoch":1,"generation":"g1","asked":12345,"verdicts":[` + good + `]}`), reasonMalformed},
		{"a sum that is none", reply(`{"epoch":1,"generation":"g1","asked":-1,"verdicts":[` + good + `]}`), reasonMalformed},
		{"a rule without end", reply(`{"epoch":1,"generation":"g1","verdicts":[{` + saysBenign + `,"rule":"` + strings.Repeat("x", maxText+1) + `"}]}`), reasonMalformed},
		{"a model without end", reply(`{"epoch":1,"generation":"g1","model":"` + strings.Repeat("x", maxText+1) + `","verdicts":[` + good + `]}`), reasonMalformed},
		{"a generation without end", reply(`{"epoch":1,"generation":"` + strings.Repeat("x", maxText+1) + `","verdicts":[` + good + `]}`), reasonMalformed},
		{"an epoch that none follows", reply(`{"epoch":18446744073709551615,"generation":"g1","verdicts":[` + good + `]}`), reasonMalformed},
		{"an epoch beyond 2^53", reply(`{"epoch":9007199254740993,"generation":"g1","verdicts":[` + good + `]}`), reasonMalformed},
		{"500", status(500), reasonError},
		{"502", status(502), reasonError},
		{"503", status(503), reasonOverload},
		{"429", status(429), reasonOverload},
		{"504", status(504), reasonTimeout},
		{"wrong token", status(401), reasonUnauthorised},
		{"forbidden", status(403), reasonUnauthorised},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ func()) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, reasonError},
		{"reset", func(w http.ResponseWriter, _ *http.Request, _ func()) { hijacked(w, "") }, reasonError},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request, _ func()) { hijacked(w, "220 smtp.example.org\r\n") }, reasonError},
		{"101", func(w http.ResponseWriter, r *http.Request, _ func()) {
			io.Copy(io.Discard, r.Body)
			connection, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer connection.Close()
			fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			connection.SetDeadline(time.Now().Add(2 * settled))
			io.Copy(io.Discard, connection) // until the other side hangs up
		}, reasonError},
		{"slow loris", func(w http.ResponseWriter, r *http.Request, _ func()) {
			io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, reasonTimeout},
		{"huge body", func(w http.ResponseWriter, _ *http.Request, _ func()) {
			for range maxReplyOctets/65536 + 2 {
				if _, err := w.Write(make([]byte, 65536)); err != nil {
					return
				}
			}
		}, reasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStub(t)
			s.set(func() { s.fault = c.fault })
			config := testConfig(t, s.URL)
			if c.want == reasonTimeout {
				config.timeout = 50 * time.Millisecond // given up after lateLeast
			}
			e := newTestEngine(t, config)
			fl, _, _ := e.framer.ask("example.org")
			select {
			case <-fl.done:
			case <-time.After(settled):
				t.Fatalf("no outcome within %s", settled)
			}
			if fl.verdict != nil || fl.reason != c.want {
				t.Errorf("verdict %v, reason %v, expected %v", fl.verdict, fl.reason, c.want)
			}
			if e.lookup("example.org") != nil {
				t.Error("cached")
			}
			if _, epoch := e.follower.position(); epoch > 1 || e.cache.floor.Load() > 1 {
				t.Errorf("followed to epoch %d and %d in frames, expected the reports' 1 at most", epoch, e.cache.floor.Load())
			}
		})
	}
}

func TestHTTPSNeedsTheRightAuthority(t *testing.T) {
	inner := newStub(t)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(inner.serve))
	secure.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // a refused handshake is expected
	secure.StartTLS()
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	pemText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(authority, pemText, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want reason
	}{
		{"the right one", []string{authority}, reasonNone},
		{"the system's", nil, reasonError},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig(t, secure.URL)
			tlsConfig, err := tlsOf(&settings{engine: config, tlsArgs: c.args})
			if err != nil {
				t.Fatal(err)
			}
			e, err := newEngine(config, tlsConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer e.close()
			fl, _, _ := e.framer.ask("example.org")
			<-fl.done
			if fl.reason != c.want || (fl.verdict != nil) != (c.want == reasonNone) {
				t.Errorf("verdict %v, reason %v, expected %v", fl.verdict, fl.reason, c.want)
			}
		})
	}
}

// TestAClusterThatGoesBackwards: what is older than what was seen, or of a store that was left, serves its waiter at most.
func TestAClusterThatGoesBackwards(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.set(func() { s.epoch = 5 })
	e := newTestEngine(t, testConfig(t, s.URL))
	ask := func(name string, cached bool) {
		t.Helper()
		fl, v, why := e.framer.ask(name)
		if fl != nil {
			<-fl.done
			v, why = fl.verdict, fl.reason
		}
		if v == nil || (e.lookup(name) != nil) != cached {
			t.Errorf("%s: verdict %v (%v), in the cache %t, expected %t", name, v, why, e.lookup(name) != nil, cached)
		}
	}
	become := func(generation string, epoch uint64, ack map[string]any) {
		t.Helper()
		s.set(func() { s.generation, s.epoch, s.ack = generation, epoch, ack })
		sent := len(s.sent())
		eventually(t, "two reports to the cluster as it is now", func() bool { return len(s.sent()) >= sent+2 })
	}
	at := func(generation string, epoch uint64) {
		t.Helper()
		if g, n := e.follower.position(); g != generation || n != epoch {
			t.Errorf("followed to %s %d, expected %s %d", g, n, generation, epoch)
		}
	}
	ask("a.example.org", true)
	become("g1", 3, map[string]any{"changed": []string{"example.org"}, "paused": true})
	ask("b.example.org", false)
	ask("b.example.org", false)
	if n := s.count("b.example.org"); n != 2 {
		t.Errorf("asked %d times, expected each time", n)
	}
	at("g1", 5)
	if e.lookup("a.example.org") == nil || e.directives.Load().paused {
		t.Error("an older acknowledgement was followed")
	}
	become("g2", 1, nil)
	ask("c.example.org", true)
	at("g2", 1)
	if e.lookup("a.example.org") != nil {
		t.Error("a verdict of the former store is still there")
	}
	become("g1", 9, map[string]any{"paused": true})
	ask("d.example.org", false)
	at("g2", 1)
	if e.lookup("c.example.org") == nil || e.directives.Load().paused {
		t.Error("a store that was left was followed again")
	}
}
