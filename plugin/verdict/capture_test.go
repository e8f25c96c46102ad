package verdict

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// sequence is a client that notes what it is sent, in its order.
type sequence struct {
	udpWriter
	got []string
}

func (s *sequence) WriteMsg(m *dns.Msg) error { s.got = append(s.got, fmt.Sprint(m.Id)); return nil }

func (s *sequence) Write(packed []byte) (int, error) {
	s.got = append(s.got, string(packed))
	return len(packed), nil
}

// TestWhatTheChainWritesArrivesOnceAndInItsOrder: whatever a plugin behind writes, the client gets; only a single reply is kept.
func TestWhatTheChainWritesArrivesOnceAndInItsOrder(t *testing.T) {
	message := func(id uint16) *dns.Msg {
		m := new(dns.Msg).SetReply(query1("www.example.org", dns.TypeA))
		m.Id = id
		return m
	}
	packed := func(id uint16) []byte {
		octets, err := message(id).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return octets
	}
	for _, c := range []struct {
		writes []any
		want   string
	}{
		{[]any{}, ""},
		{[]any{message(1)}, "1"},
		{[]any{packed(1)}, "1"},
		{[]any{message(1), message(2), packed(3)}, "1 2 3"},
		{[]any{[]byte("no-dns")}, "no-dns"},
		{[]any{[]byte("no-dns"), message(1), message(2)}, "no-dns 1 2"},
		{[]any{message(1), []byte("no-dns"), message(2)}, "1 no-dns 2"},
	} {
		t.Run(c.want, func(t *testing.T) {
			h := newHarness(t, stanza{mode: modeEnforce})
			h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
				for _, each := range c.writes {
					if octets, ok := each.([]byte); ok {
						w.Write(slices.Clone(octets))
					} else {
						w.WriteMsg(each.(*dns.Msg))
					}
				}
				return dns.RcodeSuccess, nil
			})
			client := &sequence{}
			h.ServeDNS(context.Background(), client, query1("www.example.org", dns.TypeA))
			if got := strings.Join(client.got, " "); got != c.want {
				t.Errorf("the client got %q, expected %q", got, c.want)
			}
		})
	}
}
