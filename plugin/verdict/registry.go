package verdict

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"
)

// registry holds the engines in use. A reload starts the new configuration before it stops the old one, so an
// engine that both use is never without a user, and survives.
type registry struct {
	mu      sync.Mutex
	engines map[engineConfig]*shared
}

type shared struct {
	engine *engine
	uses   []use
}

// use is a stanza's of an engine.
type use struct {
	by   *corefile
	mode mode
}

// corefile is what the stanzas of one Corefile have made so far.
type corefile struct {
	configs    []engineConfig
	restarting atomic.Bool // a reload is on its way
}

// follow has the engines go with the Corefile: in a reload as soon as the next one serves, at the end of the process after the
// shutdown of the other plugins, for until then *health* may keep the server at work (lameduck).
func (by *corefile) follow(c *caddy.Controller) {
	release := func() error {
		engines.release(func(other *corefile) bool { return other == by })
		return nil
	}
	c.OnRestart(func() error { by.restarting.Store(true); return nil })
	c.OnRestartFailed(func() error { by.restarting.Store(false); return engines.releaseFailed() })
	for _, serving := range caddy.Instances() {
		if corefileOf(serving) == nil { // no stanza of its own would hear that this Corefile did not start
			serving.OnRestartFailed = append(serving.OnRestartFailed, engines.releaseFailed)
		}
	}
	c.OnShutdown(func() error {
		if by.restarting.Load() {
			return release()
		}
		return nil
	})
	c.OnFinalShutdown(release)
}

// corefileKey is the key of a corefile in its caddy instance.
type corefileKey struct{}

var engines = registry{engines: make(map[engineConfig]*shared)}

// acquire returns the engine of this configuration, started if it is the first use of it.
func (r *registry) acquire(by *corefile, config engineConfig, m mode, tlsConfig *tls.Config) (*engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.engines[config]
	if !ok {
		e, err := newEngine(config, tlsConfig)
		if err != nil {
			return nil, err
		}
		s = &shared{engine: e}
		for before, other := range r.engines { // in a reload: the same cluster's engine, of other options
			if before.identity() == config.identity() {
				e.inherit(other.engine)
			}
		}
		r.engines[config] = s
	}
	s.uses = append(s.uses, use{by, m})
	s.follow()
	return s.engine, nil
}

// follow tells the engine whether any of its stanzas enforces.
func (s *shared) follow() {
	s.engine.enforcing.Store(slices.ContainsFunc(s.uses, func(u use) bool { return u.mode == modeEnforce }))
}

// release ends what Corefiles use, and the engines that nobody uses any more.
func (r *registry) release(ended func(*corefile) bool) {
	r.mu.Lock()
	var unused []*engine
	for config, s := range r.engines {
		s.uses = slices.DeleteFunc(s.uses, func(u use) bool { return ended(u.by) })
		if len(s.uses) == 0 {
			delete(r.engines, config)
			unused = append(unused, s.engine)
		} else {
			s.follow()
		}
	}
	r.mu.Unlock()
	for _, e := range unused { // without the lock: it takes as long as the reports' last try
		e.close()
	}
}

// releaseFailed ends what a Corefile has begun to use that did not start: caddy discards it without a word.
func (r *registry) releaseFailed() error {
	var serving []*corefile
	for _, instance := range caddy.Instances() {
		serving = append(serving, corefileOf(instance))
	}
	r.release(func(by *corefile) bool { return !slices.Contains(serving, by) })
	return nil
}

// corefileOf is the Corefile of a caddy instance, nil where it has no stanza of the plugin.
func corefileOf(instance *caddy.Instance) *corefile {
	instance.StorageMu.RLock()
	defer instance.StorageMu.RUnlock()
	by, _ := instance.Storage[corefileKey{}].(*corefile)
	return by
}

// closeAll ends every engine, for the end of the process.
func (r *registry) closeAll() { r.release(func(*corefile) bool { return true }) }

// conflict says where two stanzas share an engine but not what it is made of.
func conflict(one, other engineConfig) error {
	if one.identity() != other.identity() || one == other {
		return nil
	}
	return fmt.Errorf("stanzas with equal endpoints, token and resolver (%s) share one engine: "+
		"expected equal tls, timeout, cache, frame and max_concurrent too", one.resolver)
}
