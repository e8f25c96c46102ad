package verdict

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

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
