package verdict

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAnIdleDeadEndpointIsFound(t *testing.T) {
	t.Parallel()
	good, dead := newStub(t), newStub(t)
	dead.Close()
	e := newTestEngine(t, testConfig(t, good.URL, dead.URL))
	eventually(t, "the dead endpoint taken out", func() bool {
		return slices.ContainsFunc(e.cluster.endpoints, func(one *endpoint) bool {
			return one.url == dead.URL && one.breaker.blocked() != reasonNone
		})
	})
	if e.cluster.blocked() != reasonNone {
		t.Error("the good endpoint is not asked either")
	}
}

// What is well may say so at length, as the page of a proxy in front of it does.
func TestALongReplyToACheckIsAGoodOne(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2*errorBodyMost)) }))
	t.Cleanup(server.Close)
	config := testConfig(t, server.URL)
	config.silent = true // no check but the test's
	c := newTestEngine(t, config).cluster
	if c.checkOne(c.endpoints[0]); c.endpoints[0].breaker.bad != 0 {
		t.Error("counted as a check that failed")
	}
}

// TestChecksCountWhereTheyFailInARow: one that is well in between is no reason to leave an endpoint out; nor does it say that frames
// are answered.
func TestChecksCountWhereTheyFailInARow(t *testing.T) {
	var well atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			http.Error(w, "", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	config := testConfig(t, server.URL)
	config.silent = true // no check but the test's
	c := newTestEngine(t, config).cluster
	e := c.endpoints[0]
	check := func(is bool) { well.Store(is); c.checkOne(e) }
	for range openAfter + 1 {
		check(false)
		check(true)
	}
	if c.blocked() != reasonNone {
		t.Fatal("left out by checks that failed now and then")
	}
	for range openAfter - 1 {
		e.breaker.failed(reasonTimeout, 0)
		check(true)
	}
	check(false)
	if c.blocked() != reasonBreaker {
		t.Error("not left out, though frames failed in a row, and then a check")
	}
}

// TestEndpointsAreCheckedAtOnce: one that hangs keeps no other from its check, and has one check at a time.
func TestEndpointsAreCheckedAtOnce(t *testing.T) {
	const endpoints = 4
	var now atomic.Int32
	met := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, healthPath) { // a probe, where a busy machine let checks fail
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		defer now.Add(-1)
		if now.Add(1) == endpoints {
			close(met)
		}
		select { // each waits for the others
		case <-met:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	urls := make([]string, endpoints)
	for i := range urls {
		urls[i] = fmt.Sprintf("%s/%d", server.URL, i)
	}
	config := testConfig(t, urls...)
	config.silent = true // no tick of its own
	e := newTestEngine(t, config)
	eventually(t, "all are being checked at the same time", func() bool {
		e.cluster.check()
		select {
		case <-met:
			return true
		default:
			return false
		}
	})
	for _, one := range e.cluster.endpoints {
		eventually(t, "the check has ended", func() bool { return !one.checking.Load() })
		one.checking.Store(true)
		one.lastGood.Store(0)
	}
	asked := e.cluster.requests.Load()
	e.cluster.check()
	if more := e.cluster.requests.Load() - asked; more > 0 {
		t.Errorf("%d checks beside those on their way", more)
	}
}
