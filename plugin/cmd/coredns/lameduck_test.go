//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestALameDuckJudges: while *health* keeps a server that is told to end at its work, for clients that have not yet heard of it, names are
// judged, and what they became is reported.
func TestALameDuckJudges(t *testing.T) {
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
