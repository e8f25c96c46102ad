package verdict

import (
	"sync"
	"time"
)

// flight is one name on its way to the cluster and all who wait for it. verdict and reason are set before done is
// closed; the verdict is nil where a reason says why.
type flight struct {
	name    string
	done    chan struct{}
	verdict *verdict
	reason  reason
}

// framer gathers names into frames. A frame leaves at once when nothing is in flight, else when it is full or its
// first name has waited long enough; equal names in flight are one question. At most limit are in flight; one
// more may fill meanwhile, and beyond that a name is refused: there is no queue.
type framer struct {
	send   func([]*flight) // asks for a frame and resolves its flights
	cached func(name string) *verdict
	size   int
	wait   time.Duration
	limit  int

	mu       sync.Mutex
	flights  map[string]*flight
	filling  []*flight
	due      bool // the first name of filling has waited long enough
	timer    *time.Timer
	inFlight int
	closed   bool
	sending  sync.WaitGroup
}

func newFramer(size int, wait time.Duration, limit int, send func([]*flight), cached func(string) *verdict) *framer {
	f := &framer{send: send, cached: cached, size: size, wait: wait, limit: limit, flights: make(map[string]*flight)}
	f.timer = time.AfterFunc(time.Hour, f.tick)
	f.timer.Stop()
	return f
}

// ask returns the flight that will bring the verdict on a name, or the verdict itself if it came meanwhile, or the
// reason why the cluster is not asked.
func (f *framer) ask(name string) (*flight, *verdict, reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if waiting, ok := f.flights[name]; ok {
		return waiting, nil, reasonNone
	}
	if f.closed {
		return nil, nil, reasonShutdown
	}
	// A flight leaves the table only after its verdict is in the cache, so a second look here makes sure that
	// equal names at the same time are one question.
	if v := f.cached(name); v != nil {
		return nil, v, reasonNone
	}
	if len(f.filling) >= f.size {
		return nil, nil, reasonBusy
	}
	fl := &flight{name: name, done: make(chan struct{})}
	f.flights[name] = fl
	f.filling = append(f.filling, fl)
	switch {
	case f.inFlight == 0, len(f.filling) >= f.size, f.wait == 0:
		f.due = true
	case len(f.filling) == 1:
		f.timer.Reset(f.wait)
	}
	f.leave()
	return fl, nil, reasonNone
}

func (f *framer) tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = true
	f.leave()
}

// leave sends the filling frame if it is due and a place is free. The caller holds the lock.
func (f *framer) leave() {
	if !f.due || len(f.filling) == 0 || f.inFlight >= f.limit {
		return
	}
	frame := f.filling
	f.filling, f.due = nil, false
	f.timer.Stop()
	f.inFlight++
	f.sending.Go(func() { f.fly(frame) })
}

func (f *framer) fly(frame []*flight) {
	f.send(frame)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range frame {
		delete(f.flights, fl.name)
		close(fl.done)
	}
	f.inFlight--
	if f.inFlight == 0 {
		f.due = true // nothing in flight: what has gathered leaves at once
	}
	f.leave()
}

// close refuses new names and fails those that have not left; it returns when the last frame has landed.
func (f *framer) close() {
	f.mu.Lock()
	f.closed = true
	f.timer.Stop()
	for _, fl := range f.filling {
		fl.reason = reasonShutdown
		delete(f.flights, fl.name)
		close(fl.done)
	}
	f.filling = nil
	f.mu.Unlock()
	f.sending.Wait()
}
