package verdict

import (
	"context"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// discard is a client that reads nothing; like a server's writer, it knows its address.
type discard struct {
	test.ResponseWriter
	address net.UDPAddr
}

func newDiscard() *discard {
	return &discard{address: net.UDPAddr{IP: net.IPv4(192, 0, 2, 7).To4(), Port: 4000}}
}

func (d *discard) RemoteAddr() net.Addr  { return &d.address }
func (*discard) WriteMsg(*dns.Msg) error { return nil }

// benchHarness has a chain that answers with one and the same message, so that only the plugin's work is measured.
func benchHarness(b testing.TB, m mode) *harness {
	h := newHarness(b, stanza{mode: m})
	answer := new(dns.Msg).SetReply(query1("www.example.org", dns.TypeA))
	answer.Answer = []dns.RR{test.A("www.example.org. 60 IN A 192.0.2.1")}
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(answer)
	})
	return h
}

// warm asks until the verdict is in the cache.
func warm(b testing.TB, h *harness, r *dns.Msg) {
	name := normalise(nil, r.Question[0].Name)
	for h.engine.lookup(string(name)) == nil {
		if _, err := h.ServeDNS(context.Background(), newDiscard(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp is a cached verdict: normalise, hash, find, decide, note. It must not allocate.
func BenchmarkLookUp(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	r := query1("WwW.example.org", dns.TypeA)
	warm(b, h, r)
	ctx, w := context.Background(), newDiscard()
	c := h.counters.server(ctx)
	b.ReportAllocs()
	for b.Loop() {
		q := newQuery(ctx, w, r)
		q.client = clientOf(w)
		name, made := normal(r.Question[0].Name, q.name[:])
		q.at = nanotime()
		h.engine.judge(&q.own, h.engine.cache.hash(name), name, made, q.at)
		h.noteWith(c, nil, q, decide(&q.own, nil, false), 0, false)
		q.release()
	}
}

// BenchmarkHit is a whole query whose name passes. There is one allocation of ours for blockSize queries.
func BenchmarkHit(b *testing.B) { benchServe(b, modeEnforce, "www.example.org") }

// BenchmarkHitMonitor is the same in monitor mode.
func BenchmarkHitMonitor(b *testing.B) { benchServe(b, modeMonitor, "www.example.org") }

// BenchmarkAct is a whole query whose name is blocked, likewise.
func BenchmarkAct(b *testing.B) { benchServe(b, modeEnforce, "www.blocked.example") }

// BenchmarkActLocalData is a whole query that gets an address of ours, likewise.
func BenchmarkActLocalData(b *testing.B) { benchServe(b, modeEnforce, "www.honey.example") }

func benchServe(b *testing.B, m mode, name string) {
	h := benchHarness(b, m)
	r := query1(name, dns.TypeA)
	r.SetEdns0(1232, false)
	warm(b, h, r)
	w := newDiscard()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeDNS(ctx, w, r)
	}
}

// BenchmarkBare is the chain without the plugin.
func BenchmarkBare(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	r := query1("www.example.org", dns.TypeA)
	w := newDiscard()
	b.ReportAllocs()
	for b.Loop() {
		h.Next.ServeDNS(context.Background(), w, r)
	}
}

// BenchmarkMiss is a query for a name never seen, with a cluster that answers at once from this process.
func BenchmarkMiss(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	w := newDiscard()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.ServeDNS(context.Background(), w, query1(fmt.Sprintf("n%d.example.org", i), dns.TypeA))
	}
}

// BenchmarkHitParallel is BenchmarkHit on all cores.
func BenchmarkHitParallel(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	r := query1("www.example.org", dns.TypeA)
	warm(b, h, r)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		w := newDiscard()
		for p.Next() {
			h.ServeDNS(context.Background(), w, r)
		}
	})
}

// BenchmarkHitServed is BenchmarkHit as a server does it: each query in a goroutine of its own, whose stack starts small.
func BenchmarkHitServed(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	r := query1("www.example.org", dns.TypeA)
	warm(b, h, r)
	benchServed(b, h)
}

// BenchmarkBareServed is the same without the plugin.
func BenchmarkBareServed(b *testing.B) { benchServed(b, benchHarness(b, modeEnforce).Next) }

func benchServed(b *testing.B, h plugin.Handler) {
	r, w, ctx := query1("www.example.org", dns.TypeA), newDiscard(), context.Background()
	var wait sync.WaitGroup
	b.ReportAllocs()
	for b.Loop() {
		wait.Go(func() { h.ServeDNS(ctx, w, r) })
		wait.Wait()
	}
}

// BenchmarkAddedCold is what the plugin adds to a query of a known name in a server's company: the kernel, the rest of the chain
// and the collector use the processor's caches between two queries, so that each line of the plugin's tables has to be fetched
// anew. The chain runs with and without the plugin in turn, and the median counts, for other programs run too.
func BenchmarkAddedCold(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	queries := make([]*dns.Msg, 2000)
	for i := range queries {
		queries[i] = query1(fmt.Sprintf("host%d.example.org", i), dns.TypeA)
		v := named(fmt.Sprintf("host%d.example.org", i), 0, 3600)
		v.source = sourceModel
		h.engine.cache.put(v, nanotime())
	}
	company, w, ctx := make([]byte, 1<<20), newDiscard(), context.Background()
	asked, touched := 0, 0
	turn := func(chain plugin.Handler) int64 {
		var took int64
		for range 100 {
			for range 1024 { // lines of a sixteenth of it, others each time
				company[touched%len(company)]++
				touched += 64
			}
			started := nanotime()
			chain.ServeDNS(ctx, w, queries[asked*7%len(queries)])
			took += nanotime() - started
			asked++
		}
		return took / 100
	}
	var added []int64
	for b.Loop() {
		added = append(added, -turn(h.Next)+turn(h))
	}
	slices.Sort(added)
	b.ReportMetric(float64(added[len(added)/2]), "added-ns/query")
}

// BenchmarkMetadata is what *metadata* adds to each query of a stanza that is shown in a log.
func BenchmarkMetadata(b *testing.B) {
	h := benchHarness(b, modeEnforce)
	state := request.Request{W: newDiscard(), Req: query1("www.example.org", dns.TypeA)}
	b.ReportAllocs()
	for b.Loop() {
		h.Metadata(metadata.ContextWithMetadata(context.Background()), state)
	}
}

// BenchmarkDecodeFrame reads the reply to a full frame.
func BenchmarkDecodeFrame(b *testing.B) {
	s := newStub(b)
	names := make([]string, defaultFrame)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example.org", i)
	}
	body := []byte(s.answer(names))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := decodeFrame(body, names); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAskedSum is what it costs to know that an answer is this full frame's.
func BenchmarkAskedSum(b *testing.B) {
	names := make([]string, defaultFrame)
	for i := range names {
		names[i] = fmt.Sprintf("host%d.subdomain.example.org", i)
	}
	body := appendNames(nil, names)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		crc32.ChecksumIEEE(body)
	}
}

// BenchmarkReport is a second's report of 10,000 rows: summed, cut, encoded. Its buffers are used again.
func BenchmarkReport(b *testing.B) {
	r := another(newTestEngine(b, testConfig(b, newStub(b).URL)))
	seed := maphash.MakeSeed()
	names, hashes := make([]string, 10_000), make([]uint64, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("host%d.subdomain.example.org", i)
		hashes[i] = maphash.String(seed, names[i])
	}
	client := clientOf(newDiscard())
	v := &verdict{origin: &origin{model: "segments-2026-11"}, label: benign, source: sourceModel, score: 0.125, generated: 0.0625}
	b.ReportAllocs()
	for b.Loop() {
		for i, name := range names {
			r.notes.note(hashes[i], name, 1, client, &outcome{verdict: v}, 1_700_000_000_000, nil)
		}
		r.cut()
		r.mu.Lock()
		for len(r.kept) > 0 {
			batch := r.kept[0]
			r.drop(batch)
			r.release(batch)
		}
		r.mu.Unlock()
	}
}

// BenchmarkFullCache tells what a verdict in a full cache costs in memory.
func BenchmarkFullCache(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCache(defaultCapacity, time.Hour)
	for b.Loop() {
		for i := range 2 * defaultCapacity {
			c.put(named(fmt.Sprintf("host%d.subdomain.example.org", i), 0, 300), 0)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(c.size()), "B/verdict")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
}

// TestAKnownNameAllocatesNothing holds the promise of the hot path.
func TestAKnownNameAllocatesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a benchmark runs for a second")
	}
	if got := testing.Benchmark(BenchmarkLookUp).AllocsPerOp(); got != 0 {
		t.Errorf("%d allocations", got)
	}
}

// TestAKnownQueryAllocatesNoMoreThanTheBareChain holds it for whole queries, but for the blocks of captures and replies.
func TestAKnownQueryAllocatesNoMoreThanTheBareChain(t *testing.T) {
	for _, c := range []struct {
		name, qname string
		mode        mode
	}{
		{"monitored", "www.example.org", modeMonitor}, {"passed", "www.example.org", modeEnforce},
		{"acted on", "www.blocked.example", modeEnforce}, {"given an address", "www.honey.example", modeEnforce},
	} {
		h := benchHarness(t, c.mode)
		r := query1(c.qname, dns.TypeA)
		r.SetEdns0(1232, false)
		warm(t, h, r)
		w, ctx := newDiscard(), context.Background()
		bare := testing.AllocsPerRun(1000, func() { h.Next.ServeDNS(ctx, w, r) })
		if ours := testing.AllocsPerRun(1000, func() { h.ServeDNS(ctx, w, r) }) - bare; ours > 0 {
			t.Errorf("%s: %v allocations beside the chain's", c.name, ours)
		}
	}
}

// BenchmarkSteadyState is the cache under names as people ask them (Zipf over 20,000), for some lives of a verdict on a clock of its
// own. It reports the questions a thousand queries over the last, when verdicts end as fast as they come. While the cluster is heard
// a verdict lives for a day, as its policy says, else for an hour. Where one query in twenty is for a name that is never asked
// again, and so a question whatever is done, these are left out of both numbers; they fill the cache in two hours and a half.
func BenchmarkSteadyState(b *testing.B) {
	const population, day = 20_000, 24 * time.Hour
	weights := make([]float64, population)
	names := make([]string, population)
	var sum float64
	for i := range weights {
		sum += 1 / float64(i+1)
		weights[i], names[i] = sum, fmt.Sprintf("z%d.example.net", i)
	}
	for _, c := range []struct {
		name  string
		rate  int // queries a second
		heard bool
		last  time.Duration // the time over which questions are counted
		lives int           // such times
		once  float64       // the share of queries for names never asked again
	}{
		{"cluster heard, 100 queries a second", 100, true, day, 2, 0},
		{"cluster heard, 300 queries a second besides 15 for names asked once", 315, true, 6 * time.Hour, 2, 0.05 / 1.05},
		{"cluster not heard, 100 queries a second", 100, false, defaultUnheard, 3, 0},
		{"cluster not heard, 300 queries a second", 300, false, defaultUnheard, 3, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			draw := rand.New(rand.NewPCG(7, 7))
			var asked, counted, once int
			for b.Loop() {
				cache := newCache(defaultCapacity, defaultUnheard)
				each := int(c.last/time.Second) * c.rate
				for i := range c.lives * each {
					now := 1 + int64(i)*int64(time.Second)/int64(c.rate)
					if i%c.rate == 0 {
						heard := int64(0)
						if c.heard {
							heard = now
						}
						cache.sweep(now, heard, "")
					}
					name := names[sort.SearchFloat64s(weights, draw.Float64()*sum)]
					again := draw.Float64() >= c.once
					if !again {
						name = fmt.Sprintf("once%d.example.net", once)
						once++
					}
					missed := 0
					if hash := cache.hash(name); cache.get(hash, name, now) == nil {
						cache.put(named(name, 0, uint32(day/time.Second)), now)
						missed = 1
					}
					if again && i >= (c.lives-1)*each {
						counted++
						asked += missed
					}
				}
			}
			b.ReportMetric(1000*float64(asked)/float64(counted), "questions/1000")
		})
	}
}
