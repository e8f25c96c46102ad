package verdict

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// sentBatch is the batch that a report holds.
func sentBatch(t *testing.T, report *http.Request) (b goldenBatch) {
	if json.NewDecoder(report.Body).Decode(&b) != nil {
		t.Error("not a batch")
	}
	return b
}

func TestReportsAreKeptUntilAcknowledged(t *testing.T) {
	t.Parallel()
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

// full makes the reporter's next cut find the bound reached.
func full(r *reporter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.octets = maxKeptOctets + 1
}

// shut has the newest batch take nothing more, as one that is full.
func shut(r *reporter) { r.kept[len(r.kept)-1].count = maxRows }

// another is a second reporter beside the engine's, for a test to cut and to flush.
func another(e *engine) *reporter {
	r := newReporter(e.cluster, nil, e.told)
	r.head = func() head {
		h := e.head()
		h.Boot = r.boot
		return h
	}
	return r
}

func noteFive(r *reporter, batch int) {
	for range 5 {
		r.notes.note(uint64(batch), fmt.Sprintf("n%d.example.org", batch), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
}

// A number in the log proves that every lower one was taken: batches that say nothing or were discarded leave no gap.
func TestNumbersOfBatchesThatSaySomethingHaveNoGap(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	eventually(t, "the engine's first report", func() bool { return e.answered.Load() })
	var said, silent []uint64
	r := another(e)
	s.set(func() {
		s.reports = func(w http.ResponseWriter, request *http.Request) {
			b := sentBatch(t, request)
			s.mu.Lock()
			defer s.mu.Unlock()
			if b.Boot == r.boot && b.Seen > 0 {
				said = append(said, b.Batch)
			} else if b.Boot == r.boot {
				silent = append(silent, b.Batch)
			}
			fmt.Fprint(w, `{"epoch":1,"generation":"g1"}`)
		}
	})
	send := func(notes ...int) {
		for _, i := range notes {
			noteFive(r, i)
		}
		r.cut()
		if err := r.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	send() // nothing to say yet
	send(1)
	send()
	send()
	noteFive(r, 2)
	r.cut()
	shut(r)
	noteFive(r, 3)
	full(r) // the batch of 2 is discarded before it was sent, and counted in a later one
	r.cut()
	r.octets = 0
	send(4)
	send(5)
	send()
	for i, number := range said {
		if number != said[0]+uint64(i) {
			t.Errorf("numbers %v: expected no gap", said)
		}
	}
	if len(said) < 3 || len(silent) < 4 || silent[len(silent)-1] != said[len(said)-1] {
		t.Errorf("said %v, silent %v", said, silent)
	}
}

func TestABatchIsCutToItsRowsAndOctets(t *testing.T) {
	s := newStub(t)
	e := newTestEngine(t, testConfig(t, s.URL))
	r := another(e)
	for i := range maxRows + 10 {
		r.notes.note(uint64(i)<<32, fmt.Sprintf("n%d.example.org", i), 1, clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
	r.cut()
	var rows int
	for i, b := range r.kept {
		var body map[string]any
		if err := json.Unmarshal(sentBody(t, b, r.head()), &body); err != nil {
			t.Fatal(err)
		}
		if b.count > maxRows || len(b.rows) > maxBatchOctets+4096 {
			t.Errorf("batch %d: %d rows, %d octets", i, b.count, len(b.rows))
		}
		rows += b.count
	}
	if rows != maxRows+10 {
		t.Errorf("%d rows in all", rows)
	}
}

// A cluster may acknowledge a report before it has read it; net/http then still reads the rows.
func TestRowsThatAreStillReadAreNotWrittenTo(t *testing.T) {
	s := newStub(t)
	r := another(newTestEngine(t, testConfig(t, s.URL)))
	noteFive(r, 1)
	r.cut()
	b := r.kept[0]
	request := httptest.NewRequest(http.MethodPost, observationsPath, nil)
	b.body(r.head())(request)
	r.release(b)
	if len(r.spares) != 0 {
		t.Fatal("the rows' buffer is used again while it is read")
	}
	for range 2 {
		request.Body.Close()
	}
	r.release(b)
	if len(r.spares) != 1 || b.readers.Load() != 0 {
		t.Errorf("%d spare buffers, %d readers", len(r.spares), b.readers.Load())
	}
}

func TestEqualOutcomesAreSummed(t *testing.T) {
	o := newObservations(100)
	for i := range 10 {
		o.note(1, "example.org", 1, clientOf(&udpWriter{}), &outcome{verdict: nothing, latency: int64(i)}, int64(i), nil)
	}
	o.cut(func(noted *rows, _ uint64) {
		for r, s := range noted.all() {
			if r.count != 10 || r.first != 0 || r.last() != 9 || s.latencySum != 45 || s.latencyMax != 9 {
				t.Errorf("got %+v, %+v", r, s)
			}
		}
	})
}

// A verdict that is asked anew within the second is another value, but says the same: its outcomes stay one row.
func TestARenewedVerdictKeepsItsRow(t *testing.T) {
	o := newObservations(100)
	for i, same := range []bool{true, true, true, false} {
		v := named("example.org", 1, 300)
		v.score = float64(i)
		if !same {
			v.model = "another"
		}
		for range 2 {
			o.note(1, "example.org", 1, clientOf(&udpWriter{}), &outcome{verdict: v, plain: true}, int64(10-i), nil)
		}
	}
	type told struct {
		count uint32
		score float64
		first int64
	}
	var got []told
	o.cut(func(noted *rows, _ uint64) {
		for r := range noted.all() {
			got = append(got, told{r.count, r.verdict.score, r.first})
		}
	})
	if want := []told{{6, 2, 8}, {2, 3, 7}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A client can ask for 65,536 types. Those that somebody assigned, and those of private use, which tunnels have, are told.
func TestTypesThatNobodyAssignedAreReportedAsOne(t *testing.T) {
	o := newObservations(1 << 20)
	for qtype := range 1 << 16 {
		o.note(1, "example.org", uint16(qtype), clientOf(&udpWriter{}), &outcome{verdict: nothing}, 1, nil)
	}
	told, sum := map[string]int{}, 0
	o.cut(func(noted *rows, _ uint64) {
		for r := range noted.all() {
			told[qtypeText(r.key.qtype)] += int(r.count)
			sum += int(r.count)
		}
	})
	for _, text := range []string{"A", "HTTPS", "TA", "TYPE262", "TYPE65399"} {
		if told[text] != 1 {
			t.Errorf("%s: told %d times, want 1", text, told[text])
		}
	}
	if len(told) > 800 || sum != 1<<16 || told["other"] != 1<<16-(len(told)-1) {
		t.Errorf("%d types, %d queries, %d of another type", len(told), sum, told["other"])
	}
}

// What tells outcomes apart makes them rows of their own, however many there are.
func TestDifferentOutcomesAreRowsOfTheirOwn(t *testing.T) {
	o := newObservations(1 << 16)
	clients := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), {}}
	for range 2 {
		for i := range 500 {
			name := fmt.Sprintf("n%d.example.org", i)
			for _, client := range clients {
				for _, out := range []outcome{
					{verdict: nothing, reason: reasonBusy}, {verdict: nothing, reason: reasonTimeout}, {verdict: nothing, rcode: 3},
					{verdict: nothing, enforced: true}, {verdict: nothing, action: drop}, {verdict: nothing, rule: "x"},
					{verdict: named(name, 1, 1)}, {verdict: nothing, targetOf: "example.net", parent: 7},
				} {
					o.note(uint64(i), name, 1, client, &out, 1, nil) // hashes of names that collide in their low bits too
				}
				o.note(uint64(i), name, 28, client, &outcome{verdict: nothing, reason: reasonBusy}, 1, nil)
			}
		}
	}
	count := 0
	o.cut(func(noted *rows, lost uint64) {
		count += len(noted.stories)
		for r, s := range noted.all() {
			if want := uint32(2); s.targetOf == "" && r.count != want || lost != 0 {
				t.Fatalf("got %+v, %+v, %d lost", r, s, lost)
			}
		}
	})
	if want := 500 * 3 * 9; count != want {
		t.Errorf("%d rows, expected %d", count, want)
	}
	o.cut(func(noted *rows, _ uint64) {
		if len(noted.stories) != 0 {
			t.Error("cut twice")
		}
	})
}

// Outcomes are noted while the second is cut: each is in one cut, or counted as discarded.
func TestOutcomesAreNotedWhileTheyAreCut(t *testing.T) {
	o := newObservations(observationShards() * 8)
	client := clientOf(&udpWriter{})
	var noting sync.WaitGroup
	for worker := range 4 {
		noting.Go(func() {
			for i := range 5000 {
				hash := uint64(i*7+worker) % 1000 * 0x9e3779b97f4a7c15
				o.note(hash, fmt.Sprintf("n%d.example.org", hash), 1, client, &outcome{verdict: nothing}, 1, nil)
			}
		})
	}
	done := make(chan struct{})
	go func() { noting.Wait(); close(done) }()
	var total uint64
	cut := func() {
		o.cut(func(noted *rows, discarded uint64) {
			total += discarded
			for r := range noted.all() {
				total += uint64(r.count)
			}
		})
	}
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		cut()
	}
	if total != 20_000 {
		t.Errorf("%d outcomes accounted for, expected 20000", total)
	}
}
