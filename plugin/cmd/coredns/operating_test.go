package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// get asks a URL of the server, once it listens.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get(url); err == nil {
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			return response.StatusCode, string(text)
		}
	}
	t.Fatalf("nobody listens at %s", url)
	return
}

// page waits until a URL of the server answers with 200.
func page(t *testing.T, s *server, url string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, body := get(t, url)
		if status == http.StatusOK {
			return body
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d %s\n%s", url, status, body, s.out.String())
		}
	}
}

// TestReadyWaitsForTheCluster: with `on_error servfail` a server is alive at once, and ready when the cluster has answered.
func TestReadyWaitsForTheCluster(t *testing.T) {
	t.Parallel()
	late := newCluster(t)
	address := late.Listener.Addr().String()
	late.Close()
	corefile, ports := local(t, `.:1053 {
    bind 127.0.0.1
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        on_error servfail
    }
    forward . 192.0.2.1
}
`, "http://"+address)
	s := start(t, corefile)
	page(t, s, "http://127.0.0.1:"+ports["8080"]+"/health")
	url := "http://127.0.0.1:" + ports["8181"] + "/ready"
	if status, body := get(t, url); status != http.StatusServiceUnavailable || !strings.Contains(body, "verdict") {
		t.Errorf("%d %s: ready without a cluster", status, body)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the cluster's port was taken meanwhile: %v", err)
	}
	back := &http.Server{Handler: http.HandlerFunc(late.serve)}
	go back.Serve(listener)
	defer back.Close()
	page(t, s, url)
}

// TestDnstapShowsTheVerdict: the example's `extra` has what metadata tells.
func TestDnstapShowsTheVerdict(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../examples/observed.corefile")
	if err != nil {
		t.Fatal(err)
	}
	corefile, ports := local(t, string(text), newCluster(t).URL)
	listener, err := net.Listen("tcp", "127.0.0.1:"+ports["6000"])
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	extras := make(chan string, 1000)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		reader, err := dnstap.NewReader(connection, &dnstap.ReaderOptions{Bidirectional: true})
		if err != nil {
			return
		}
		frame := make([]byte, 64<<10)
		for {
			n, err := reader.ReadFrame(frame)
			var tap dnstap.Dnstap
			if err != nil || proto.Unmarshal(frame[:n], &tap) != nil {
				return
			}
			if tap.GetMessage().GetType() == dnstap.Message_CLIENT_RESPONSE {
				extras <- string(tap.Extra)
			}
		}
	}()
	s := start(t, corefile)
	want := map[string]bool{"malicious nxdomain": true, "benign passthru": true}
	for end := time.Now().Add(30 * time.Second); len(want) > 0 && time.Now().Before(end); {
		for _, name := range []string{"www.blocked.test-zone.", "www.example.com."} {
			if m := ask(t, s, "udp", "127.0.0.1:"+ports["1053"], name); len(m.Question) != 1 {
				t.Fatalf("got %s", m)
			}
		}
		for waiting := true; waiting; {
			select {
			case extra := <-extras:
				delete(want, extra)
			case <-time.After(100 * time.Millisecond):
				waiting = false
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("dnstap did not show %v\n%s", want, s.out.String())
	}
}

// TestTheMetricsCount: what is exposed is what happened, with a cluster and without.
func TestTheMetricsCount(t *testing.T) {
	c := newCluster(t)
	text := strings.Replace(enforcing, "mode enforce", "mode enforce\n        timeout 5s", 1)
	corefile, ports := local(t, strings.Replace(text, "errors", "prometheus 127.0.0.1:9153", 1), c.URL)
	s := start(t, corefile)
	ask(t, s, "udp", "127.0.0.1:"+ports["1053"], "up.example.com.")
	metrics := func() map[string]float64 {
		found := map[string]float64{}
		series := regexp.MustCompile(`(?m)^coredns_verdict_(\w+(?:\{.*\})?) (\S+)$`)
		for _, match := range series.FindAllStringSubmatch(page(t, s, "http://127.0.0.1:"+ports["9153"]+"/metrics"), -1) {
			found[match[1]], _ = strconv.ParseFloat(match[2], 64)
		}
		return found
	}
	// total adds up the series of a metric that have all these labels.
	total := func(of map[string]float64, metric string) (sum float64) {
		name, labels, _ := strings.Cut(metric, "{")
		for series, value := range of {
			has, all, _ := strings.Cut(series, "{")
			for _, label := range strings.FieldsFunc(labels, func(r rune) bool { return r == ',' }) {
				if !strings.Contains(all, label) {
					has = ""
				}
			}
			if has == name {
				sum += value
			}
		}
		return sum
	}
	grew := func(names []string, by map[string]float64) {
		t.Helper()
		before := metrics()
		for _, name := range names {
			exchange(t, "udp", "127.0.0.1:"+ports["1053"], new(dns.Msg).SetQuestion(name, dns.TypeA))
		}
		// Hits are counted each second.
		for end := time.Now().Add(20 * time.Second); total(metrics(), "cache_hits_total")-total(before, "cache_hits_total") < by["cache_hits_total"] && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		}
		after := metrics()
		for metric, want := range by {
			if got := total(after, metric) - total(before, metric); got != want {
				t.Errorf("%s grew by %v, expected %v", metric, got, want)
			}
		}
	}
	grew([]string{"a.example.com.", "a.example.com.", "A.example.com.", "b.blocked.test-zone.", "b.blocked.test-zone."}, map[string]float64{
		"cache_hits_total": 3, "cache_misses_total": 2, "frame_names_count": 2, "frame_names_sum": 2, "frame_duration_seconds_count": 2,
		`frames_total{result="ok"`: 2, "requests_total": 5, "fallbacks_total": 0, "breaker_open": 0, "observations_discarded_total": 0,
		`requests_total{tier="block",action="nxdomain",source="blocklist",enforced="true"`: 2,
		`requests_total{tier="none",action="passthru",source="model",enforced="false"`:     3,
	})
	for end := time.Now().Add(20 * time.Second); total(metrics(), "cache_entries") != 3 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if got := total(metrics(), "cache_entries"); got != 3 {
		t.Errorf("%v entries, expected 3", got)
	}
	c.CloseClientConnections()
	c.Close()
	var alone []string
	for i := range 8 {
		alone = append(alone, "n"+strconv.Itoa(i)+".example.com.")
	}
	grew(alone, map[string]float64{
		"cache_misses_total": 8, `frames_total{result="error"`: 3, "fallbacks_total": 8, "breaker_open": 1,
		`breaker_opened_total{cause="error"`: 1, `requests_total{source="none"`: 8,
	})
	// The question whose failure opens the breaker may be told either reason.
	of := func(reason string) float64 { return total(metrics(), `fallbacks_total{reason="`+reason+`"`) }
	if failed, shut := of("error"), of("breaker"); failed < 2 || failed > 3 || failed+shut != 8 {
		t.Errorf("%v fallbacks for an error and %v for the breaker, expected 2 or 3 and the rest of 8", failed, shut)
	}
}

// TestTheZonesOfAServerBlockAreItsLabel: *zone* names all zones of the block, and each once, for one handler serves them.
func TestTheZonesOfAServerBlockAreItsLabel(t *testing.T) {
	t.Parallel()
	keys := "example.org:1053 example.net:1053 tls://example.org:1853"
	text := strings.Replace(enforcing, ".:1053", keys, 1)
	text = strings.Replace(text, "errors", "errors\n    tls /etc/coredns/cert.pem /etc/coredns/key.pem\n    prometheus 127.0.0.1:9153", 1)
	corefile, ports := local(t, text, newCluster(t).URL)
	s := start(t, corefile)
	for _, name := range []string{"a.example.org.", "a.example.net."} {
		answered(t, ask(t, s, "udp", "127.0.0.1:"+ports["1053"], name))
	}
	answered(t, ask(t, s, "tcp-tls", "127.0.0.1:"+ports["1853"], "b.example.org."))
	url := "http://127.0.0.1:" + ports["9153"] + "/metrics"
	if got := sum(t, url, "coredns_verdict_requests_total", `.*zone="example\.org\.,example\.net\."`); got != 3 {
		t.Errorf("%v queries under the label of the block's zones, expected 3", got)
	}
}
