//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestALameDuckJudges: while *health* keeps a server that is told to end at its work, for clients that have not yet heard of it, names are
// judged, and what they became is reported.
func TestALameDuckJudges(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	corefile, ports := local(t, ending("health 127.0.0.1:8080 {\n lameduck 3s\n }"), c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "up.example.com."))
	s.Process.Signal(syscall.SIGTERM)
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.out.String(), "lameduck") && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	answered(t, ask(t, s, "udp", address, "late.example.com."))
	if m := ask(t, s, "udp", address, "late.blocked.test-zone."); m.Rcode != dns.RcodeNameError {
		t.Errorf("got %s", m)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.out.String())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen != 3 {
		t.Errorf("%d queries reported, expected 3\n%s", c.seen, s.out.String())
	}
}

// TestAFirstStanzaThatFailsToStartLeavesNothingBehind: also where the Corefile that goes on to serve has no stanza of the plugin.
func TestAFirstStanzaThatFailsToStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var reports atomic.Int32
	judge := c.Config.Handler
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/observations" {
			reports.Add(1)
		}
		judge.ServeHTTP(w, r)
	})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := fmt.Sprintf(".:%s {\n    bind 127.0.0.1\n    whoami\n}\n", port(t))
	corefile, _ := local(t, enforcing, c.URL)
	s := start(t, before)
	ask(t, s, "udp", "127.0.0.1"+before[1:strings.Index(before, " ")], "up.example.com.")
	blocked := fmt.Sprintf("\n.:%d {\n    bind 127.0.0.1\n    whoami\n}\n", taken.Addr().(*net.TCPAddr).Port)
	if err := os.WriteFile(s.Args[2], []byte(before+corefile+blocked), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, s, refused, 1)
	told := reports.Load()
	time.Sleep(3 * time.Second) // an engine that was left behind reports each second
	if more := reports.Load() - told; more > 0 {
		t.Errorf("%d reports after the reload that failed", more)
	}
}
