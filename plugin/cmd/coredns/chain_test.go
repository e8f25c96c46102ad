package main

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// longChain has before the plugin and after it what operators run; each of these reads, keeps or changes query or reply.
const longChain = `.:1053 {
    bind 127.0.0.1
    metadata
    view all {
        expr true
    }
    bufsize 1232
    prometheus 127.0.0.1:9153
    errors
    log . "LOG {name} {type} {rcode} SHOWN"
    dns64
    STANZA
    cache {
        prefetch 2
    }
    rewrite name exact old.example.com www.example.com
    minimal
    hosts {
        192.0.2.7 printer.example.com
        fallthrough
    }
    forward . 192.0.2.1
}
`

const chainStanza = `verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        mode enforce
        timeout 2s
    }`

// TestALongChain compares a long chain with and without the plugin: what passes is the same, octet for octet but for the id,
// and what is blocked is seen as blocked by the plugins around.
func TestALongChain(t *testing.T) {
	t.Parallel()
	type side struct {
		*server
		address, metrics string
	}
	begin := func(stanza, shown string) side {
		text := strings.NewReplacer("STANZA", stanza, "SHOWN", shown).Replace(longChain)
		corefile, ports := local(t, text, newCluster(t).URL)
		s := side{start(t, corefile), "127.0.0.1:" + ports["1053"], "http://127.0.0.1:" + ports["9153"] + "/metrics"}
		ask(t, s.server, "udp", s.address, "up.example.com.")
		return s
	}
	bare := begin("", "-")
	ours := begin(chainStanza, "{/verdict/action} {/verdict/source} {/verdict/rule} {/verdict/enforced}")
	queries := []struct {
		name    string
		qtype   uint16
		blocked string // what our side answers, where that is another answer
	}{
		{"www.example.com.", dns.TypeA, ""},
		{"WWW.example.com.", dns.TypeA, ""}, // from cache
		{"www.example.com.", dns.TypeAAAA, ""},
		{"old.example.com.", dns.TypeA, ""}, // rewritten
		{"printer.example.com.", dns.TypeA, ""},
		{"www.example.com.", dns.TypeTXT, ""},
		{"www.blocked.test-zone.", dns.TypeA, "NXDOMAIN ra +SOA OPT EDE15"},
		{"www.blocked.test-zone.", dns.TypeA, "NXDOMAIN ra +SOA OPT EDE15"},
		{"www.blocked.test-zone.", dns.TypeAAAA, "NXDOMAIN ra +SOA OPT EDE15"},
		{"www.honey.test-zone.", dns.TypeA, "NOERROR ra A 192.0.2.53 OPT EDE4"},
		{"www.honey.test-zone.", dns.TypeAAAA, "NOERROR ra AAAA 2001:db8::53 OPT EDE4"},
		{"www.nodata.test-zone.", dns.TypeA, "NOERROR ra +SOA OPT EDE15"},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, q := range queries {
			query := func() *dns.Msg { return new(dns.Msg).SetQuestion(q.name, q.qtype).SetEdns0(1232, false) }
			got, want := exchange(t, network, ours.address, query()), exchange(t, network, bare.address, query())
			if q.blocked != "" {
				if told(got) != q.blocked {
					t.Errorf("%s %s %s: got %s, want %s", network, q.name, dns.TypeToString[q.qtype], told(got), q.blocked)
				}
				continue
			}
			got.Id = want.Id
			for _, m := range []*dns.Msg{got, want} { // two caches count their own seconds
				for _, rr := range m.Answer {
					rr.Header().Ttl = 0
				}
			}
			if got.String() != want.String() {
				t.Errorf("%s %s %s: got\n%s\nwithout the plugin\n%s", network, q.name, dns.TypeToString[q.qtype], got, want)
			}
		}
	}
	for _, line := range []string{
		"LOG www.example.com. A NOERROR passthru model  false", "LOG www.blocked.test-zone. A NXDOMAIN nxdomain blocklist blocked.test-zone true",
		"LOG www.honey.test-zone. AAAA NOERROR local-data honeypot-list honey.test-zone true",
	} {
		if strings.Count(ours.out.String(), line) < 2 {
			t.Errorf("%q is not in the log twice:\n%s", line, ours.out.String())
		}
	}
	if got, want := sum(t, ours.metrics, "coredns_dns_requests_total", ""), sum(t, bare.metrics, "coredns_dns_requests_total", ""); got == 0 || got > want {
		t.Errorf("%v requests counted, %v without the plugin", got, want) // dns64 asks again for what was not blocked
	}
	for metric, want := range map[string]float64{
		`coredns_dns_responses_total{.*rcode="NXDOMAIN".*view="all"`:                            6,
		`coredns_verdict_requests_total{.*enforced="true".*view="all"`:                          12,
		`coredns_verdict_requests_total{action="nxdomain".*server="dns://127.0.0.1:.*zone="\."`: 6,
	} {
		name, labels, _ := strings.Cut(metric, "{")
		if got := sum(t, ours.metrics, name, labels); got != want {
			t.Errorf("%s: %v, want %v", metric, got, want)
		}
	}
	if got := sum(t, ours.metrics, "coredns_cache_hits_total", ""); got == 0 {
		t.Error("no hit of cache behind the plugin")
	}
}

// sum adds up a metric's values over the label sets that match a pattern.
func sum(t *testing.T, url, name, labels string) (total float64) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`(?m)^`+name+`\{`+labels+`.*\} (\S+)$`).FindAllStringSubmatch(string(page), -1) {
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		total += value
	}
	return total
}
