package verdict

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestStanzasOfOneEngineMustAgree(t *testing.T) {
	one := testConfig(t, "http://127.0.0.1:8000")
	other := one
	if err := conflict(one, other); err != nil {
		t.Error(err)
	}
	other.frame = 7
	if err := conflict(one, other); err == nil || !strings.Contains(err.Error(), "share one engine") {
		t.Errorf("error %v, expected one that tells of the shared engine", err)
	}
	other.resolver = "resolver-2"
	if err := conflict(one, other); err != nil {
		t.Error(err)
	}
}

func TestAnEngineSurvivesAReload(t *testing.T) {
	s := newStub(t)
	config := testConfig(t, s.URL)
	former, present := new(corefile), new(corefile)
	before, err := engines.acquire(former, config, modeEnforce, nil)
	if err != nil {
		t.Fatal(err)
	}
	after, err := engines.acquire(present, config, modeMonitor, nil) // the new configuration starts first
	if err != nil {
		t.Fatal(err)
	}
	if said := before.head().Mode; said != "enforce" {
		t.Errorf("reports say %s while one still enforces", said)
	}
	engines.release(func(by *corefile) bool { return by == former }) // then the old one stops
	if before != after {
		t.Error("another engine after the reload")
	}
	if said := after.head().Mode; said != "monitor" {
		t.Errorf("reports say %s after a reload from enforce to monitor", said)
	}
	if _, _, why := after.question("example.net"); why != reasonNone {
		t.Errorf("the engine answers %v after the reload", why)
	}
	engines.release(func(by *corefile) bool { return by == present })
	if _, _, why := after.question("example.org"); why != reasonShutdown {
		t.Errorf("the engine answers %v after its last use, expected shutdown", why)
	}
}

// TestANewEngineOfAReloadBeginsWithWhatTheFormerHeard: no client is acted on anew while the cluster takes no reports.
func TestANewEngineOfAReloadBeginsWithWhatTheFormerHeard(t *testing.T) {
	s := newStub(t)
	s.set(func() {
		s.ack = map[string]any{"paused": true, "overrides": []map[string]string{{"client": "192.0.2.7", "mode": "off"}}}
	})
	config, by := testConfig(t, s.URL), new(corefile)
	defer engines.release(func(other *corefile) bool { return other == by })
	acquire := func(config engineConfig) *engine {
		t.Helper()
		e, err := engines.acquire(by, config, modeEnforce, nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	former := acquire(config)
	eventually(t, "the pause", func() bool { return former.directives.Load().paused })
	s.set(func() {
		s.reports = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) }
	})
	config.capacity *= 2
	present := acquire(config)
	for client, want := range map[string]mode{"192.0.2.7": modeOff, "192.0.2.8": modeMonitor} {
		if got, _ := present.directives.Load().modeFor(netip.MustParseAddr(client), modeEnforce); got != want {
			t.Errorf("%s: %s, expected %s as before the reload", client, got, want)
		}
	}
	config.resolver = "resolver-2"
	if acquire(config).directives.Load().paused {
		t.Error("another resolver's engine begins with it too")
	}
	s.set(func() { s.reports, s.ack = nil, map[string]any{} })
	eventually(t, "the end of the pause", func() bool { return !present.directives.Load().paused })
}
