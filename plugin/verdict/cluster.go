package verdict

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	verdictsPath     = "/v1/verdicts"
	observationsPath = "/v1/observations"
	healthPath       = "/healthz"

	checkEvery = 1 * time.Second // an endpoint that has not answered for so long is checked, where there are several
	checkLimit = 500 * time.Millisecond
	probeName  = "probe.verdict.invalid" // asked where no name was wanted since: judged without the model
	maxAsk     = 2                       // endpoints asked for one frame
)

// cluster is the endpoints, the choice among them, and their breakers' probes.
type cluster struct {
	endpoints []*endpoint
	timeout   time.Duration // a frame that takes longer is slow
	limit     time.Duration // a frame is given up; until then a late verdict still fills the cache
	token     atomic.Pointer[string]
	wanted    atomic.Pointer[string] // a name that a breaker refused: the next probe asks it
	turn      atomic.Uint32
	boot      string // begins the id of every request
	requests  atomic.Uint64
	take      func(*frame) // hands over what a probe brought
	ctx       context.Context
	hopeless  hopeless

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // probes and health checks
}

func newCluster(ctx context.Context, timeout time.Duration, take func(*frame)) *cluster {
	c := &cluster{timeout: timeout, limit: max(lateFactor*timeout, lateLeast), take: take, ctx: ctx}
	c.hopeless.set(false)
	return c
}

// nextID names a request, so that one that failed can be found in the logs of plugin and cluster.
func (c *cluster) nextID() string {
	return c.boot + "-" + strconv.FormatUint(c.requests.Add(1), 10)
}

// blocked returns why no endpoint may be asked, or reasonNone.
func (c *cluster) blocked() reason {
	why := reasonBreaker
	for _, e := range c.endpoints {
		switch cause := e.breaker.blocked(); cause {
		case reasonNone:
			return reasonNone
		case reasonBreaker:
		default:
			why = cause
		}
	}
	return why
}

// want leaves a name for the next probe.
func (c *cluster) want(name string) {
	if c.wanted.Load() == nil {
		wanted := name
		c.wanted.Store(&wanted)
	}
}

// pick returns the endpoint with the least outstanding requests among those that may be asked, other than not.
// Equal ones take turns.
func (c *cluster) pick(not *endpoint) (best *endpoint) {
	start, all := c.turn.Add(1), uint32(len(c.endpoints))
	for i := range all {
		e := c.endpoints[(start+i)%all] // no int, which would be negative after 2^31 turns where it has 32 bits
		if e == not || e.breaker.blocked() != reasonNone {
			continue
		}
		if best == nil || e.outstanding.Load() < best.outstanding.Load() {
			best = e
		}
	}
	return best
}

// ask brings the verdicts on names, from a second endpoint where the first fails while there is time.
func (c *cluster) ask(names []string) (*frame, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.limit)
	defer cancel()
	started := time.Now()
	body := appendNames(make([]byte, 0, 24*len(names)+16), names)
	var last *endpoint
	var err error
	for range maxAsk {
		e := c.pick(last)
		if e == nil {
			break
		}
		last = e
		var answer *frame
		if answer, err = c.askOne(ctx, e, names, body); err == nil {
			return answer, nil
		}
		if time.Since(started) > c.timeout {
			break
		}
	}
	if err == nil {
		err = &failure{reason: cmp.Or(c.blocked(), reasonBreaker), cause: errors.New("no endpoint may be asked")} // it may have closed by now
	}
	return nil, err
}

// askOne asks one endpoint and tells its breaker. Slowness is told when it is noticed, not when the answer comes.
func (c *cluster) askOne(ctx context.Context, e *endpoint, names []string, body []byte) (*frame, error) {
	started, id := time.Now(), c.nextID()
	late := time.AfterFunc(c.timeout, func() {
		c.failed(e, &failure{request: id, reason: reasonTimeout, cause: fmt.Errorf("no answer within %s", c.timeout)})
	})
	answer, err := c.request(ctx, e, id, names, body)
	inTime := late.Stop()
	frameSeconds.WithLabelValues(e.url).Observe(time.Since(started).Seconds())
	why := reasonOf(err)
	switch {
	case why == reasonNone && inTime:
		e.breaker.good()
	case why != reasonNone && why != reasonShutdown && inTime:
		c.failed(e, err)
	}
	framesTotal.WithLabelValues(e.url, resultOf(why, inTime)).Inc()
	return answer, err
}

func (c *cluster) request(ctx context.Context, e *endpoint, id string, names []string, body []byte) (*frame, error) {
	reply, err := e.call(ctx, id, http.MethodPost, verdictsPath, *c.token.Load(), octets(body), maxReplyOctets)
	if err != nil {
		return nil, err
	}
	f, err := decodeFrame(reply, names)
	if sum := crc32.ChecksumIEEE(body); err == nil && f.asked != nil && *f.asked != sum {
		// Somewhere on the way two answers were exchanged; the likeliest frames, of one name each, are all of one length.
		err = malformed("it is for the request with CRC-32 %d, expected %d", *f.asked, sum)
	}
	if err != nil {
		return nil, &failure{request: id, reason: reasonMalformed, cause: err}
	}
	return f, nil
}

func resultOf(why reason, inTime bool) string {
	switch {
	case why != reasonNone:
		return why.String()
	case !inTime:
		return "late"
	}
	return "ok"
}

func reasonOf(err error) reason {
	if err == nil {
		return reasonNone
	}
	var f *failure
	if errors.As(err, &f) {
		return f.reason
	}
	return reasonError
}

func retryAfterOf(err error) time.Duration {
	var f *failure
	if errors.As(err, &f) {
		return f.retryAfter
	}
	return 0
}

// failed notes a bad request; where that opens the breaker, probing begins.
func (c *cluster) failed(e *endpoint, err error) {
	why := reasonOf(err)
	if c.ctx.Err() != nil || !e.breaker.failed(why, retryAfterOf(err)) {
		return
	}
	log.Warningf("Endpoint %s is not asked any more: %v", e.url, err)
	if why == reasonTimeout {
		e.client.CloseIdleConnections() // dead too, perhaps: each would cost a probe, while the endpoint can be reached anew
	}
	breakerOpened.WithLabelValues(e.url, why.String()).Inc()
	// Counted, not set: a reload may leave two engines with one endpoint, and an engine may end with its breaker open.
	open := breakerOpen.WithLabelValues(e.url)
	open.Inc()
	c.hopeless.follow(c)
	if !c.beside(func() { defer open.Dec(); c.probe(e) }) {
		open.Dec()
	}
}

// beside runs f in a goroutine that close waits for; it does not, and says so, once close has begun: a frame's timer may
// fire as late as that.
func (c *cluster) beside(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Go(f)
	}
	return !c.closed
}

// probe asks the endpoint one name at a time until an answer comes in time. There is one prober while the breaker
// is open: failed starts it when it opens, and nothing else closes it.
func (c *cluster) probe(e *endpoint) {
	for pause := e.breaker.firstPause(); pause > 0; {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pause):
		}
		names := []string{probeName}
		if wanted := c.wanted.Swap(nil); wanted != nil {
			names[0] = *wanted
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
		answer, err := c.request(ctx, e, c.nextID(), names, appendNames(nil, names))
		cancel()
		if err == nil {
			c.take(answer)
		}
		pause = e.breaker.probed(reasonOf(err), retryAfterOf(err))
	}
	c.hopeless.follow(c)
	log.Infof("Endpoint %s is asked again", e.url)
}

// check asks endpoints that have not answered for a while whether they are well, all at once and each with one question at a
// time, and returns before they answer: one that hangs keeps neither the others nor the caller. With one endpoint the traffic,
// or else the reports, tell as much.
func (c *cluster) check() {
	if len(c.endpoints) < 2 {
		return
	}
	for _, e := range c.endpoints {
		if nanotime()-e.lastGood.Load() < int64(checkEvery) || e.breaker.blocked() != reasonNone || e.checking.Swap(true) {
			continue
		}
		c.beside(func() {
			defer e.checking.Store(false)
			c.checkOne(e)
		})
	}
}

func (c *cluster) checkOne(e *endpoint) {
	ctx, cancel := context.WithTimeout(c.ctx, checkLimit)
	defer cancel()
	_, err := e.call(ctx, c.nextID(), http.MethodGet, healthPath, *c.token.Load(), nil, maxReplyOctets)
	e.breaker.checked(err == nil)
	if err != nil {
		c.failed(e, &failure{reason: reasonError, cause: err})
	}
}

// close gives the idle connections back once probes and checks have ended, and takes the breakers out of the metrics.
func (c *cluster) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
	for _, e := range c.endpoints {
		e.client.CloseIdleConnections()
		showBreaker(e.url, -1)
	}
}
