package verdict

import (
	"context"
	"testing"
	"unsafe"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// mostStack is the octets that the plugin may put on a query's stack below the rest of the chain. With 400 (a frame of ours
// and one of plugin.NextOrFailure) a query through *cache* needed a stack of 8 KiB instead of 4, and 4.4 of 18 us more.
const mostStack = 128

// TestThePluginAddsLittleToTheStack holds what query promises.
func TestThePluginAddsLittleToTheStack(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	r := query1("www.example.org", dns.TypeA)
	answer := new(dns.Msg).SetReply(r)
	answer.Answer = []dns.RR{test.A("www.example.org. 60 IN A 192.0.2.1")}
	var at uintptr
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		var here byte
		at = uintptr(unsafe.Pointer(&here))
		return dns.RcodeSuccess, w.WriteMsg(answer)
	})
	warm(t, h, r)
	w := newDiscard()
	depth := func(chain plugin.Handler) uintptr {
		chain.ServeDNS(context.Background(), w, r)
		return at
	}
	depth(h) // the stack is large enough from here on
	if ours := depth(h.Next) - depth(h); ours > mostStack {
		t.Errorf("%d octets, expected at most %d", ours, mostStack)
	} else {
		t.Logf("%d octets", ours)
	}
}
