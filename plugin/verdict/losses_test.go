package verdict

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func TestTheOldestReportsAreDiscardedAndCounted(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	r := another(e)
	for i := range 3 {
		noteFive(r, i)
		r.cut()
		shut(r)
	}
	first := r.kept[0]
	full(r)
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

// However long the cluster was away, it is not sent a report for each second of it.
func TestAnOutageIsToldInFewReports(t *testing.T) {
	const seconds = 4000
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	r := another(e)
	var took, seen atomic.Uint64
	away := true
	s.set(func() {
		s.reports = func(w http.ResponseWriter, request *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if request.ContentLength > grownOctets+1024 {
				t.Errorf("a report of %d octets", request.ContentLength)
			}
			if b := sentBatch(t, request); b.Boot == r.boot && !away {
				took.Add(1)
				seen.Add(b.Seen)
			} else if b.Boot == r.boot {
				http.Error(w, "", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprint(w, `{"epoch":1,"generation":"g1"}`)
		}
	})
	for i := range seconds {
		noteFive(r, i)
		r.cut()
		if i == 0 && r.flush(t.Context()) == nil {
			t.Fatal("taken")
		}
	}
	s.set(func() { away = false })
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if octets, batches := r.pending(); took.Load() > 5 || seen.Load() != 5*seconds || octets != 0 || batches != 0 {
		t.Errorf("%d reports of %d queries, %d octets in %d batches left; expected a few of %d", took.Load(), seen.Load(), octets, batches, 5*seconds)
	}
}

// What was noted last is not lost with the first try: a cluster that is busy, or an endpoint that is away, is asked again.
func TestTheLastReportIsTriedUntilItsTimeIsOver(t *testing.T) {
	s, away := newStub(t), httptest.NewServer(nil)
	away.Close()
	e, err := newEngine(testConfig(t, away.URL, s.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int32
	s.set(func() {
		s.reports = func(w http.ResponseWriter, r *http.Request) {
			if refused.Add(1) == 1 {
				http.Error(w, "", http.StatusServiceUnavailable)
				return
			}
			s.acknowledge(w, r)
		}
	})
	noteFive(e.reporter, 1)
	e.close()
	if rows := s.rows("n1.example.org"); len(rows) != 1 {
		t.Errorf("rows %v after %d refusals, expected the last second's", rows, refused.Load())
	}
}

// Where every breaker is open, each endpoint is tried in its turn: one may be too slow for frames and take reports all the same.
func TestReportsFindTheEndpointThatTakesThem(t *testing.T) {
	s, away := newStub(t), httptest.NewServer(nil)
	away.Close()
	for _, urls := range [][]string{{away.URL, s.URL}, {s.URL, away.URL}} {
		config := testConfig(t, urls...)
		config.silent = true
		e := newTestEngine(t, config)
		for _, endpoint := range e.cluster.endpoints {
			endpoint.breaker.failed(reasonUnauthorised, 0)
		}
		r := another(e)
		taken := 0
		for try := range 4 {
			noteFive(r, try)
			r.cut()
			if b := r.next(); r.send(context.Background(), b) == nil {
				taken++
			}
		}
		if taken != 2 {
			t.Errorf("%d of four reports were taken, expected every second one", taken)
		}
	}
}

// What was discarded in days without the cluster may be more than one report can say.
func TestManyDiscardedQueriesAreToldInSeveralReports(t *testing.T) {
	const most, all uint64 = 1 << 32, 5<<32 + 7 // the first: what the cluster takes of a report (verdicts/observations.py, Count)
	r := another(newTestEngine(t, testConfig(t, newStub(t).URL)))
	r.carried = all
	var told uint64
	for range 20 {
		r.cut()
	}
	for _, b := range r.kept {
		if told += b.discarded; b.queries+b.discarded > most {
			t.Errorf("a report of %d queries, expected at most %d", b.queries+b.discarded, most)
		}
	}
	if told != all {
		t.Errorf("%d told, expected %d", told, uint64(all))
	}
}

// However acknowledgements are lost and batches discarded, the cluster's books say each query once.
func TestABatchWhoseAcknowledgementWasLostIsNotDiscardedToo(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	eventually(t, "the engine's first report", func() bool { return e.answered.Load() })
	stored, lose := map[uint64]goldenBatch{}, true
	s.set(func() {
		s.batches = nil
		s.reports = func(w http.ResponseWriter, r *http.Request) {
			b := sentBatch(t, r)
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, ok := stored[b.Batch]; !ok && b.Boot != e.reporter.boot {
				stored[b.Batch] = b
			}
			if lose {
				hijacked(w, "") // on disk, and nobody learns of it
				return
			}
			fmt.Fprint(w, `{"epoch":1,"generation":"g1"}`)
		}
	})
	r := another(e)
	for i := range 4 {
		noteFive(r, i)
		r.cut()
		shut(r)
	}
	if err := r.flush(context.Background()); err == nil {
		t.Fatal("acknowledged")
	}
	full(r)
	noteFive(r, 4)
	r.cut()
	s.set(func() { lose = false })
	if err := r.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.cut()
	if err := r.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var seen, counted, discarded uint64
	for _, b := range stored {
		seen, discarded = seen+b.Seen, discarded+b.Discarded
		for _, row := range b.Rows {
			counted += uint64(*row.Count)
		}
	}
	if seen != 25 || counted+discarded != 25 || discarded == 0 {
		t.Errorf("seen %d, counted %d, discarded %d: expected 25 queries, each once, and some discarded", seen, counted, discarded)
	}
}

func TestARefusedBatchIsGivenUpAndCounted(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge} {
		s := newStub(t)
		e := newTestEngine(t, testConfig(t, s.URL))
		eventually(t, "the engine's first report", func() bool { return e.answered.Load() })
		s.set(func() {
			s.batches = nil
			s.reports = func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if bytes.Contains(body, []byte("n0.example.org")) {
					http.Error(w, `{"code":"malformed"}`, status)
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				s.acknowledge(w, r)
			}
		})
		r := another(e)
		for i := range 2 {
			noteFive(r, i)
			r.cut()
			shut(r)
		}
		if err := r.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		var seen, discarded uint64
		for _, b := range s.batches {
			if b.Boot == r.boot {
				seen, discarded = seen+b.Seen, discarded+b.Discarded
			}
		}
		s.mu.Unlock()
		if octets, batches := r.pending(); seen != 10 || discarded != 5 || octets != 0 || batches != 0 {
			t.Errorf("%d: seen %d, discarded %d, %d octets in %d batches kept", status, seen, discarded, octets, batches)
		}
	}
}

func TestAFloodIsDiscardedAndCounted(t *testing.T) {
	o := newObservations(observationShards() * 2)
	for i := range 1000 {
		o.note(uint64(i)<<32, fmt.Sprintf("n%d.example.org", i), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
	var kept, discarded uint64
	o.cut(func(noted *rows, lost uint64) {
		discarded += lost
		for r := range noted.all() {
			kept += uint64(r.count)
		}
	})
	if kept > uint64(observationShards()*2) || kept+discarded != 1000 {
		t.Errorf("%d kept and %d discarded of 1000", kept, discarded)
	}
}
