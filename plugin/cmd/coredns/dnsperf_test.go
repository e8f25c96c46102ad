package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	perfCount = regexp.MustCompile(`Queries (sent|completed|lost): +(\d+)`)
	perfCode  = regexp.MustCompile(`([A-Z]+) (\d+) \(`)
)

// TestUnderDnsperf: the real server under load, known and new names, passed and blocked, at last without a cluster. No query is
// lost, each is answered as its name asks, and as long as the cluster lives each is in its books once.
func TestUnderDnsperf(t *testing.T) {
	dnsperf, err := exec.LookPath("dnsperf")
	if err != nil {
		if os.Getenv("VERDICT_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c := newCluster(t)
	corefile, ports := local(t, strings.Replace(enforcing, "mode enforce", "mode enforce\n        timeout 2s", 1), c.URL)
	s := start(t, corefile)
	answered(t, ask(t, s, "udp", "127.0.0.1:"+ports["1053"], "up.example.com."))
	load := func(mode, new string) map[string]int {
		var names strings.Builder
		for i := range 400 { // two of three soon known, half of those blocked
			fmt.Fprintf(&names, "known%d.example.com A\nknown%d.blocked.test-zone AAAA\n%s%d.example.com A\n", i%20, i%20, new, i)
		}
		file := filepath.Join(t.TempDir(), "queries")
		if err := os.WriteFile(file, []byte(names.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		// once through the file, at a rate that two busy cores keep
		said, err := exec.Command(dnsperf, "-s", "127.0.0.1", "-p", ports["1053"], "-d", file, "-n", "1", "-c", "4", "-q", "50",
			"-Q", "1200", "-e", "-m", mode).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		found := map[string]int{}
		_, told, _ := strings.Cut(string(said), "Statistics:")
		for _, match := range append(perfCount.FindAllStringSubmatch(told, -1), perfCode.FindAllStringSubmatch(told, -1)...) {
			found[match[1]], _ = strconv.Atoi(match[2])
		}
		if found["sent"] != 1200 || found["completed"] != 1200 || found["lost"] != 0 || found["NOERROR"] != 800 || found["NXDOMAIN"] != 400 {
			t.Errorf("%s: %v\n%s", mode, found, said)
		}
		return found
	}
	sent := uint64(1)
	for i, mode := range []string{"udp", "tcp"} {
		sent += uint64(load(mode, fmt.Sprintf("new%d-", i))["sent"])
	}
	seen := func() uint64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.seen
	}
	for end := time.Now().Add(20 * time.Second); seen() < sent && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if got := seen(); got != sent {
		t.Errorf("%d queries reported of %d", got, sent)
	}
	c.CloseClientConnections()
	c.Close()
	load("udp", "alone-")
}
