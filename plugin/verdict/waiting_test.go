package verdict

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

const upstreamTakes = 60 * time.Millisecond

// newTimed is a handler for a synctest bubble: a frame takes as long as told, the chain upstreamTakes, and there is no network.
// Its reports stay with it.
func newTimed(t *testing.T, s stanza, takes time.Duration) *Handler {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &engine{config: engineConfig{timeout: defaultTimeout, silent: true}, cancel: cancel}
	e.cache = newCache(defaultCapacity, time.Hour)
	e.follower = &follower{cache: e.cache}
	e.directives.Store(&directives{})
	e.cluster = newCluster(ctx, defaultTimeout, e.take)
	e.cluster.endpoints = []*endpoint{newEndpoint("http://192.0.2.1", nil, 1)}
	e.framer = newFramer(defaultFrame, 0, defaultMaxConcurrent, func(flights []*flight) {
		time.Sleep(takes)
		for _, fl := range flights {
			fl.verdict = named(fl.name, 1, 300)
			e.cache.put(fl.verdict, nanotime())
		}
	}, e.lookup)
	e.reporter = newReporter(e.cluster, e.head, e.told)
	h := &Handler{stanza: s, counters: counters{zone: "."}}
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		time.Sleep(upstreamTakes)
		m := new(dns.Msg).SetReply(r)
		m.Answer = []dns.RR{test.CNAME(r.Question[0].Name + " 60 IN CNAME cdn.example.net.")}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
	h.engine = e
	return h
}

// known puts verdicts into the cache.
func known(h *Handler, names ...string) {
	for _, name := range names {
		h.engine.cache.put(named(name, 1, 300), nanotime())
	}
}

// TestWhatAReplyWaitsFor: look-up and question run side by side, or one after the other with `hold`; the query's name and its
// reply's alias targets have one budget, but where the name's verdict came before the answer.
func TestWhatAReplyWaitsFor(t *testing.T) {
	const target, qname = "cdn.example.net", "www.example.org"
	const never = time.Hour
	for _, c := range []struct {
		name   string
		stanza stanza
		frame  time.Duration
		known  []string
		want   time.Duration
		reason reason
	}{
		{"all known", stanza{mode: modeEnforce}, never, []string{qname, target}, upstreamTakes, reasonNone},
		{"the verdict is slower than the look-up", stanza{mode: modeEnforce}, 80 * time.Millisecond, []string{target}, 80 * time.Millisecond, reasonNone},
		{"the look-up is slower than the verdict", stanza{mode: modeEnforce}, 20 * time.Millisecond, []string{target}, upstreamTakes, reasonNone},
		{"hold", stanza{mode: modeEnforce, hold: true}, 80 * time.Millisecond, []string{target}, 80*time.Millisecond + upstreamTakes, reasonNone},
		{"hold has no effect in mode monitor", stanza{hold: true}, 80 * time.Millisecond, []string{target}, upstreamTakes, reasonNone},
		{"monitor waits for nothing", stanza{}, never, nil, upstreamTakes, reasonTimeout},
		{"no verdict in time", stanza{mode: modeEnforce}, never, []string{target}, defaultTimeout, reasonTimeout},
		{"no verdict in time, hold", stanza{mode: modeEnforce, hold: true}, never, []string{target}, defaultTimeout + upstreamTakes, reasonTimeout},
		{"the verdict came while the answer was looked up, hold", stanza{mode: modeEnforce, hold: true}, 130 * time.Millisecond, []string{target}, defaultTimeout + upstreamTakes, reasonNone},
		{"neither name nor target: one budget", stanza{mode: modeEnforce}, never, nil, defaultTimeout, reasonTimeout},
		{"neither, hold: the target from the answer on", stanza{mode: modeEnforce, hold: true}, never, nil, defaultTimeout + upstreamTakes + defaultTimeout, reasonTimeout},
		{"name and target, one after the other", stanza{mode: modeEnforce}, 30 * time.Millisecond, nil, 90 * time.Millisecond, reasonNone},
		{"the name's verdict came before the answer: its target from the answer on", stanza{mode: modeEnforce}, 50 * time.Millisecond, nil, 110 * time.Millisecond, reasonNone},
		{"the same, hold", stanza{mode: modeEnforce, hold: true}, 50 * time.Millisecond, nil, 160 * time.Millisecond, reasonNone},
		{"the target alone: from the answer on", stanza{mode: modeEnforce}, never, []string{qname}, upstreamTakes + defaultTimeout, reasonNone},
		{"servfail for want of a target's verdict", stanza{mode: modeEnforce, servfail: true}, never, []string{qname}, upstreamTakes + defaultTimeout, reasonNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTimed(t, c.stanza, min(c.frame, time.Minute))
				defer h.engine.close()
				known(h, c.known...)
				began, w := time.Now(), &udpWriter{}
				rcode, _ := h.ServeDNS(context.Background(), w, query1(qname, dns.TypeA))
				if took := time.Since(began); took != c.want {
					t.Errorf("the reply left after %s, expected %s", took, c.want)
				}
				if answered := len(w.written) == 1; answered == c.stanza.servfail || (rcode == dns.RcodeServerFailure) != c.stanza.servfail {
					t.Errorf("%d replies, rcode %d", len(w.written), rcode)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				for _, name := range []string{qname, target} {
					if h.engine.lookup(name) == nil {
						t.Errorf("the late verdict on %s is not in the cache", name)
					}
				}
				reasons, latency := reasonsOf(h)
				if reasons[c.reason] != 1 || len(reasons) != 1 {
					t.Errorf("recorded %v, expected one of %q", reasons, c.reason)
				}
				if latency != c.want-upstreamTakes {
					t.Errorf("recorded a latency of %s, expected what was waited beside the look-up: %s", latency, c.want-upstreamTakes)
				}
			})
		})
	}
}

// reasonsOf counts the queries noted so far by the reason why they had no verdict, and sums their latencies.
func reasonsOf(h *Handler) (found map[reason]int, latency time.Duration) {
	found = map[reason]int{}
	h.engine.reporter.notes.cut(func(noted *rows, discarded uint64) {
		for r, s := range noted.all() {
			if r.count > 0 {
				found[r.key.reason] += int(r.count)
			}
			latency += time.Duration(s.latencySum) * time.Microsecond
		}
		if discarded > 0 {
			found[reasonNone] += int(discarded)
		}
	})
	return found, latency
}

// TestAFloodIsBounded: whatever comes while the cluster is silent, what waits is bounded, and each query is recorded.
func TestAFloodIsBounded(t *testing.T) {
	const flood, ofGo = 40_000, 8 // the second: what Go's own runtime may begin meanwhile
	synctest.Test(t, func(t *testing.T) {
		h := newTimed(t, stanza{}, time.Minute)
		defer h.engine.close()
		h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(r))
		})
		before, w := runtime.NumGoroutine(), newDiscard()
		for i := range flood {
			name := "same.example.org"
			if i%2 == 1 {
				name = fmt.Sprintf("n%d.example.org", i)
			}
			h.ServeDNS(context.Background(), w, query1(name, dns.TypeA))
		}
		synctest.Wait()
		now := runtime.NumGoroutine()
		for range 10 { // it may count some that have ended, while the runtime moves them from one of its lists to another
			now = min(now, runtime.NumGoroutine())
		}
		if n, most := now-before, maxWaiting+defaultMaxConcurrent+ofGo; n < maxWaiting || n > most {
			t.Errorf("%d goroutines when all that can be decided is, expected %d to %d", n, maxWaiting, most)
		}
		if n, most := len(h.engine.framer.flights), (defaultMaxConcurrent+1)*defaultFrame; n > most {
			t.Errorf("%d names in flight, expected at most %d", n, most)
		}
		time.Sleep(defaultTimeout)
		synctest.Wait()
		total := 0
		reasons, _ := reasonsOf(h)
		for _, n := range reasons {
			total += n
		}
		if total != flood || reasons[reasonTimeout] != maxWaiting || reasons[reasonBusy] == 0 {
			t.Errorf("%d recorded, %v; expected %d, of which %d in time out", total, reasons, flood, maxWaiting)
		}
	})
}

// lock is a mutex of any kind.
type lock interface {
	TryLock() bool
	Unlock()
}

// TestAFrameDoesNotWaitForAChangeOfAList: to go through a whole cache takes longer than a query waits.
func TestAFrameDoesNotWaitForAChangeOfAList(t *testing.T) {
	f := &follower{cache: newCache(4096, time.Hour)}
	f.admit(frameOf("g1", 1, "www.example.org"), 1)
	shard := func(name string) *shard { return &f.cache.shards[f.cache.hash(name)%shardCount] }
	other := "n0.example.org"
	for i := 1; shard(other) == shard("www.example.org"); i++ {
		other = fmt.Sprintf("n%d.example.org", i)
	}
	shard("www.example.org").Lock() // the change gets this far
	applied, admitted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(applied)
		f.apply(ackOf("g1", 2, &[]string{"example.org"}, false), 2)
	}()
	eventually(t, "the change has begun", func() bool { return f.cache.floor.Load() == 2 })
	go func() {
		defer close(admitted)
		f.admit(frameOf("g1", 2, other), 3)
	}()
	select {
	case <-admitted:
	case <-time.After(10 * time.Second):
		t.Error("a frame waits until the cache was gone through")
	}
	shard("www.example.org").Unlock()
	<-applied
	<-admitted
	if has(f.cache, "www.example.org", 4) || !has(f.cache, other, 4) {
		t.Error("after the change: expected the verdict from before it gone, and the one of its epoch there")
	}
}

// TestNoLockIsHeldAcrossARequest: while the cluster keeps a frame and a report, every lock of the engine can be had.
func TestNoLockIsHeldAcrossARequest(t *testing.T) {
	s := newStub(t)
	var frames, reports atomic.Int32
	release := make(chan struct{})
	defer close(release)
	kept := func(in *atomic.Int32) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			in.Add(1)
			<-release
		}
	}
	s.set(func() {
		s.reports = kept(&reports)
		s.fault = func(w http.ResponseWriter, r *http.Request, _ func()) { kept(&frames)(w, r) }
	})
	config := testConfig(t, s.URL)
	config.timeout = 20 * time.Second
	e := newTestEngine(t, config)
	if fl, _, why := e.question("example.org"); fl == nil {
		t.Fatalf("not asked: %v", why)
	}
	eventually(t, "a frame and a report with the cluster", func() bool { return frames.Load() > 0 && reports.Load() > 0 })
	locks := []lock{&e.mu, &e.framer.mu, &e.reporter.mu, &e.follower.mu, &e.cluster.mu, &e.cluster.hopeless.mu, &e.cluster.endpoints[0].breaker.mu, &engines.mu}
	for i := range e.cache.shards {
		locks = append(locks, &e.cache.shards[i])
	}
	for i := range e.reporter.notes.shards {
		locks = append(locks, &e.reporter.notes.shards[i])
	}
	// Others may have one for a moment, so each is tried again.
	eventually(t, "every lock is free at some time", func() bool {
		locks = slices.DeleteFunc(locks, func(l lock) bool {
			if l.TryLock() {
				l.Unlock()
				return true
			}
			return false
		})
		return len(locks) == 0
	})
	if frames.Load() != 1 || reports.Load() != 1 {
		t.Errorf("%d frames, %d reports: expected the first ones to be still there", frames.Load(), reports.Load())
	}
}

// TestATargetWithoutAVerdictIsAFallback: a query whose name was judged and whose alias target was not is among those that the alerts count.
func TestATargetWithoutAVerdictIsAFallback(t *testing.T) {
	for _, servfail := range []bool{false, true} {
		zone := fmt.Sprintf("servfail-%t.example.", servfail)
		synctest.Test(t, func(t *testing.T) {
			h := newTimed(t, stanza{mode: modeEnforce, servfail: servfail}, time.Minute)
			defer h.engine.close()
			h.counters.zone = zone
			known(h, "www.example.org")
			ctx, told := h.describing(context.Background())
			h.ServeDNS(ctx, &udpWriter{}, query1("www.example.org", dns.TypeA))
			if told.reason != reasonTimeout {
				t.Errorf("on_error servfail %t: metadata has the reason %q", servfail, told.reason)
			}
		})
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := map[string]float64{}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				if labels := fmt.Sprint(one.GetLabel()); strings.HasSuffix(family.GetName(), "fallbacks_total") && strings.Contains(labels, zone) && one.GetCounter().GetValue() > 0 {
					counted[one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
				}
			}
		}
		if counted["timeout"] != 1 || len(counted) != 1 {
			t.Errorf("on_error servfail %t: fallbacks %v, expected one timeout", servfail, counted)
		}
	}
}
