package verdict

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// No label is a client or a name: both are without bound.
var (
	requestsTotal = counterVec("requests_total", "Queries judged, by what the verdict says and whether it was enforced.",
		"server", "zone", "view", "tier", "action", "source", "enforced")
	fallbacksTotal = counterVec("fallbacks_total", "Queries without a verdict in time, on their name or on an alias target, by reason.", "server", "zone", "view", "reason")
	waitSeconds    = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "wait_seconds",
		Help:    "Time that a reply waited for verdicts alone: with the answer there, or not yet looked up (hold).",
		Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}, []string{"server", "zone", "view"})

	cacheHits      = counter("cache_hits_total", "Names whose verdict was in the cache.")
	cacheMisses    = counter("cache_misses_total", "Names whose verdict was not in the cache.")
	cacheEvictions = counter("cache_evictions_total", "Verdicts evicted before their time because the cache was full.")
	cacheEntries   = gaugeVec("cache_entries", "Verdicts in the cache.", "resolver")

	frameNames = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "frame_names", Help: "Names in a frame.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 11),
	})
	frameSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "frame_duration_seconds",
		Help:    "Round-trip time of a frame.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"to"})
	framesTotal   = counterVec("frames_total", "Frames sent, by result.", "to", "result")
	breakerOpened = counterVec("breaker_opened_total", "Times an endpoint was taken out, by cause.", "to", "cause")
	breakerOpen   = gaugeVec("breaker_open", "Engines that do not ask an endpoint: 1 while it is left out.", "to")

	reportsTotal   = counterVec("reports_total", "Attempts to send what was kept, by result.", "result")
	discardedTotal = counter("observations_discarded_total", "Queries whose outcome could not be kept for the cluster.")
	keptOctets     = gaugeVec("observations_kept_bytes", "Octets of reports not yet acknowledged.", "resolver")
	keptBatches    = gaugeVec("observations_kept_batches", "Reports not yet acknowledged.", "resolver")
)

// breakersShown counts the engines that have an endpoint.
var breakersShown = struct {
	sync.Mutex
	engines map[string]int
}{engines: map[string]int{}}

// showBreaker has an endpoint's breaker stand among the metrics, closed ones too, from the start of its first engine (1) to the end of its last
// one (-1): whoever compares all of an instance's endpoints must find each, and none that nobody has any more.
func showBreaker(url string, engines int) {
	breakersShown.Lock()
	defer breakersShown.Unlock()
	if breakersShown.engines[url] += engines; breakersShown.engines[url] > 0 {
		breakerOpen.WithLabelValues(url)
		return
	}
	delete(breakersShown.engines, url)
	breakerOpen.DeleteLabelValues(url)
}

// state is what an engine shows of itself.
type state struct{ entries, octets, batches int }

// states are those of the engines that there are, by their resolver: there are several where two server blocks ask two clusters, and
// for a moment in a reload.
var states = struct {
	sync.Mutex
	of map[string]map[*engine]state
}{of: map[string]map[*engine]state{}}

// showState has a resolver's gauges tell of all its engines together, of this one what it says now, or no more where that is nil.
func showState(e *engine, now *state) {
	states.Lock()
	defer states.Unlock()
	resolver := e.config.resolver
	of := states.of[resolver]
	if of == nil {
		of = map[*engine]state{}
		states.of[resolver] = of
	}
	if delete(of, e); now != nil {
		of[e] = *now
	}
	if len(of) == 0 {
		delete(states.of, resolver)
		for _, gauge := range []*prometheus.GaugeVec{cacheEntries, keptOctets, keptBatches} {
			gauge.DeleteLabelValues(resolver)
		}
		return
	}
	var all state
	for _, one := range of {
		all = state{all.entries + one.entries, all.octets + one.octets, all.batches + one.batches}
	}
	cacheEntries.WithLabelValues(resolver).Set(float64(all.entries))
	keptOctets.WithLabelValues(resolver).Set(float64(all.octets))
	keptBatches.WithLabelValues(resolver).Set(float64(all.batches))
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	}, labels)
}

func counter(name, help string) prometheus.Counter {
	return promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	})
}

func gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	}, labels)
}

// counters finds a query's counters without building label texts: once for each server that the block has, which are few.
type counters struct {
	zone, view string
	known      atomic.Pointer[serverCounters]
}

type serverCounters struct {
	server    *dnsserver.Server // nil where there is none
	next      *serverCounters
	requests  [len(tierNames) * len(actionNames) * len(sourceNames) * 2]atomic.Pointer[prometheus.Counter]
	fallbacks [len(reasonNames)]prometheus.Counter
	wait      prometheus.Observer
	labels    prometheus.Labels
}

func (c *counters) server(ctx context.Context) *serverCounters {
	server, _ := ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	for {
		known := c.known.Load()
		for s := known; s != nil; s = s.next {
			if s.server == server {
				return s
			}
		}
		added := newServerCounters(server, metrics.WithServer(ctx), c.zone, c.view)
		added.next = known
		if c.known.CompareAndSwap(known, added) {
			return added
		}
	}
}

func newServerCounters(of *dnsserver.Server, server, zone, view string) *serverCounters {
	s := &serverCounters{server: of, wait: waitSeconds.WithLabelValues(server, zone, view)}
	s.labels = prometheus.Labels{"server": server, "zone": zone, "view": view}
	for i, why := range reasonNames {
		if why != "" {
			s.fallbacks[i] = fallbacksTotal.WithLabelValues(server, zone, view, why)
		}
	}
	return s
}

func (s *serverCounters) count(o *outcome, missing reason) {
	v := o.verdict
	i := (int(v.tier)*len(actionNames)+int(o.action))*len(sourceNames) + int(v.source)
	i *= 2
	if o.enforced {
		i++
	}
	found := s.requests[i].Load()
	if found == nil {
		made := requestsTotal.MustCurryWith(s.labels).WithLabelValues(
			v.tier.String(), o.action.String(), v.source.String(), boolean(o.enforced))
		s.requests[i].Store(&made)
		found = &made
	}
	(*found).Inc()
	if missing != reasonNone {
		s.fallbacks[missing].Inc()
	}
	if o.latency > 0 {
		s.wait.Observe(float64(o.latency) / 1e6)
	}
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func float(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }
