package verdict

import (
	"context"
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
