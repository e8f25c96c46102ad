package verdict

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// hang keeps a request until its caller gives up or the test ends. The body is read first: only then does the
// server notice that the caller has gone.
func hang(t *testing.T) func(http.ResponseWriter, *http.Request, func()) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ http.ResponseWriter, r *http.Request, _ func()) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}
}

func hijacked(w http.ResponseWriter, write string) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	connection.Write([]byte(write))
	if tcp, ok := connection.(*net.TCPConn); ok {
		tcp.SetLinger(0) // RST
	}
	connection.Close()
}

// TestFaults: everything bad a cluster can do gives a reason, and nothing of it is believed.
func TestFaults(t *testing.T) {
	reply := func(body string) func(http.ResponseWriter, *http.Request, func()) {
		return func(w http.ResponseWriter, _ *http.Request, _ func()) { fmt.Fprint(w, body) }
	}
	status := func(code int) func(http.ResponseWriter, *http.Request, func()) {
		return func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, `{"code":"x"}`, code) }
	}
	good := "{" + saysBenign + "}"
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request, func())
		want  reason
	}{
		{"late", hang(t), reasonTimeout},
		{"half a body", func(w http.ResponseWriter, _ *http.Request, _ func()) {
			hijacked(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"epoch\":1,")
		}, reasonError},
		{"cut in the middle of JSON", reply(`{"epoch":1,"generation":"g1","verdicts":[`), reasonMalformed},
		{"wrong length", reply(`{"epoch":1,"generation":"g1","verdicts":[` + good + "," + good + `]}`), reasonMalformed},
		{"NaN", reply(`{"epoch":1,"generation":"g1","verdicts":[` + strings.Replace(good, "0.1", "NaN", 1) + `]}`), reasonMalformed},
		{"unknown action", reply(`{"epoch":1,"generation":"g1","verdicts":[` + strings.Replace(good, "passthru", "explode", 1) + `]}`), reasonMalformed},
		{"500", status(500), reasonError},
		{"502", status(502), reasonError},
		{"503", status(503), reasonOverload},
		{"429", status(429), reasonOverload},
		{"504", status(504), reasonTimeout},
		{"wrong token", status(401), reasonUnauthorised},
		{"forbidden", status(403), reasonUnauthorised},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ func()) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, reasonError},
		{"reset", func(w http.ResponseWriter, _ *http.Request, _ func()) { hijacked(w, "") }, reasonError},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request, _ func()) { hijacked(w, "220 smtp.example.org\r\n") }, reasonError},
		{"slow loris", func(w http.ResponseWriter, r *http.Request, _ func()) {
			io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, reasonTimeout},
		{"huge body", func(w http.ResponseWriter, _ *http.Request, _ func()) {
			for range maxReplyOctets/65536 + 2 {
				if _, err := w.Write(make([]byte, 65536)); err != nil {
					return
				}
			}
		}, reasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStub(t)
			s.set(func() { s.fault = c.fault })
			config := testConfig(t, s.URL)
			if c.want == reasonTimeout {
				config.timeout = 50 * time.Millisecond // given up after lateLeast
			}
			e := newTestEngine(t, config)
			fl, _, _ := e.framer.ask("example.org")
			<-fl.done
			if fl.verdict != nil || fl.reason != c.want {
				t.Errorf("verdict %v, reason %v, expected %v", fl.verdict, fl.reason, c.want)
			}
			if e.lookup("example.org") != nil {
				t.Error("cached")
			}
		})
	}
}

func TestALateVerdictFillsTheCache(t *testing.T) {
	s := newStub(t)
	release := make(chan struct{})
	s.set(func() {
		s.fault = func(_ http.ResponseWriter, _ *http.Request, answer func()) { <-release; answer() }
	})
	config := testConfig(t, s.URL)
	config.timeout = 500 * time.Millisecond
	e := newTestEngine(t, config)
	j := e.judge([]byte("example.org"))
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

func TestAnIdleDeadEndpointIsFound(t *testing.T) {
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

func TestTheTokenIsReadAgain(t *testing.T) {
	s := newStub(t)
	config := testConfig(t, s.URL)
	e := newTestEngine(t, config)
	other := "other"
	e.cluster.token.Store(&other)
	e.tokenTime = time.Time{}
	e.renewToken()
	if got := *e.cluster.token.Load(); got != stubToken {
		t.Errorf("token %q", got)
	}
}

func TestOneThousandEqualQuestionsAreOne(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	done := make(chan bool)
	for range 1000 {
		go func() {
			j := e.judge([]byte("example.org"))
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

func TestReportsAreKeptUntilAcknowledged(t *testing.T) {
	s := newStub(t)
	fail := 2
	s.set(func() {
		s.reports = func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			fail--
			failing := fail >= 0
			s.mu.Unlock()
			if failing {
				http.Error(w, "", http.StatusServiceUnavailable)
				return
			}
			s.acknowledge(w, r)
		}
	})
	e := newTestEngine(t, testConfig(t, s.URL))
	e.reporter.notes.note(1, "example.org", 1, clientOf(&udpWriter{}), &outcome{verdict: nothing, reason: reasonBusy}, 1, nil)
	e.reporter.cut()
	eventually(t, "the row arrived", func() bool { return len(s.rows("example.org")) == 1 })
}

func TestTheOldestReportsAreDiscardedAndCounted(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	r := newReporter(e.cluster, e.head, e.told)
	for i := range 3 {
		for range 5 {
			r.notes.note(uint64(i), fmt.Sprintf("n%d.example.org", i), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
		}
		r.cut()
	}
	first := r.kept[0]
	r.octets += maxKeptOctets - r.octets + 1 - len(first.rows) + len(first.rows)
	r.cut()
	if r.kept[0] == first {
		t.Fatal("the oldest batch is still kept")
	}
	var seen uint64
	for _, b := range r.kept {
		seen += b.queries + b.discarded
	}
	if seen+r.carried != 15 {
		t.Errorf("%d queries accounted for, expected 15", seen+r.carried)
	}
}

func TestABatchIsCutToItsRowsAndOctets(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	r := newReporter(e.cluster, e.head, e.told)
	for i := range maxRows + 10 {
		r.notes.note(uint64(i)<<32, fmt.Sprintf("n%d.example.org", i), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
	r.cut()
	var rows int
	for i, b := range r.kept {
		var body map[string]any
		if err := json.Unmarshal(b.body(e.head()), &body); err != nil {
			t.Fatal(err)
		}
		if b.count > maxRows || len(b.rows) > maxBatchOctets+4096 || b.number != uint64(i+1) {
			t.Errorf("batch %d: %d rows, %d octets", b.number, b.count, len(b.rows))
		}
		rows += b.count
	}
	if rows != maxRows+10 {
		t.Errorf("%d rows in all", rows)
	}
}

func TestAFloodIsDiscardedAndCounted(t *testing.T) {
	o := newObservations(observationShards * 2)
	for i := range 1000 {
		o.note(uint64(i)<<32, fmt.Sprintf("n%d.example.org", i), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
	var kept, discarded uint64
	o.cut(func(rows []row, lost uint64) {
		discarded += lost
		for i := range rows {
			kept += uint64(rows[i].count)
		}
	})
	if kept > observationShards*2 || kept+discarded != 1000 {
		t.Errorf("%d kept and %d discarded of 1000", kept, discarded)
	}
}

func TestEqualOutcomesAreSummed(t *testing.T) {
	o := newObservations(100)
	for i := range 10 {
		o.note(1, "example.org", 1, clientOf(&udpWriter{}), &outcome{verdict: nothing, latency: int64(i)}, int64(i), nil)
	}
	o.cut(func(rows []row, _ uint64) {
		for _, r := range rows {
			if r.count != 10 || r.first != 0 || r.last != 9 || r.latencySum != 45 || r.latencyMax != 9 {
				t.Errorf("got %+v", r)
			}
		}
	})
}
