package verdict

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// TestAReplayTellsTheRCodeOfAServer: where the plugin leaves SERVFAIL to the server, the client would have got it all the same.
func TestAReplayTellsTheRCodeOfAServer(t *testing.T) {
	s := newStub(t)
	s.set(func() {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	for onError, want := range map[string]string{"pass": "NOERROR", "servfail": "SERVFAIL"} {
		corefile := fmt.Sprintf(". {\n verdict %s {\n token %s\n on_error %s\n }\n}\n", s.URL, tokenFile(t), onError)
		replay, err := NewReplay("Corefile", strings.NewReader(corefile), time.Second, "", "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := replay.Decide(Recorded{UDP: true, Query: query1("www.example.org", dns.TypeA)})
		replay.Close()
		if err != nil || got.RCode != want || got.Reason != "error" {
			t.Errorf("on_error %s: %+v, %v; expected %s for an error", onError, got, err, want)
		}
	}
}

// TestAReplayIsNeverBusy: what a replay asks at one time has room, whatever the stanza bounds a resolver to.
func TestAReplayIsNeverBusy(t *testing.T) {
	const queries = 1024
	s := newStub(t)
	release := make(chan struct{})
	judge := sync.OnceFunc(func() { close(release) })
	t.Cleanup(judge)
	s.set(func() {
		s.fault = func(_ http.ResponseWriter, _ *http.Request, answer func()) { <-release; answer() }
	})
	text := ". {\n verdict " + s.URL + " {\n token " + tokenFile(t) + "\n frame 2 1s\n max_concurrent 1\n }\n}"
	replay, err := NewReplay("Corefile", strings.NewReader(text), 10*time.Second, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	var deciding sync.WaitGroup
	for i := range queries {
		deciding.Go(func() {
			q := Recorded{Query: query1(fmt.Sprintf("n%d.example.org", i), dns.TypeA)}
			q.Reply = new(dns.Msg).SetReply(q.Query)
			for j := range 4 {
				q.Reply.Answer = append(q.Reply.Answer, test.CNAME(fmt.Sprintf("x.example. 60 IN CNAME c%d-%d.example.net.", i, j)))
			}
			d, err := replay.Decide(q)
			if err != nil || d.Reason != "" {
				t.Errorf("n%d: no verdict because of %s, %v", i, d.Reason, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return replay.handler.engine.waiting.Load() == queries })
	judge()
	deciding.Wait()
}
