//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// ending is the Corefile of a server that is told to end, with a plugin more: a query whose verdict does not come is seen as SERVFAIL.
func ending(more string) string {
	return `.:1053 {
    bind 127.0.0.1
    errors
    ` + more + `
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        mode enforce
        timeout 5s
        on_error servfail
    }
    forward . 192.0.2.1
}
`
}

// TestNoQueryIsLostInAShutdown: what waits for a verdict when the server is told to end gets its answer, verdict included.
func TestNoQueryIsLostInAShutdown(t *testing.T) {
	c := newCluster(t)
	var asked atomic.Int32
	judge := c.Config.Handler
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/v1/verdicts" {
			asked.Add(int32(bytes.Count(body, []byte(`.example.com"`)) + bytes.Count(body, []byte(`.blocked.test-zone"`))))
			time.Sleep(500 * time.Millisecond)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		judge.ServeHTTP(w, r)
	})
	corefile, ports := local(t, ending(""), c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "up.example.com."))
	asked.Store(0)
	var waiting sync.WaitGroup
	for i := range 40 {
		name, want := fmt.Sprintf("n%d.example.com.", i), dns.RcodeSuccess
		if i%2 == 1 {
			name, want = fmt.Sprintf("n%d.blocked.test-zone.", i), dns.RcodeNameError
		}
		network := []string{"udp", "tcp"}[i/2%2]
		waiting.Go(func() {
			client := &dns.Client{Net: network, Timeout: 10 * time.Second}
			m, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), address)
			if err != nil || m.Rcode != want {
				t.Errorf("%s over %s: %v, %v", name, network, m, err)
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); asked.Load() < 40 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	s.Process.Signal(syscall.SIGTERM)
	waiting.Wait()
	if err := s.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.out.String())
	}
}

// TestAnEngineThatAReloadReplacesLeavesNothingBehind: after many reloads the server has as many goroutines as after the first.
func TestAnEngineThatAReloadReplacesLeavesNothingBehind(t *testing.T) {
	const reloads = 6
	c := newCluster(t)
	corefile, ports := local(t, `.:1053 {
    bind 127.0.0.1
    prometheus 127.0.0.1:9153
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        timeout 1000ms
    }
    forward . 192.0.2.1
}
`, c.URL)
	s := start(t, corefile)
	goroutines := func() int {
		text := page(t, s, "http://127.0.0.1:"+ports["9153"]+"/metrics")
		_, after, _ := strings.Cut(text, "\ngo_goroutines ")
		count, err := strconv.Atoi(strings.Fields(after + " ?")[0])
		if err != nil {
			t.Fatal(err)
		}
		return count
	}
	asked := func(turn int) {
		answered(t, ask(t, s, "udp", "127.0.0.1:"+ports["1053"], fmt.Sprintf("n%d.example.com.", turn)))
	}
	asked(0)
	first := 0
	for turn := 1; turn <= reloads; turn++ {
		text := strings.Replace(corefile, "1000ms", fmt.Sprintf("%dms", 1000+turn), 1)
		if err := os.WriteFile(s.Args[2], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		reload(t, s, reloaded, turn)
		asked(turn)
		if turn == 1 {
			first = goroutines()
		}
	}
	// Each engine has two of its own and two for each connection to the cluster.
	last := goroutines()
	for end := time.Now().Add(20 * time.Second); last > first+reloads/2 && time.Now().Before(end); last = goroutines() {
		time.Sleep(50 * time.Millisecond)
	}
	if last > first+reloads/2 {
		t.Errorf("%d goroutines after the first reload, %d after %d", first, last, reloads)
	}
}

// TestAReloadThatFailsLeavesNothingBehind: what it began to use is given up, and what serves goes on, however often it happens.
func TestAReloadThatFailsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var mu sync.Mutex
	reports := map[string]int{} // by boot
	judge := c.Config.Handler
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, after, ok := strings.Cut(string(body), `"boot":"`); ok {
			mu.Lock()
			reports[after[:32]]++
			mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		judge.ServeHTTP(w, r)
	})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	corefile, ports := local(t, `.:1053 {
    bind 127.0.0.1
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        timeout 1000ms
    }
    forward . 192.0.2.1
}
`, c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "first.example.com."))
	blocked := fmt.Sprintf("\n.:%d {\n    bind 127.0.0.1\n    whoami\n}\n", taken.Addr().(*net.TCPAddr).Port)
	for turn, text := range []string{corefile, strings.Replace(corefile, "1000ms", "1001ms", 1), strings.Replace(corefile, "1000ms", "1002ms", 1)} {
		if err := os.WriteFile(s.Args[2], []byte(text+blocked), 0o600); err != nil {
			t.Fatal(err)
		}
		reload(t, s, refused, turn+1)
	}
	answered(t, ask(t, s, "udp", address, "second.example.com."))
	reported := func() int { // the engines that report while one of them does so four times
		mu.Lock()
		defer mu.Unlock()
		clear(reports)
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			for _, n := range reports {
				if n == 4 {
					return len(reports)
				}
			}
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
		}
		return 0
	}
	if n := reported(); n != 1 {
		t.Errorf("%d engines report after reloads that failed, expected the one that serves", n)
	}
	text := strings.Replace(corefile, "1000ms", "1003ms", 1)
	if err := os.WriteFile(s.Args[2], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, s, reloaded, 1)
	if n := reported(); n != 1 {
		t.Errorf("%d engines report after one that did not, expected the new one", n)
	}
}

const twoStanzas = `.:1053 {
    bind 127.0.0.1
    errors
    STANZA
    forward . 192.0.2.1
}

.:1853 {
    bind 127.0.0.1
    errors
    STANZA
    forward . 192.0.2.1
}
`

// TestEqualStanzasShareAnEngineThatSurvivesAReload: what one server block has learned the other knows, and both after a reload;
// one engine reports.
func TestEqualStanzasShareAnEngineThatSurvivesAReload(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	asked, boots := 0, map[string]bool{}
	judge := c.Config.Handler
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked += strings.Count(string(body), `"once.example.com"`) * strings.Count(r.URL.Path, "verdicts")
		if _, after, ok := strings.Cut(string(body), `"boot":"`); ok {
			boots[after[:32]] = true
		}
		mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		judge.ServeHTTP(w, r)
	})
	corefile, ports := local(t, strings.ReplaceAll(twoStanzas, "STANZA", chainStanza), c.URL)
	s := start(t, corefile)
	for turn := range 3 {
		if turn > 0 {
			reload(t, s, reloaded, turn)
		}
		for _, number := range ports {
			answered(t, ask(t, s, "udp", "127.0.0.1:"+number, "once.example.com."))
		}
	}
	s.stop()
	mu.Lock()
	defer mu.Unlock()
	if asked != 1 || len(boots) != 1 {
		t.Errorf("asked %d times, %d engines reported: expected one of each\n%s", asked, len(boots), s.out.String())
	}
}
