package verdict

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

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
