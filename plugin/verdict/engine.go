package verdict

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// engine is what equal stanzas share: the cluster's endpoints, the verdicts, the frames and the reports.
type engine struct {
	config   engineConfig
	cache    *cache
	follower *follower
	cluster  *cluster
	framer   *framer
	reporter *reporter

	directives atomic.Pointer[directives]
	enforcing  atomic.Bool // any stanza's mode is enforce
	answered   atomic.Bool // the cluster has answered at least once
	waiting    atomic.Int64
	tokenFault string // why the token file could not be read the last time; told once

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	watching sync.WaitGroup // queries of monitor mode whose record waits for a verdict
}

// newEngine starts an engine. It fails where the token file cannot be used.
func newEngine(config engineConfig, tlsConfig *tls.Config) (*engine, error) {
	token, err := readToken(config.tokenFile)
	if err != nil {
		return nil, err
	}
	setWall()
	ctx, cancel := context.WithCancel(context.Background())
	e := &engine{config: config, cancel: cancel}
	e.cache = newCache(config.capacity, config.unheard)
	e.follower = &follower{cache: e.cache}
	e.directives.Store(&directives{})
	e.cluster = newCluster(ctx, config.timeout, e.take)
	e.cluster.token.Store(&token)
	for _, url := range config.urls() {
		e.cluster.endpoints = append(e.cluster.endpoints, newEndpoint(url, tlsConfig, config.maxConcurrent+besideFrames))
		showBreaker(url, 1)
	}
	e.framer = newFramer(config.frame, config.wait, config.maxConcurrent, e.ask, e.lookup)
	e.reporter = newReporter(e.cluster, e.head, e.told)
	e.cluster.boot = e.reporter.boot[:8]
	if config.silent {
		return e, nil
	}
	e.reporter.cut() // an empty batch first: it brings the epoch, the overrides and whether all is paused
	e.running.Go(func() { e.reporter.run(ctx) })
	e.running.Go(func() { e.tick(ctx) })
	return e, nil
}

// ask brings a frame of names from the cluster and settles their flights.
func (e *engine) ask(flights []*flight) {
	names := make([]string, len(flights))
	for i, fl := range flights {
		names[i] = fl.name
	}
	frameNames.Observe(float64(len(names)))
	answer, err := e.cluster.ask(names)
	if err != nil {
		for _, fl := range flights {
			fl.reason = reasonOf(err)
		}
		log.Debugf("Frame of %d names: %v", len(names), err)
		return
	}
	e.take(answer)
	for i, fl := range flights {
		fl.verdict = answer.verdicts[i]
	}
}

func (e *engine) take(answer *frame) {
	e.answered.Store(true)
	e.follower.admit(answer, nanotime())
}

// lookup finds a verdict in the cache.
func (e *engine) lookup(name string) *verdict {
	return e.cache.get(e.cache.hash(name), name, nanotime())
}

// question asks the cluster for a name that the cache has not: its flight, or the verdict, or the reason why not.
func (e *engine) question(name string) (*flight, *verdict, reason) {
	if why := e.cluster.blocked(); why != reasonNone {
		e.cluster.want(name)
		return nil, nil, why
	}
	return e.framer.ask(name)
}

func (e *engine) head() head {
	generation, epoch := e.follower.position()
	m := modeMonitor
	if e.enforcing.Load() {
		m = modeEnforce
	}
	return head{
		Resolver: e.config.resolver, Boot: e.reporter.boot, Epoch: epoch, Generation: generation, Mode: m.String(),
		Version: Version,
	}
}

// told follows what an acknowledgement says.
func (e *engine) told(a *acknowledgement) {
	e.answered.Store(true)
	if !e.follower.apply(a, nanotime()) {
		return
	}
	d := newDirectives(a)
	old := e.directives.Swap(d)
	if d.wrong != "" && d.wrong != old.wrong {
		log.Warningf("Of the cluster's overrides one is left out: %s", d.wrong)
	}
	if old.paused != d.paused {
		log.Infof("Paused by the cluster: %t", d.paused)
	}
}

// inherit has an engine that has heard nothing yet begin with the pause and the overrides that another heard.
func (e *engine) inherit(other *engine) {
	own, heard := e.directives.Load(), other.directives.Load()
	if own.clients == nil && e.directives.CompareAndSwap(own, heard) && heard.paused {
		log.Info("Paused by the cluster, as before the reload")
	}
}

// beside runs f in a goroutine that close waits for; at the end of the engine, in the caller's.
func (e *engine) beside(f func()) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		f()
		return
	}
	e.watching.Go(f)
	e.mu.Unlock()
}

// tick does each second what time alone asks for.
func (e *engine) tick(ctx context.Context) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		setWall()
		e.reporter.cut()
		e.renewToken()
		e.gauge()
		e.cluster.check()
	}
}

// gauge shows the engine's state as metrics.
func (e *engine) gauge() {
	octets, batches := e.reporter.pending()
	e.follower.sweep(nanotime())
	showState(e, &state{e.cache.size(), octets, batches})
	cacheEvictions.Add(float64(e.cache.stats.evicted.Swap(0)))
	discardedTotal.Add(float64(e.reporter.notes.discarded.Swap(0)))
}

// close ends the engine: names that have not left fail as `shutdown`, frames in flight land, and what was noted is
// sent if the cluster takes it within flushLimit.
func (e *engine) close() {
	stop := time.AfterFunc(flushLimit, e.cancel)
	e.framer.close()
	stop.Stop()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.watching.Wait()
	e.cancel()
	e.running.Wait()
	if !e.config.silent {
		e.flush()
		showState(e, nil)
	}
	e.cluster.close()
}

// flush sends what was noted last, if the cluster takes it in time. It may be another endpoint that does.
func (e *engine) flush() {
	e.reporter.cut()
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	err := e.reporter.flush(ctx)
	for err != nil && e.reporter.unsaid() > 0 {
		select {
		case <-ctx.Done():
			octets, batches := e.reporter.pending()
			log.Errorf("%d batches (%d octets) of reports are lost with this shutdown: %v", batches, octets, err)
			return
		case <-time.After(flushPause):
		}
		if again := e.reporter.flush(ctx); again == nil || ctx.Err() == nil {
			err = again // else only that the time is over
		}
	}
}

// renewToken follows the token file, so that a token is replaced without a restart.
func (e *engine) renewToken() {
	token, err := readToken(e.config.tokenFile)
	if err != nil {
		if e.tokenFault != err.Error() {
			e.tokenFault = err.Error()
			log.Warningf("The token read before is used on: %v", err)
		}
		return
	}
	e.tokenFault = ""
	if token != *e.cluster.token.Swap(&token) {
		log.Infof("%s has another token", e.config.tokenFile)
	}
}

func readToken(path string) (string, error) {
	if path == "" {
		return "", errors.New("no token file: expected `token FILE`")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token file %s: expected one line of printable characters", path)
	}
	return token, nil
}
