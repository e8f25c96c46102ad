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

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/proxyproto"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

func (w *udpWriter) Write(b []byte) (int, error) { panic("not packed here") }

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

// proxiedWriter is a client behind a proxy that tells its address (PROXY protocol).
type proxiedWriter struct{ udpWriter }

func (w *proxiedWriter) RemoteAddr() net.Addr {
	return proxyproto.NewAddr(w.udpWriter.RemoteAddr(), &net.UDPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 4000}, nil)
}

func TestDropOffUDPIsRefused(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	datagram, connection, proxied := &udpWriter{}, &tcpWriter{}, &proxiedWriter{}
	for _, c := range []struct {
		server  string
		w       dns.ResponseWriter
		written *[]*dns.Msg
		refused bool
	}{
		{"dns://:53", datagram, &datagram.written, false}, {"dns://:53", connection, &connection.written, true},
		{"dns://:53", proxied, &proxied.written, false},
		{"tls://:853", connection, &connection.written, true}, {"https://:443", connection, &connection.written, true},
		{"quic://:853", datagram, &datagram.written, true}, {"https3://:443", datagram, &datagram.written, true},
	} {
		*c.written = nil
		ctx := context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: c.server})
		rcode, err := h.ServeDNS(ctx, c.w, query1("www.drop.example", dns.TypeA))
		refused := len(*c.written) == 1 && (*c.written)[0].Rcode == dns.RcodeRefused
		if err != nil || rcode != dns.RcodeSuccess || refused != c.refused || !refused && len(*c.written) != 0 {
			t.Errorf("%s, %T: rcode %d, %v, wrote %v", c.server, c.w, rcode, err, *c.written)
		}
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
	t.Parallel()
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

// Recursive servers answer a query of class ANY with the records of class IN.
func TestAQueryOfClassANYIsJudged(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	r := query1("www.blocked.example", dns.TypeA)
	r.Question[0].Qclass = dns.ClassANY
	if m, _ := h.ask(t, r); summary(m) != "NXDOMAIN +SOA" || m.Question[0] != r.Question[0] {
		t.Errorf("got %s", m)
	}
}

// TestAnExceptedAliasTargetIsLeftAlone: a zone of one's own is told to nobody, also where a name of others leads into it.
func TestAnExceptedAliasTargetIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{modeMonitor, modeEnforce} {
		h := newHarness(t, stanza{mode: m, targetAll: true, except: []string{"except.blocked.example."}})
		h.chain.aliases["www.example.org."] = test.CNAME("www.example.org. 60 IN CNAME www.EXCEPT.blocked.example.")
		got, _ := h.ask(t, query1("www.example.org", dns.TypeA))
		if got.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: got %s", m, summary(got))
		}
		eventually(t, "the row of the name that was asked for", func() bool { return len(h.stub.rows("www.example.org")) == 1 })
		if rows := h.stub.rows("www.except.blocked.example"); h.stub.count("www.except.blocked.example") > 0 || len(rows) > 0 {
			t.Errorf("%s: the target was asked of the cluster, reported %q", m, rows)
		}
	}
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

func TestAQueryThatGetsNoReplyHasNoRcode(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{modeMonitor, modeEnforce} {
		h := newHarness(t, stanza{mode: m})
		h.chain.silent = true // as *erratic* and others that drop
		h.ask(t, query1("www.example.org", dns.TypeA))
		eventually(t, "the row", func() bool {
			return slices.Equal(h.stub.rows("www.example.org"), []string{"1 benign passthru model enforced=false  "})
		})
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
