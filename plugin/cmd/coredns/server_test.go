package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestEveryExampleServes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/*.corefile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			corefile, ports := local(t, string(text), newCluster(t).URL)
			s := start(t, corefile)
			for listener, number := range ports {
				address := "127.0.0.1:" + number
				switch listener {
				case "1053":
					answered(t, ask(t, s, "udp", address, "www.example.com."))
					answered(t, ask(t, s, "tcp", address, "www.example.com."))
				case "1853":
					answered(t, ask(t, s, "tcp-tls", address, "www.example.com."))
				case "1443":
					answered(t, ask(t, s, "https", address, "www.example.com."))
				case "8080":
					page(t, s, "http://"+address+"/health")
				case "8181":
					page(t, s, "http://"+address+"/ready")
				case "9153":
					if metrics := page(t, s, "http://"+address+"/metrics"); !strings.Contains(metrics, "coredns_verdict_cache_misses_total") {
						t.Errorf("no metrics of ours")
					}
				}
			}
		})
	}
}

// blocks are the Corefiles in the manual page.
var blocks = regexp.MustCompile("(?s)~~~ corefile\n(.*?)~~~")

func TestEveryCorefileOfTheManualServes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../verdict/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := blocks.FindAllStringSubmatch(string(page), -1)
	if len(found) == 0 {
		t.Fatal("no Corefile in the manual")
	}
	for i, block := range found {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			text := strings.Replace(block[1], ". {", ".:1053 {\n    bind 127.0.0.1", 1)
			corefile, ports := local(t, text, newCluster(t).URL)
			s := start(t, corefile)
			answered(t, ask(t, s, "udp", "127.0.0.1:"+ports["1053"], "www.example.com."))
		})
	}
}

func answered(t *testing.T, m *dns.Msg) {
	t.Helper()
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("got %s", m)
	}
}

const enforcing = `.:1053 {
    bind 127.0.0.1
    errors
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        mode enforce
    }
    cache
    forward . 192.0.2.1
}
`

func TestTheRealServerBlocksAndReports(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	corefile, ports := local(t, enforcing, c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "www.example.com."))
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, s, network, address, "WwW.blocked.test-zone.")
		if m.Rcode != dns.RcodeNameError || m.Question[0].Name != "WwW.blocked.test-zone." {
			t.Errorf("%s: got %s", network, m)
		}
	}
	s.stop() // what was seen is flushed
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen != 3 {
		t.Errorf("%d queries reported, expected 3\n%s", c.seen, s.out.String())
	}
}

// An override comes with a report's acknowledgement, and holds within two seconds for that client, until it is taken back.
func TestAnOverrideReachesTheRealServer(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	corefile, ports := local(t, strings.Replace(enforcing, "mode enforce", "mode monitor", 1), c.URL)
	s := start(t, corefile)
	answers := func() string {
		m := ask(t, s, "udp", "127.0.0.1:"+ports["1053"], "www.blocked.test-zone.")
		return dns.RcodeToString[m.Rcode]
	}
	if got := answers(); got != "NOERROR" {
		t.Fatalf("monitored: %s", got)
	}
	for i, change := range []struct{ overrides, want string }{
		{`[{"client":"127.0.0.0/8","mode":"enforce"}]`, "NXDOMAIN"},
		{`[{"client":"127.0.0.0/8","mode":"enforce"},{"client":"127.0.0.1","mode":"off"}]`, "NOERROR"},
		{`[{"client":"127.0.0.1","mode":"enforce"},{"client":"::1","mode":"off"}]`, "NXDOMAIN"},
		{`[]`, "NOERROR"},
	} {
		c.mu.Lock()
		c.epoch, c.overrides = uint64(i+2), change.overrides
		c.mu.Unlock()
		began := time.Now()
		for got := answers(); got != change.want; got = answers() {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s: still %s, expected %s", change.overrides, got, change.want)
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("%s after %s", change.want, time.Since(began).Round(time.Millisecond))
	}
}

func TestABadCorefileNamesWhatIsWrong(t *testing.T) {
	corefile, _ := local(t, strings.Replace(enforcing, "mode enforce", "mode destroy", 1), "http://127.0.0.1:1")
	s := start(t, corefile)
	if err := s.Wait(); err == nil {
		t.Error("it started")
	}
	if said := s.out.String(); !strings.Contains(said, "mode 'destroy': expected monitor or enforce") || !strings.Contains(said, "Corefile:6") {
		t.Errorf("it said %s", said)
	}
}

func TestNoQueryIsLostInAReload(t *testing.T) {
	c := newCluster(t)
	corefile, ports := local(t, enforcing, c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "www.example.com."))
	stop := load(address)
	for i := range 3 {
		reload(t, s, reloaded, i+1)
	}
	if asked, lost := stop(); lost > 0 {
		t.Errorf("%d of %d queries lost in three reloads\n%s", lost, asked, s.out.String())
	}
}

func TestNoQueryFailsWhenTheClusterDies(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	corefile, ports := local(t, enforcing, c.URL)
	s := start(t, corefile)
	address := "127.0.0.1:" + ports["1053"]
	answered(t, ask(t, s, "udp", address, "www.example.com."))
	stop := load(address)
	c.CloseClientConnections()
	c.Close()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(s.out.String(), "is not asked any more"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the breaker did not open\n%s", s.out.String())
		}
	}
	if asked, lost := stop(); lost > 0 {
		t.Errorf("%d of %d queries failed\n%s", lost, asked, s.out.String())
	}
	if want := `is not asked any more: error: Post "` + c.URL + `/v1/verdicts": `; !strings.Contains(s.out.String(), want) {
		t.Errorf("%q is not in the log:\n%s", want, s.out.String())
	}
}

// load asks one new name after the other until it is stopped; then it tells how many it asked and how many failed.
func load(address string) (stop func() (asked, lost int)) {
	end, ended := make(chan struct{}), make(chan struct{})
	asked, lost := 0, 0
	go func() {
		defer close(ended)
		client := &dns.Client{Net: "udp", Timeout: 5 * time.Second}
		for {
			select {
			case <-end:
				return
			default:
			}
			asked++
			m, _, err := client.Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.com.", asked), dns.TypeA), address)
			if err != nil || m.Rcode != dns.RcodeSuccess {
				lost++
			}
		}
	}()
	return func() (int, int) {
		close(end)
		<-ended
		return asked, lost
	}
}

// reload sends the signal and waits until the server says for the count-th time that it is done, or that it failed.
// Caddy listens for signals in a goroutine of its own: on a busy machine the server may answer before, and miss one.
func reload(t *testing.T, s *server, said string, count int) {
	t.Helper()
	for range 4 {
		s.Process.Signal(reloadSignal)
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if strings.Count(s.out.String(), said) >= count {
				return
			}
		}
	}
	t.Fatalf("no %q, time %d:\n%s", said, count, s.out.String())
}

const reloaded, refused = "Reloading complete", "Restart failed"
