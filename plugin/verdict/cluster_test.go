package verdict

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestALateVerdictFillsTheCache(t *testing.T) {
	s := newStub(t)
	release := make(chan struct{})
	s.set(func() {
		s.fault = func(_ http.ResponseWriter, _ *http.Request, answer func()) { <-release; answer() }
	})
	config := testConfig(t, s.URL)
	config.timeout = 500 * time.Millisecond
	e := newTestEngine(t, config)
	var j judgement
	e.judge(&j, e.cache.hash("example.org"), "example.org", false, nanotime())
	e.await(&j, time.Now().Add(time.Millisecond))
	if j.verdict != nil || j.reason != reasonTimeout {
		t.Errorf("verdict %v, reason %v, expected a timeout", j.verdict, j.reason)
	}
	close(release)
	eventually(t, "the late verdict in the cache", func() bool { return e.lookup("example.org") != nil })
}

func TestTheBreakerOpensOnErrorsAndAProbeClosesIt(t *testing.T) {
	s := newStub(t)
	s.set(func() {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	e := newTestEngine(t, testConfig(t, s.URL))
	for i := range openAfter {
		fl, _, _ := e.framer.ask(fmt.Sprintf("n%d.example.org", i))
		<-fl.done
	}
	if _, _, why := e.question("wanted.example.org"); why != reasonBreaker {
		t.Fatalf("reason %v, expected breaker", why)
	}
	s.set(func() { s.fault = nil })
	eventually(t, "closed by a probe", func() bool { return e.cluster.blocked() == reasonNone })
	if s.count("wanted.example.org") != 1 || e.lookup("wanted.example.org") == nil {
		t.Error("expected the probe to ask the name that was refused, once")
	}
}

func TestARequestThatFailedIsKnownByTheIDThatTheClusterSaw(t *testing.T) {
	s := newStub(t)
	var seen []string
	s.set(func() {
		s.fault = func(w http.ResponseWriter, r *http.Request, _ func()) {
			seen = append(seen, r.Header.Get("X-Request-Id"))
			http.Error(w, "", 500)
		}
	})
	e := newTestEngine(t, testConfig(t, s.URL))
	for range 2 {
		_, err := e.cluster.ask([]string{"example.org"})
		id := seen[len(seen)-1]
		if err == nil || !strings.HasPrefix(id, e.reporter.boot[:8]+"-") || !strings.Contains(err.Error(), "(request "+id+")") {
			t.Errorf("error %v, request id %q", err, id)
		}
	}
	if seen[0] == seen[1] {
		t.Errorf("two requests with the id %q", seen[0])
	}
}

func TestTheBreakerOpensOnSlownessBeforeTheAnswer(t *testing.T) {
	s := newStub(t)
	s.set(func() { s.fault = hang(t) })
	config := testConfig(t, s.URL)
	config.timeout, config.wait, config.frame = 50*time.Millisecond, 0, 1
	e := newTestEngine(t, config)
	began := time.Now()
	for i := range openAfter {
		e.framer.ask(fmt.Sprintf("n%d.example.org", i))
	}
	eventually(t, "open", func() bool { return e.cluster.blocked() == reasonBreaker })
	if took := time.Since(began); took > lateLeast {
		t.Errorf("open after %s, expected before the frames are given up", took)
	}
}

func TestOneSlowFrameDoesNotOpenTheBreaker(t *testing.T) {
	s := newStub(t)
	s.set(func() {
		s.fault = func(_ http.ResponseWriter, r *http.Request, answer func()) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte("slow.example.org")) {
				time.Sleep(100 * time.Millisecond)
			}
			answer()
		}
	})
	config := testConfig(t, s.URL)
	config.timeout = 50 * time.Millisecond
	e := newTestEngine(t, config)
	var j judgement
	e.judge(&j, e.cache.hash("slow.example.org"), "slow.example.org", false, nanotime())
	e.await(&j, time.Now().Add(20*time.Second))
	if j.verdict == nil || e.cluster.blocked() != reasonNone {
		t.Errorf("verdict %v (%v), endpoint blocked by %v", j.verdict, j.reason, e.cluster.blocked())
	}
}

func TestNobodyWaitsForAClusterThatWasGivenUp(t *testing.T) {
	s := newStub(t)
	s.set(func() { s.fault = hang(t) })
	config := testConfig(t, s.URL)
	config.timeout, config.wait, config.frame = 50*time.Millisecond, 0, 1
	e := newTestEngine(t, config)
	for i := range openAfter {
		var j judgement
		e.judge(&j, e.cache.hash(fmt.Sprintf("n%d.example.org", i)), fmt.Sprintf("n%d.example.org", i), false, nanotime())
		defer e.await(&j, time.Now())
		if i == openAfter-1 {
			e.await(&j, time.Now().Add(time.Hour)) // frames are given up after a second: the breaker's word comes first
			if j.reason != reasonBreaker {
				t.Errorf("reason %v, expected breaker", j.reason)
			}
		}
	}
	s.set(func() { s.fault = nil })
	eventually(t, "closed by a probe", func() bool { return e.cluster.blocked() == reasonNone })
	var j judgement
	e.judge(&j, e.cache.hash("example.org"), "example.org", false, nanotime())
	e.await(&j, time.Now().Add(20*time.Second))
	if j.verdict == nil {
		t.Errorf("%v once the cluster answers again", j.reason)
	}
}

func TestOneProbeAtATime(t *testing.T) {
	s := newStub(t)
	var now, most, probes int
	s.set(func() {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) {
			s.set(func() { now++; probes++; most = max(most, now) })
			time.Sleep(5 * time.Millisecond)
			s.set(func() { now-- })
			http.Error(w, "", 500)
		}
	})
	e := newTestEngine(t, testConfig(t, s.URL))
	for i := range openAfter {
		fl, _, _ := e.framer.ask(fmt.Sprintf("n%d.example.org", i))
		<-fl.done
	}
	s.set(func() { most = 0 })
	eventually(t, "three probes", func() bool {
		for i := range 50 {
			e.question(fmt.Sprintf("m%d.example.org", i))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return probes >= openAfter+3
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if most != 1 {
		t.Errorf("%d probes at a time", most)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	var at []time.Time
	s.set(func() {
		s.fault = func(w http.ResponseWriter, _ *http.Request, answer func()) {
			s.set(func() { at = append(at, time.Now()) })
			if len(at) > 1 {
				answer()
				return
			}
			w.Header().Set("Retry-After", "1")
			http.Error(w, "", http.StatusServiceUnavailable)
		}
	})
	e := newTestEngine(t, testConfig(t, s.URL))
	fl, _, _ := e.framer.ask("example.org")
	<-fl.done
	if _, _, why := e.question("example.net"); why != reasonOverload {
		t.Errorf("reason %v, expected overload at once", why)
	}
	eventually(t, "asked again", func() bool { return e.cluster.blocked() == reasonNone })
	s.mu.Lock()
	defer s.mu.Unlock()
	if pause := at[1].Sub(at[0]); pause < time.Second {
		t.Errorf("asked again after %s, expected a second", pause)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	for _, c := range []struct {
		header      string
		least, most time.Duration
	}{
		{"", 0, 0}, {"soon", 0, 0}, {"-5", 0, 0}, {"0", 0, 0}, {"7", 7 * time.Second, 7 * time.Second},
		{"86400", retryAfterMost, retryAfterMost}, {"99999999999999999999", 0, 0},
		{time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat), time.Second, 40 * time.Second},
		{time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat), retryAfterMost, retryAfterMost},
		{time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
	} {
		answer := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {c.header}}}
		if got := refusal(answer, nil).retryAfter; got < c.least || got > c.most {
			t.Errorf("%q: %s, expected %s to %s", c.header, got, c.least, c.most)
		}
	}
}

func TestASecondEndpointAnswersForTheFirst(t *testing.T) {
	bad, good := newStub(t), newStub(t)
	bad.set(func() {
		bad.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	e := newTestEngine(t, testConfig(t, bad.URL, good.URL))
	for i := range 10 {
		fl, _, _ := e.framer.ask(fmt.Sprintf("n%d.example.org", i))
		<-fl.done
		if fl.verdict == nil {
			t.Errorf("n%d: %v", i, fl.reason)
		}
	}
}

func TestTheEndpointWithTheLeastOutstandingIsAsked(t *testing.T) {
	e := newTestEngine(t, testConfig(t, newStub(t).URL, newStub(t).URL, newStub(t).URL))
	for i, busy := range []int64{5, 2, 9} {
		e.cluster.endpoints[i].outstanding.Add(busy)
	}
	for range 5 {
		if got := e.cluster.pick(nil); got != e.cluster.endpoints[1] {
			t.Errorf("picked %s", got.url)
		}
	}
	for i, busy := range []int64{5, 2, 9} {
		e.cluster.endpoints[i].outstanding.Add(-busy)
	}
}

// Equal endpoints take turns, also where their count passes what an int of 32 bits holds (GOARCH=386 go test).
func TestEqualEndpointsTakeTurns(t *testing.T) {
	c := newCluster(t.Context(), defaultTimeout, nil)
	c.endpoints = []*endpoint{newEndpoint("http://192.0.2.1", nil, 1), newEndpoint("http://192.0.2.2", nil, 1)}
	for _, turn := range []uint32{0, 1<<31 - 3} {
		c.turn.Store(turn)
		picked := map[*endpoint]int{}
		for range 6 {
			picked[c.pick(nil)]++
		}
		if picked[c.endpoints[0]] != 3 {
			t.Errorf("from turn %d: picked %v, expected three times each", turn, picked)
		}
	}
}

// TestNothingBeginsOnceAnEngineHasEnded: a frame's timer may tell of its slowness as late as that.
func TestNothingBeginsOnceAnEngineHasEnded(t *testing.T) {
	e, err := newEngine(testConfig(t, newStub(t).URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	e.close()
	if e.cluster.beside(func() { t.Error("it did begin") }) {
		t.Error("it was said to begin")
	}
	e.cluster.running.Wait()
}

func TestTheTokenIsReadAgain(t *testing.T) {
	s := newStub(t)
	config := testConfig(t, s.URL)
	config.silent = true // no tick that reads it too
	e := newTestEngine(t, config)
	before, err := os.Stat(config.tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"another", stubToken} { // each written with the time of the first, as `cp -p` and `rsync -t` do
		if err := os.WriteFile(config.tokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(config.tokenFile, before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
		e.renewToken()
		if got := *e.cluster.token.Load(); got != token {
			t.Errorf("token %q, expected %q", got, token)
		}
	}
	for _, broken := range []string{"", "two words", "not-a-secret"} {
		if err := os.WriteFile(config.tokenFile, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		e.renewToken()
		if got := *e.cluster.token.Load(); got != stubToken || (e.tokenFault != "") != (broken != stubToken) {
			t.Errorf("%q in the file: token %q, said %q", broken, got, e.tokenFault)
		}
	}
}

func TestOneThousandEqualQuestionsAreOne(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	done := make(chan bool)
	for range 1000 {
		go func() {
			var j judgement
			e.judge(&j, e.cache.hash("example.org"), "example.org", false, nanotime())
			e.await(&j, time.Now().Add(20*time.Second))
			done <- j.verdict != nil
		}()
	}
	for range 1000 {
		if !<-done {
			t.Error("no verdict")
		}
	}
	if n := s.count("example.org"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
