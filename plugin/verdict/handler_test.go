package verdict

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// udpWriter and tcpWriter keep what was written to a client.
type udpWriter struct {
	test.ResponseWriter
	written []*dns.Msg
}

func (w *udpWriter) RemoteAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000}
}
func (w *udpWriter) WriteMsg(m *dns.Msg) error   { w.written = append(w.written, m); return nil }
func (w *udpWriter) Write(b []byte) (int, error) { panic("not packed here") }

type tcpWriter struct{ udpWriter }

func (w *tcpWriter) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000}
}

// chain answers every query: NXDOMAIN below nx.example, an alias where it is told, else an address.
type chain struct {
	aliases map[string]dns.RR
	rcode   int
	err     error
	silent  bool
	asked   int
}

func (c *chain) Name() string { return "chain" }

func (c *chain) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	c.asked++
	if c.silent {
		return c.rcode, c.err
	}
	m := new(dns.Msg).SetReply(r)
	name := strings.ToLower(r.Question[0].Name)
	if alias := c.aliases[name]; alias != nil {
		m.Answer = append(m.Answer, alias)
	}
	if strings.HasSuffix(name, ".nx.example.") {
		m.Rcode = dns.RcodeNameError
	} else {
		header := dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
		m.Answer = append(m.Answer, &dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)})
	}
	return c.rcode, errors.Join(c.err, w.WriteMsg(m))
}

// harness is a handler between a stub cluster and a chain.
type harness struct {
	*Handler
	stub  *stub
	chain *chain
}

func newHarness(t testing.TB, s stanza) *harness {
	t.Helper()
	h := &harness{&Handler{stanza: s, zone: "."}, newStub(t), &chain{aliases: map[string]dns.RR{}}}
	h.Next = h.chain
	h.stub.rules = map[string]string{
		"model.example":   saysBlock,
		"blocked.example": listed("blocklist", "nxdomain", "blocked.example"),
		"nodata.example":  listed("blocklist", "nodata", "nodata.example"),
		"refused.example": listed("blocklist", "refused", "refused.example"),
		"drop.example":    listed("blocklist", "drop", "drop.example"),
		"honey.example":   listed("honeypot-list", "local-data", "honey.example"),
		"vetted.example":  listed("benign-list", "passthru", "vetted.example"),
		"nx.example":      listed("blocklist", "refused", "nx.example"),
	}
	h.use(newTestEngine(t, testConfig(t, h.stub.URL)))
	return h
}

func query1(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

// ask serves one query over UDP and returns the reply, nil if there was none.
func (h *harness) ask(t *testing.T, r *dns.Msg) (*dns.Msg, int) {
	t.Helper()
	w := &udpWriter{}
	rcode, _ := h.ServeDNS(context.Background(), w, r)
	if len(w.written) > 1 {
		t.Fatalf("%d replies", len(w.written))
	}
	if len(w.written) == 0 {
		return nil, rcode
	}
	if !plugin.ClientWrite(rcode) {
		t.Fatalf("a reply was written and %s returned: the server would write another", dns.RcodeToString[rcode])
	}
	return w.written[0], rcode
}

func summary(m *dns.Msg) string {
	if m == nil {
		return "nothing"
	}
	text := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		text += " " + strings.Join(strings.Fields(rr.String())[3:], " ")
	}
	if len(m.Ns) > 0 {
		text += " +SOA"
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok {
				text += fmt.Sprintf(" EDE%d", ede.InfoCode)
			}
		}
	}
	return text
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		name, qname string
		qtype       uint16
		want        string
	}{
		{"benign passes", "www.example.org", dns.TypeA, "NOERROR A 192.0.2.1"},
		{"nxdomain", "www.blocked.example", dns.TypeA, "NXDOMAIN +SOA EDE15"},
		{"the model's block", "www.model.example", dns.TypeA, "NXDOMAIN +SOA EDE15"},
		{"nodata", "www.nodata.example", dns.TypeA, "NOERROR +SOA EDE15"},
		{"refused", "www.refused.example", dns.TypeA, "REFUSED EDE15"},
		{"drop", "www.drop.example", dns.TypeA, "nothing"},
		{"local-data A", "www.honey.example", dns.TypeA, "NOERROR A 192.0.2.53 EDE4"},
		{"local-data AAAA", "www.honey.example", dns.TypeAAAA, "NOERROR AAAA 2001:db8::53 EDE4"},
		{"local-data HTTPS", "www.honey.example", dns.TypeHTTPS, "NOERROR +SOA EDE4"},
		{"local-data TXT", "www.honey.example", dns.TypeTXT, "NOERROR +SOA EDE4"},
		{"local-data ANY", "www.honey.example", dns.TypeANY, "NOERROR +SOA EDE4"},
		{"vetted", "www.vetted.example", dns.TypeA, "NOERROR A 192.0.2.1"},
		{"an upstream NXDOMAIN stands", "www.nx.example", dns.TypeA, "NXDOMAIN"},
	} {
		for _, edns := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, EDNS %t", c.name, edns), func(t *testing.T) {
				h := newHarness(t, stanza{mode: modeEnforce})
				r := query1(c.qname, c.qtype)
				want := c.want
				if edns {
					r.SetEdns0(4096, true)
				} else if i := strings.Index(want, " EDE"); i >= 0 {
					want = want[:i]
				}
				got, _ := h.ask(t, r)
				if summary(got) != want {
					t.Errorf("miss: got %s, want %s", summary(got), want)
				}
				if c.qname == "www.nx.example" {
					return // a hit acts without asking upstream
				}
				if got, _ = h.ask(t, r); summary(got) != want {
					t.Errorf("hit: got %s, want %s", summary(got), want)
				}
			})
		}
	}
}

func TestSynthesisedRepliesAreCorrectDNS(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	r := query1("WwW.bLoCkEd.eXaMpLe", dns.TypeA)
	r.SetEdns0(4096, true)
	r.CheckingDisabled = true
	m, _ := h.ask(t, r)
	opt := m.IsEdns0()
	switch {
	case m.Id != r.Id || !m.Response || m.Opcode != dns.OpcodeQuery:
		t.Errorf("header %v", m.MsgHdr)
	case m.Authoritative || m.AuthenticatedData || !m.RecursionAvailable || !m.RecursionDesired || !m.CheckingDisabled:
		t.Errorf("flags %v: expected AA=0 AD=0 RA=1, RD and CD as asked", m.MsgHdr)
	case m.Question[0].Name != "WwW.bLoCkEd.eXaMpLe.":
		t.Errorf("question %s: its case was not kept", m.Question[0].Name)
	case opt == nil || !opt.Do() || opt.Version() != 0:
		t.Errorf("OPT %v: expected DO as asked", opt)
	case m.Ns[0].Header().Ttl > negativeTTL || m.Ns[0].Header().Name != "WwW.bLoCkEd.eXaMpLe.":
		t.Errorf("authority %v", m.Ns[0])
	}
	if _, err := m.Pack(); err != nil {
		t.Error(err)
	}
	r.Extra = nil
	if m, _ := h.ask(t, r); m.IsEdns0() != nil {
		t.Error("OPT in the reply to a query without one")
	}
}

func TestDropOffUDPIsRefused(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	w := &tcpWriter{}
	rcode, err := h.ServeDNS(context.Background(), w, query1("www.drop.example", dns.TypeA))
	if err != nil || rcode != dns.RcodeSuccess || len(w.written) != 1 || w.written[0].Rcode != dns.RcodeRefused {
		t.Errorf("rcode %d, %v, wrote %v", rcode, err, w.written)
	}
}

func TestDNSSECRefuse(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce, refuseDO: true})
	r := query1("www.honey.example", dns.TypeA)
	if m, _ := h.ask(t, r); summary(m) != "NOERROR A 192.0.2.53" {
		t.Errorf("without DO: %s", summary(m))
	}
	r.SetEdns0(4096, true)
	if m, _ := h.ask(t, r); summary(m) != "REFUSED EDE15" {
		t.Errorf("with DO: %s", summary(m))
	}
}

func TestMonitorActsOnNothing(t *testing.T) {
	h := newHarness(t, stanza{mode: modeMonitor})
	for range 2 {
		if m, _ := h.ask(t, query1("www.blocked.example", dns.TypeA)); summary(m) != "NOERROR A 192.0.2.1" {
			t.Errorf("got %s", summary(m))
		}
		eventually(t, "a verdict", func() bool { return h.engine.lookup("www.blocked.example") != nil })
	}
	eventually(t, "the record of what would have happened", func() bool {
		return slices.Contains(h.stub.rows("www.blocked.example"), "2 malicious nxdomain blocklist enforced=false NOERROR ") ||
			len(h.stub.rows("www.blocked.example")) == 2
	})
}

func TestMonitorDoesNotWait(t *testing.T) {
	h := newHarness(t, stanza{mode: modeMonitor})
	h.stub.set(func() { h.stub.fault = hang(t) })
	began := time.Now()
	h.ask(t, query1("www.example.org", dns.TypeA))
	if took := time.Since(began); took > time.Second {
		t.Errorf("the reply left after %s", took)
	}
	eventually(t, "the record says why", func() bool {
		return slices.Equal(h.stub.rows("www.example.org"), []string{"1 unknown passthru none enforced=false NOERROR timeout"})
	})
}

func TestUntouched(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*dns.Msg)
	}{
		{"AXFR", func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeAXFR }},
		{"IXFR", func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeIXFR }},
		{"NOTIFY", func(r *dns.Msg) { r.Opcode = dns.OpcodeNotify }},
		{"UPDATE", func(r *dns.Msg) { r.Opcode = dns.OpcodeUpdate }},
		{"class CH", func(r *dns.Msg) { r.Question[0].Qclass = dns.ClassCHAOS }},
		{"two questions", func(r *dns.Msg) { r.Question = append(r.Question, r.Question[0]) }},
		{"an excepted zone", func(r *dns.Msg) { r.Question[0].Name = "www.EXCEPT.blocked.example." }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, stanza{mode: modeEnforce, except: []string{"except.blocked.example."}})
			r := query1("www.blocked.example", dns.TypeA)
			c.change(r)
			if m, _ := h.ask(t, r); m == nil || m.Rcode != dns.RcodeSuccess || h.chain.asked != 1 {
				t.Errorf("got %s", summary(m))
			}
			if h.stub.count("www.blocked.example")+h.stub.count("www.except.blocked.example") > 0 {
				t.Error("the cluster was asked")
			}
		})
	}
	t.Run("no question", func(t *testing.T) {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.chain.silent = true
		if m, _ := h.ask(t, new(dns.Msg)); m != nil {
			t.Errorf("got %s", summary(m))
		}
	})
}

func TestNothingCapturedLeavesRcodeAndErrorAlone(t *testing.T) {
	for _, m := range []mode{modeMonitor, modeEnforce} {
		h := newHarness(t, stanza{mode: m})
		h.chain.silent, h.chain.rcode, h.chain.err = true, dns.RcodeServerFailure, errors.New("no upstream")
		w := &udpWriter{}
		rcode, err := h.ServeDNS(context.Background(), w, query1("www.example.org", dns.TypeA))
		if rcode != dns.RcodeServerFailure || err == nil || len(w.written) != 0 {
			t.Errorf("%s: rcode %d, %v, wrote %v", m, rcode, err, w.written)
		}
	}
}

func TestOddNames(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61) + "."
	for _, name := range []string{".", long, `\000\255\.\\.example.org.`, "a b.example.org.", "*.example.org."} {
		h := newHarness(t, stanza{mode: modeEnforce})
		if m, _ := h.ask(t, query1(name, dns.TypeA)); m == nil || m.Question[0].Name != name {
			t.Errorf("%.40q: got %s", name, summary(m))
		}
		if n := h.stub.count(string(normalise(nil, name))); n != 1 {
			t.Errorf("%.40q: asked %d times", name, n)
		}
	}
}

func TestWithoutAVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		stanza stanza
		want   int
		wrote  bool
		asked  int
	}{
		{"pass", stanza{mode: modeEnforce}, dns.RcodeSuccess, true, 1},
		{"pass, hold", stanza{mode: modeEnforce, hold: true}, dns.RcodeSuccess, true, 1},
		{"servfail", stanza{mode: modeEnforce, servfail: true}, dns.RcodeServerFailure, false, 1},
		{"servfail, hold: nothing goes upstream", stanza{mode: modeEnforce, servfail: true, hold: true}, dns.RcodeServerFailure, false, 0},
		{"servfail in monitor mode", stanza{mode: modeMonitor, servfail: true}, dns.RcodeSuccess, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, c.stanza)
			h.stub.set(func() {
				h.stub.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
			})
			m, rcode := h.ask(t, query1("www.blocked.example", dns.TypeA))
			if rcode != c.want || (m != nil) != c.wrote || h.chain.asked != c.asked {
				t.Errorf("rcode %d, wrote %s, %d look-ups", rcode, summary(m), h.chain.asked)
			}
		})
	}
}

func TestHoldAsksFirst(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce, hold: true})
	if m, _ := h.ask(t, query1("tunnel.blocked.example", dns.TypeTXT)); m.Rcode != dns.RcodeNameError || h.chain.asked != 0 {
		t.Errorf("got %s after %d look-ups, expected none", summary(m), h.chain.asked)
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name  string
		alias string
		all   bool
		want  string
	}{
		{"CNAME to a listed name", "www.example.org. 60 IN CNAME x.blocked.example.", false, "NXDOMAIN +SOA"},
		{"DNAME to a listed name", "www.example.org. 60 IN DNAME blocked.example.", false, "NXDOMAIN +SOA"},
		{"HTTPS to a listed name", "www.example.org. 60 IN HTTPS 1 x.blocked.example.", false, "NXDOMAIN +SOA"},
		{"SVCB to a listed name", "www.example.org. 60 IN SVCB 1 x.blocked.example.", false, "NXDOMAIN +SOA"},
		{"the model only records", "www.example.org. 60 IN CNAME x.model.example.", false, "passes"},
		{"the model acts when told", "www.example.org. 60 IN CNAME x.model.example.", true, "NXDOMAIN +SOA"},
		{"HTTPS of the owner itself", "www.example.org. 60 IN HTTPS 1 .", false, "passes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, stanza{mode: modeEnforce, targetAll: c.all})
			alias, err := dns.NewRR(c.alias)
			if err != nil {
				t.Fatal(err)
			}
			h.chain.aliases["www.example.org."] = alias
			for _, way := range []string{"miss", "hit"} {
				m, _ := h.ask(t, query1("www.example.org", dns.TypeA))
				if got := summary(m); got != c.want && (c.want != "passes" || len(m.Answer) != 2) {
					t.Errorf("%s: got %s, want %s", way, got, c.want)
				}
			}
		})
	}
	t.Run("a vetted name stands whatever it is an alias for", func(t *testing.T) {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.chain.aliases["www.vetted.example."] = test.CNAME("www.vetted.example. 60 IN CNAME x.blocked.example.")
		if m, _ := h.ask(t, query1("www.vetted.example", dns.TypeA)); m.Rcode != dns.RcodeSuccess {
			t.Errorf("got %s", summary(m))
		}
	})
	t.Run("both are reported", func(t *testing.T) {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.chain.aliases["www.example.org."] = test.CNAME("www.example.org. 60 IN CNAME x.blocked.example.")
		h.ask(t, query1("www.example.org", dns.TypeA))
		eventually(t, "rows", func() bool {
			return slices.Equal(h.stub.rows("www.example.org"), []string{"1 benign nxdomain model enforced=true NXDOMAIN "}) &&
				slices.Equal(h.stub.rows("x.blocked.example"), []string{"0 malicious nxdomain blocklist enforced=true NXDOMAIN "})
		})
	})
}

func TestALookUpWithinAQueryIsNoQuery(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	last := h.Next
	h.Next = plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		if strings.HasPrefix(r.Question[0].Name, "outer.") {
			if _, err := h.ServeDNS(ctx, &udpWriter{}, query1("inner.example.org", dns.TypeA)); err != nil {
				t.Error(err)
			}
		}
		return last.ServeDNS(ctx, w, r)
	})
	h.ask(t, query1("outer.example.org", dns.TypeA))
	if h.stub.count("inner.example.org") != 0 || h.stub.count("outer.example.org") != 1 {
		t.Error("expected the outer name alone to be asked")
	}
}

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
		{"off for another", modeEnforce, map[string]any{"overrides": prefix("198.51.100.0/24")}, "NXDOMAIN +SOA EDE15"},
		{"enforced for this client: Filtered", modeMonitor, map[string]any{"overrides": []map[string]string{{"client": "192.0.2.7/32", "mode": "enforce"}}}, "NXDOMAIN +SOA EDE17"},
		{"the longest prefix counts", modeEnforce, map[string]any{"overrides": []map[string]string{{"client": "192.0.2.0/24", "mode": "off"}, {"client": "192.0.2.7", "mode": "enforce"}}}, "NXDOMAIN +SOA EDE17"},
		{"paused over an override", modeMonitor, map[string]any{"paused": true, "overrides": []map[string]string{{"client": "192.0.2.7", "mode": "enforce"}}}, "NOERROR A 192.0.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
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
