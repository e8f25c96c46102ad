package verdict

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

func TestTargets(t *testing.T) {
	t.Parallel()
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
	t.Run("the last of a long chain", func(t *testing.T) {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			m, owner := new(dns.Msg).SetReply(r), r.Question[0].Name
			for i := range 13 {
				target := fmt.Sprintf("n%d.example.net.", i)
				if i == 12 {
					target = "x.blocked.example."
				}
				m.Answer = append(m.Answer, test.CNAME(owner+" 60 IN CNAME "+target))
				owner = target
			}
			return dns.RcodeSuccess, w.WriteMsg(m)
		})
		if m, _ := h.ask(t, query1("www.example.org", dns.TypeA)); m.Rcode != dns.RcodeNameError {
			t.Errorf("got %s", summary(m))
		}
		eventually(t, "a report of it with as many targets as a report may have", func() bool {
			for _, b := range h.stub.sent() {
				for _, r := range b.Rows {
					if r.QName == "www.example.org" {
						return len(r.Targets) == maxTargets
					}
				}
			}
			return false
		})
	})
	t.Run("the first by priority of more than are judged", func(t *testing.T) {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			m := new(dns.Msg).SetReply(r)
			for i := range maxJudged {
				m.Answer = append(m.Answer, test.HTTPS(fmt.Sprintf("www.example.org. 60 IN HTTPS %d n%d.example.net.", i+2, i)))
			}
			m.Answer = append(m.Answer, test.HTTPS("www.example.org. 60 IN HTTPS 1 x.blocked.example."))
			return dns.RcodeSuccess, w.WriteMsg(m)
		})
		if m, _ := h.ask(t, query1("www.example.org", dns.TypeHTTPS)); m.Rcode != dns.RcodeNameError {
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

// What the upstream's reply held is in the report, whatever the client got.
func TestTheReportHasTheReplysContents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, rcode string }{{"cdn.example.net.", "NOERROR"}, {"x.blocked.example.", "NXDOMAIN"}} {
		h := newHarness(t, stanza{mode: modeEnforce})
		h.chain.aliases["www.example.org."] = test.CNAME("www.example.org. 60 IN CNAME " + c.target)
		h.ask(t, query1("www.example.org", dns.TypeA))
		var got []string
		eventually(t, "the row", func() bool {
			for _, b := range h.stub.sent() {
				for _, r := range b.Rows {
					if r.QName == "www.example.org" {
						got = append(append(got, r.RCode, fmt.Sprint(r.Addresses)), r.Targets...)
					}
				}
			}
			return got != nil
		})
		if want := []string{c.rcode, "[192.0.2.1]", strings.TrimSuffix(c.target, ".")}; !slices.Equal(got, want) {
			t.Errorf("reported %q, expected %q", got, want)
		}
	}
}

func TestALookUpWithinAQueryIsNoQuery(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce, except: []string{"own.example."}})
	last := h.Next
	h.Next = plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		if strings.HasPrefix(r.Question[0].Name, "outer.") {
			if _, err := h.ServeDNS(ctx, &udpWriter{}, query1("inner.example.org", dns.TypeA)); err != nil {
				t.Error(err)
			}
		}
		return last.ServeDNS(ctx, w, r)
	})
	h.ask(t, query1("outer.own.example", dns.TypeA))
	if h.stub.count("inner.example.org") != 0 {
		t.Error("what an excepted name is an alias for was asked as a query")
	}
	h.ask(t, query1("outer.example.org", dns.TypeA))
	if h.stub.count("inner.example.org") != 0 || h.stub.count("outer.example.org") != 1 {
		t.Error("expected the outer name alone to be asked")
	}
}
