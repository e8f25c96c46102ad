package verdict

import (
	"crypto/tls"
	"fmt"
	"sync"
)

// registry holds the engines in use. A reload starts the new configuration before it stops the old one, so an
// engine that both use is never without a user, and survives.
type registry struct {
	mu      sync.Mutex
	engines map[engineConfig]*shared
}

type shared struct {
	engine *engine
	users  int
}

var engines = registry{engines: make(map[engineConfig]*shared)}

// acquire returns the engine of this configuration, started if it is the first use of it.
func (r *registry) acquire(config engineConfig, tlsConfig *tls.Config) (*engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.engines[config]
	if !ok {
		e, err := newEngine(config, tlsConfig)
		if err != nil {
			return nil, err
		}
		s = &shared{engine: e}
		r.engines[config] = s
	}
	s.users++
	return s.engine, nil
}

// release ends one use, and with the last one the engine.
func (r *registry) release(config engineConfig) {
	r.mu.Lock()
	s, ok := r.engines[config]
	last := false
	if ok {
		s.users--
		if last = s.users == 0; last {
			delete(r.engines, config)
		}
	}
	r.mu.Unlock()
	if last { // without the lock: it takes as long as the reports' last try
		s.engine.close()
	}
}

// closeAll ends every engine, for the end of the process: a reload that failed may have left a use behind.
func (r *registry) closeAll() {
	r.mu.Lock()
	left := r.engines
	r.engines = make(map[engineConfig]*shared)
	r.mu.Unlock()
	for _, s := range left {
		s.engine.close()
	}
}

// conflict says where two stanzas share an engine but not what it is made of.
func conflict(one, other engineConfig) error {
	if one.identity() != other.identity() || one == other {
		return nil
	}
	return fmt.Errorf("stanzas with equal endpoints, token and resolver (%s) share one engine: "+
		"expected equal tls, timeout, cache, frame and max_concurrent too", one.resolver)
}
