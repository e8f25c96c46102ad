package verdict

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
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

func (w *udpWriter) WriteMsg(m *dns.Msg) error { w.written = append(w.written, m); return nil }

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
	h := &harness{&Handler{stanza: s, counters: counters{zone: "."}}, newStub(t), &chain{aliases: map[string]dns.RR{}}}
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
	h.engine = newTestEngine(t, testConfig(t, h.stub.URL))
	h.started.Store(true)
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
