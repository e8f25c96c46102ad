package verdict

import (
	"sync"
	"sync/atomic"
)

// hopeless tells those who wait for a verdict when every endpoint has failed or is slow.
type hopeless struct {
	mu   sync.Mutex
	is   bool
	told atomic.Pointer[chan struct{}] // closed while it is
}

// wait returns a channel that is closed once, and as long as, there is no hope.
func (h *hopeless) wait() <-chan struct{} { return *h.told.Load() }

// follow takes over what the breakers say. An endpoint that answers that it is full or that the token is wrong does
// answer: what is in flight to it may still come.
func (h *hopeless) follow(c *cluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := c.blocked() == reasonBreaker; now != h.is {
		h.set(now)
	}
}

func (h *hopeless) set(now bool) {
	h.is = now
	if now {
		close(*h.told.Load())
		return
	}
	hope := make(chan struct{})
	h.told.Store(&hope)
}
