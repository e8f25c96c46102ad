package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// everyTransport serves the same names over UDP, TCP, TLS, HTTPS, QUIC and HTTP/3, with one engine.
const everyTransport = `.:1053 {
    bind 127.0.0.1
STANZA}

tls://.:1853 https://.:1443 quic://.:2853 https3://.:2443 {
    bind 127.0.0.1
    tls /etc/coredns/cert.pem /etc/coredns/key.pem
STANZA}
`

const everyStanza = `    chaos verdict-test
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        resolver resolver-1.example.net
        mode enforce
        timeout 2s
    }
    cache
    forward . 192.0.2.1
`

// told is what matters of a reply: rcode, flags, records, Extended DNS Error.
func told(m *dns.Msg) string {
	text := dns.RcodeToString[m.Rcode]
	for _, flag := range []struct {
		name string
		set  bool
	}{{"aa", m.Authoritative}, {"ad", m.AuthenticatedData}, {"ra", m.RecursionAvailable}, {"tc", m.Truncated}} {
		if flag.set {
			text += " " + flag.name
		}
	}
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String())
		text += " " + strings.Join(fields[3:], " ")
	}
	if len(m.Ns) > 0 {
		text += " +SOA"
	}
	if opt := m.IsEdns0(); opt != nil {
		text += " OPT"
		if opt.Do() {
			text += " do"
		}
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok {
				text += fmt.Sprintf(" EDE%d", ede.InfoCode)
			}
		}
	}
	return text
}

// TestCorrectDNSOverEveryTransport asks the real server, with all of CoreDNS around the plugin.
func TestCorrectDNSOverEveryTransport(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61) + "."
	query := func(name string, qtype uint16) func() *dns.Msg {
		return func() *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }
	}
	edns := func(name string, qtype uint16, do bool) func() *dns.Msg {
		return func() *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, do) }
	}
	corefile, ports := local(t, strings.ReplaceAll(everyTransport, "STANZA", everyStanza), newCluster(t).URL)
	s := start(t, corefile)
	for _, way := range transports {
		ask(t, s, way.name, "127.0.0.1:"+ports[way.port], "up.example.com.")
	}
	for _, c := range []struct {
		name  string
		query func() *dns.Msg
		want  string
	}{
		{"passes", query("www.example.com.", dns.TypeA), "NOERROR A 192.0.2.80"},
		{"the root", query(".", dns.TypeA), "NOERROR A 192.0.2.80"},
		{"255 octets", edns(long, dns.TypeA, false), "NOERROR A 192.0.2.80 OPT"},
		{"arbitrary octets", query(`\000\255\.\\x.example.com.`, dns.TypeA), "NOERROR A 192.0.2.80"},
		{"blocked, no EDNS", query("WwW.bLoCkEd.test-zone.", dns.TypeA), "NXDOMAIN ra +SOA"},
		{"blocked, EDNS", edns("www.blocked.test-zone.", dns.TypeA, false), "NXDOMAIN ra +SOA OPT EDE15"},
		{"blocked, DO", edns("www.blocked.test-zone.", dns.TypeAAAA, true), "NXDOMAIN ra +SOA OPT do EDE15"},
		{"blocked ANY", edns("www.blocked.test-zone.", dns.TypeANY, false), "NXDOMAIN ra +SOA OPT EDE15"},
		{"blocked HTTPS record", edns("www.blocked.test-zone.", dns.TypeHTTPS, false), "NXDOMAIN ra +SOA OPT EDE15"},
		{"honeypot A", edns("www.honey.test-zone.", dns.TypeA, true), "NOERROR ra A 192.0.2.53 OPT do EDE4"},
		{"honeypot AAAA", edns("www.honey.test-zone.", dns.TypeAAAA, false), "NOERROR ra AAAA 2001:db8::53 OPT EDE4"},
		{"honeypot HTTPS record", edns("www.honey.test-zone.", dns.TypeHTTPS, false), "NOERROR ra +SOA OPT EDE4"},
		{"honeypot TXT", edns("www.honey.test-zone.", dns.TypeTXT, false), "NOERROR ra +SOA OPT EDE4"},
		{"nodata", edns("www.nodata.test-zone.", dns.TypeA, false), "NOERROR ra +SOA OPT EDE15"},
		{"class ANY of a blocked name", func() *dns.Msg {
			r := new(dns.Msg).SetQuestion("www.blocked.test-zone.", dns.TypeA)
			r.Question[0].Qclass = dns.ClassANY
			return r
		}, "NXDOMAIN ra +SOA"},
		{"class CH", func() *dns.Msg {
			r := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
			r.Question[0].Qclass = dns.ClassCHAOS
			return r
		}, `NOERROR TXT "verdict-test"`},
		{"class CH of a blocked name", func() *dns.Msg {
			r := new(dns.Msg).SetQuestion("www.blocked.test-zone.", dns.TypeTXT)
			r.Question[0].Qclass = dns.ClassCHAOS
			return r
		}, "NOERROR A 192.0.2.80"},
	} {
		for _, way := range transports {
			t.Run(c.name+" over "+way.name, func(t *testing.T) {
				r := c.query()
				m := exchange(t, way.name, "127.0.0.1:"+ports[way.port], r)
				if got := told(m); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				if m.Id != r.Id || m.Question[0] != r.Question[0] {
					t.Errorf("question %v of %v: id and case must be kept", m.Question, r.Question)
				}
				if m.Rcode == dns.RcodeNameError && (m.Ns[0].Header().Ttl == 0 || m.Ns[0].Header().Ttl > 60) {
					t.Errorf("SOA %v", m.Ns[0])
				}
			})
		}
	}
	t.Run("drop is silence over UDP alone", func(t *testing.T) {
		r := new(dns.Msg).SetQuestion("www.drop.test-zone.", dns.TypeA)
		client := &dns.Client{Net: "udp", Timeout: 300 * time.Millisecond}
		if m, _, err := client.Exchange(r, "127.0.0.1:"+ports["1053"]); err == nil {
			t.Errorf("got %s", told(m))
		}
		for _, way := range transports[1:] {
			if m := exchange(t, way.name, "127.0.0.1:"+ports[way.port], r); m.Rcode != dns.RcodeRefused {
				t.Errorf("%s: got %s, want REFUSED", way.name, told(m))
			}
		}
	})
	t.Run("transfers and other opcodes pass untouched", func(t *testing.T) {
		for _, change := range []func(*dns.Msg){
			func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeAXFR },
			func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeIXFR },
			func(r *dns.Msg) { r.Opcode = dns.OpcodeNotify },
			func(r *dns.Msg) { r.Opcode = dns.OpcodeUpdate },
		} {
			r := new(dns.Msg).SetQuestion("www.blocked.test-zone.", dns.TypeSOA)
			change(r)
			if m := exchange(t, "tcp", "127.0.0.1:"+ports["1053"], r); m.Rcode == dns.RcodeNameError || m.IsEdns0() != nil {
				t.Errorf("%s %s: got %s", dns.OpcodeToString[r.Opcode], dns.TypeToString[r.Question[0].Qtype], told(m))
			}
		}
	})
	t.Run("a message with two questions is not acted on", func(t *testing.T) {
		r := new(dns.Msg).SetQuestion("www.blocked.test-zone.", dns.TypeA)
		r.Question = append(r.Question, r.Question[0])
		if m := exchange(t, "tcp", "127.0.0.1:"+ports["1053"], r); m.Rcode == dns.RcodeNameError {
			t.Errorf("got %s", told(m))
		}
	})
}
