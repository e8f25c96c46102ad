package verdict

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestAReportFindsOneDeadConnection: the others of the pool, as dead after a failover, cost no report more, and what resolvers must
// hear comes with the next.
func TestAReportFindsOneDeadConnection(t *testing.T) {
	t.Parallel()
	const connections = 6
	s := newStub(t)
	var mu sync.Mutex
	known, opened, lost := map[string]bool{}, 0, 0
	all, frozen, hanging := make(chan struct{}), false, hang(t)
	s.set(func() {
		s.ack["paused"] = true
		s.reports = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			dead := !frozen || known[r.RemoteAddr] // before the failover no report is answered, so that none tells of the pause
			if frozen && dead {
				lost++
			}
			mu.Unlock()
			if dead {
				hanging(w, r, nil)
				return
			}
			s.acknowledge(w, r)
		}
		s.fault = func(w http.ResponseWriter, r *http.Request, answer func()) {
			mu.Lock()
			known[r.RemoteAddr] = true
			if opened++; opened == connections {
				close(all)
			}
			mu.Unlock()
			<-all
			answer()
		}
	})
	config := testConfig(t, s.URL)
	config.silent = true // it reports when the test says so
	e := newTestEngine(t, config)
	var asking sync.WaitGroup
	for i := range connections {
		asking.Go(func() { e.cluster.ask([]string{fmt.Sprintf("n%d.example.org", i)}) })
	}
	asking.Wait()
	mu.Lock()
	frozen = true
	mu.Unlock()
	e.reporter.cut()
	for tries := 0; !e.directives.Load().paused; tries++ {
		if tries == connections {
			t.Fatalf("%d reports went to connections that are dead", lost)
		}
		e.reporter.flush(t.Context())
	}
	if lost != 1 {
		t.Errorf("%d reports on dead connections, expected 1", lost)
	}
}

func TestAReportWaitsLongerForAClusterThatIsSlow(t *testing.T) {
	r := newReporter(nil, nil, nil)
	for _, try := range []struct {
		took time.Duration
		late bool
		want time.Duration
	}{
		{0, false, reportFirst}, {reportFirst, true, 2 * reportFirst}, {2 * reportFirst, true, 4 * reportFirst},
		{4 * reportFirst, true, reportLimit}, {reportLimit, true, reportLimit}, {reportFirst, false, 4 * reportFirst},
		{reportFirst / 8, false, reportFirst},
	} {
		if r.learn(try.took, try.late); r.patience != try.want {
			t.Errorf("after %s (late: %t) it waits %s, expected %s", try.took, try.late, r.patience, try.want)
		}
	}
}

// TestDeadConnectionsAreNotProbed: where what is connected is dead and what connects anew is not, as after a failover, the first probe
// connects anew.
func TestDeadConnectionsAreNotProbed(t *testing.T) {
	const connections = 6
	s := newStub(t)
	var mu sync.Mutex
	known, opened, asked := map[string]bool{}, 0, 0 // connections by their client's port; questions at first, and on what is dead
	all, frozen, hanging := make(chan struct{}), false, hang(t)
	dead := func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !frozen {
			known[r.RemoteAddr] = true
		}
		return frozen && known[r.RemoteAddr]
	}
	s.set(func() {
		s.reports = func(w http.ResponseWriter, r *http.Request) { dead(r); s.acknowledge(w, r) }
		s.fault = func(w http.ResponseWriter, r *http.Request, answer func()) {
			lost := dead(r)
			mu.Lock()
			if opened++; opened == connections {
				close(all)
			}
			if lost {
				asked++
			}
			mu.Unlock()
			if lost {
				hanging(w, r, answer)
				return
			}
			<-all
			answer()
		}
	})
	config := testConfig(t, s.URL)
	config.timeout = 500 * time.Millisecond
	e := newTestEngine(t, config)
	var asking sync.WaitGroup
	ask := func(times int) {
		for i := range times {
			asking.Go(func() { e.cluster.ask([]string{fmt.Sprintf("n%d.example.org", i)}) })
		}
	}
	ask(connections)
	asking.Wait()
	mu.Lock()
	frozen = true
	mu.Unlock()
	ask(openAfter)
	eventually(t, "the breaker open", func() bool { return e.cluster.blocked() == reasonBreaker })
	eventually(t, "a good probe", func() bool { return e.cluster.blocked() == reasonNone })
	mu.Lock()
	defer mu.Unlock()
	if asked != openAfter {
		t.Errorf("%d questions on dead connections, expected %d: those that opened the breaker", asked, openAfter)
	}
}
