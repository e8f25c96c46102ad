package verdict

import (
	"context"
	stdlog "log"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

func TestDirectives(t *testing.T) {
	prefix := func(client string) []map[string]string { return []map[string]string{{"client": client, "mode": "off"}} }
	for _, c := range []struct {
		name   string
		stanza mode
		ack    map[string]any
		want   string
	}{
		{"paused", modeEnforce, map[string]any{"paused": true}, "NOERROR A 192.0.2.1"},
		{"off for this client", modeEnforce, map[string]any{"overrides": prefix("192.0.2.7")}, "NOERROR A 192.0.2.1"},
		{"off for this network", modeEnforce, map[string]any{"overrides": prefix("192.0.2.0/24")}, "NOERROR A 192.0.2.1"},
		{"off for this network, as IPv6", modeEnforce, map[string]any{"overrides": prefix("::ffff:192.0.2.0/120")}, "NOERROR A 192.0.2.1"},
		{"off for another", modeEnforce, map[string]any{"overrides": prefix("198.51.100.0/24")}, "NXDOMAIN +SOA EDE15"},
		{"enforced for this client: Filtered", modeMonitor, map[string]any{"overrides": []map[string]string{{"client": "192.0.2.7/32", "mode": "enforce"}}}, "NXDOMAIN +SOA EDE17"},
		{"the longest prefix counts", modeEnforce, map[string]any{"overrides": []map[string]string{{"client": "192.0.2.0/24", "mode": "off"}, {"client": "192.0.2.7", "mode": "enforce"}}}, "NXDOMAIN +SOA EDE17"},
		{"paused over an override", modeMonitor, map[string]any{"paused": true, "overrides": []map[string]string{{"client": "192.0.2.7", "mode": "enforce"}}}, "NOERROR A 192.0.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, stanza{mode: c.stanza})
			first := h.engine.directives.Load()
			eventually(t, "a first acknowledgement", func() bool { return h.engine.directives.Load() != first })
			h.stub.set(func() { h.stub.ack = c.ack })
			first = h.engine.directives.Load()
			eventually(t, "the directives", func() bool { return h.engine.directives.Load() != first })
			r := query1("www.blocked.example", dns.TypeA)
			r.SetEdns0(1232, false)
			if m, _ := h.ask(t, r); summary(m) != c.want {
				t.Errorf("got %s, want %s", summary(m), c.want)
			}
		})
	}
}

// said keeps what is logged while a test runs.
type said struct {
	sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.text.Write(p)
}

func TestAnOverrideThatIsLeftOutIsToldOnce(t *testing.T) {
	config := testConfig(t, newStub(t).URL)
	config.silent = true // no acknowledgements of its own
	e := newTestEngine(t, config)
	heard := &said{}
	stdlog.SetOutput(heard)
	defer stdlog.SetOutput(os.Stderr)
	for _, client := range []string{"nobody", "nobody", "192.0.2.7", "nobody"} { // acknowledgements come each second
		a := ackOf("g1", 1, nil, false)
		a.Overrides = []overrideSetting{{Client: client, Mode: "off"}}
		e.told(a)
	}
	heard.Lock()
	defer heard.Unlock()
	if n := strings.Count(heard.text.String(), `client "nobody"`); n != 2 {
		t.Errorf("told %d times, expected each time that it is new:\n%s", n, heard.text.String())
	}
}

func TestAnAnalystsDecisionIsFollowed(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	r := query1("www.example.org", dns.TypeA)
	if m, _ := h.ask(t, r); m.Rcode != dns.RcodeSuccess {
		t.Fatalf("got %s", summary(m))
	}
	h.stub.set(func() {
		h.stub.rules["example.org"] = listed("blocklist", "nxdomain", "example.org")
		h.stub.epoch, h.stub.ack = 2, map[string]any{"changed": []string{"example.org"}}
	})
	began := time.Now()
	eventually(t, "blocked", func() bool { m, _ := h.ask(t, r); return m.Rcode == dns.RcodeNameError })
	t.Logf("after %s", time.Since(began))
}

func TestMetadata(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	r := query1("www.blocked.example", dns.TypeA)
	w := &udpWriter{}
	ctx := metadata.ContextWithMetadata(context.Background())
	ctx = h.Metadata(ctx, request.Request{W: w, Req: r})
	if got := metadata.ValueFunc(ctx, "verdict/action")(); got != "" {
		t.Errorf("%q before there is a verdict", got)
	}
	if _, err := h.ServeDNS(ctx, w, r); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{
		"label": "malicious", "tier": "block", "action": "nxdomain", "source": "blocklist", "rule": "blocked.example",
		"model": "m1", "reason": "", "score": "1.0000", "enforced": "true",
	} {
		if got := metadata.ValueFunc(ctx, "verdict/"+label)(); got != want {
			t.Errorf("verdict/%s = %q, want %q", label, got, want)
		}
	}
}

// TestReadyIsAskedWhileTheServerStarts needs the race detector to fail: *ready* serves before this plugin has started.
func TestReadyIsAskedWhileTheServerStarts(t *testing.T) {
	h, by, asked := new(Handler), new(corefile), make(chan struct{})
	go func() {
		defer close(asked)
		for !h.Ready() {
			runtime.Gosched()
		}
	}()
	if err := h.start(by, testConfig(t, newStub(t).URL), nil); err != nil {
		t.Fatal(err)
	}
	<-asked
	engines.release(func(other *corefile) bool { return other == by })
}

func TestReady(t *testing.T) {
	if (&Handler{}).Ready() {
		t.Error("ready without an engine")
	}
	if h := newHarness(t, stanza{mode: modeEnforce}); !h.Ready() {
		t.Error("not ready although queries pass without verdicts")
	}
	h := newHarness(t, stanza{mode: modeEnforce, servfail: true})
	eventually(t, "ready once the cluster answers", h.Ready)
}
