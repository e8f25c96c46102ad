package verdict

import (
	"context"
	"fmt"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// Whatever message a client sends, one reply at most is written, and what is written can be packed.
func FuzzServeDNS(f *testing.F) {
	for _, name := range []string{"www.blocked.example.", ".", `\000\.a.honey.example.`} {
		packed, err := query1(name, dns.TypeA).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	h := newHarness(f, stanza{mode: modeEnforce})
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(r))
	})
	f.Fuzz(func(t *testing.T, packet []byte) {
		r := new(dns.Msg)
		if r.Unpack(packet) != nil {
			return
		}
		w := &udpWriter{}
		if _, err := h.ServeDNS(context.Background(), w, r); err != nil {
			t.Fatal(err)
		}
		if len(w.written) > 1 {
			t.Fatalf("%d replies", len(w.written))
		}
		for _, m := range w.written {
			if _, err := m.Pack(); err != nil && m.Rcode != dns.RcodeSuccess {
				t.Fatalf("%v in %v", err, m)
			}
		}
	})
}

// Whatever message the rest of the chain answers with, what is read of it stays within its bounds, and one reply at most is written.
func FuzzAnswer(f *testing.F) {
	question := query1("www.example.org", dns.TypeHTTPS)
	add := func(records ...string) {
		m := new(dns.Msg).SetReply(question)
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	add("www.example.org. 60 IN CNAME x.blocked.example.", "x.blocked.example. 60 IN A 192.0.2.1")
	add("example.org. 60 IN DNAME honey.example.", `www.example.org. 60 IN HTTPS 1 \000\..X-y.nodata.example. alpn="h2" ipv4hint="192.0.2.1"`)
	add("www.example.org. 60 IN HTTPS 0 .", "www.example.org. 60 IN SVCB 1 drop.example. port=853", "www.example.org. 60 IN AAAA ::ffff:192.0.2.1")
	var chain []string
	for i := range maxJudged + 1 {
		chain = append(chain, fmt.Sprintf("www.example.org. 60 IN CNAME n%d.example.net.", i))
	}
	add(chain...)
	h := newHarness(f, stanza{mode: modeEnforce, targetAll: true})
	warm(f, h, question)
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply := new(dns.Msg)
		if reply.Unpack(packet) != nil {
			return
		}
		h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
			return dns.RcodeSuccess, w.WriteMsg(reply)
		})
		w := &udpWriter{}
		if _, err := h.ServeDNS(context.Background(), w, question); err != nil || len(w.written) > 1 {
			t.Fatalf("%d replies, %v", len(w.written), err)
		}
		for _, m := range w.written {
			if _, err := m.Pack(); err != nil && m != reply {
				t.Fatalf("%v in %v", err, m)
			}
		}
		q := newQuery(context.Background(), w, question)
		defer q.release()
		q.own.name = "www.example.org"
		h.engine.read(q, reply, &h.stanza)
		if addresses := q.found.appendAddresses(nil); len(addresses) > maxAddresses || len(q.found.targets) > maxJudged {
			t.Fatalf("%d addresses, %d targets", len(addresses), len(q.found.targets))
		}
		for _, target := range q.found.targets {
			if again := string(normalise(nil, target.name)); again != target.name || target.name == q.own.name {
				t.Fatalf("target %q is no target or not in its normal form", target.name)
			}
		}
	})
}
