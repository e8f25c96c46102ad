package verdict

import (
	"sync"
	"time"
)

const (
	openAfter      = 3 // frames in a row that failed or came too late
	probeFirst     = 200 * time.Millisecond
	probeMost      = 800 * time.Millisecond // so that a cluster that is back is used within a second
	retryAfterMost = 1 * time.Minute        // a longer Retry-After is cut: one wrong header must not end protection
)

// breaker keeps questions from an endpoint that fails or is slow. It opens after openAfter bad frames in a row, or
// at once when the endpoint says that it will not answer; only a good probe closes it.
type breaker struct {
	mu    sync.Mutex
	bad   int // in a row
	sick  int // of them, health checks
	open  bool
	cause reason
	pause time.Duration // until the next probe
}

// blocked returns why the endpoint must not be asked, or reasonNone.
func (b *breaker) blocked() reason {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return reasonNone
	}
	return b.cause
}

// good notes a frame that was answered in time.
func (b *breaker) good() {
	b.mu.Lock()
	b.bad, b.sick = 0, 0
	b.mu.Unlock()
}

// checked notes a health check. A good one takes back what checks before it counted, not what frames did: an endpoint that is
// well may answer them too late all the same. One that failed counts with `failed`, as a frame does.
func (b *breaker) checked(well bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if well {
		b.bad, b.sick = b.bad-b.sick, 0
	} else {
		b.sick++
	}
}

// failed notes a bad frame and tells whether it opened the breaker. A wrong token and an overload open it at once,
// for as long as the endpoint asked (0: the usual pause), and are passed on as the cause.
func (b *breaker) failed(why reason, retryAfter time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad++
	told := why == reasonUnauthorised || why == reasonOverload && retryAfter > 0
	if b.open || b.bad < openAfter && !told {
		return false
	}
	b.open, b.cause, b.pause = true, reasonBreaker, probeFirst
	if told {
		b.cause, b.pause = why, max(probeFirst, min(retryAfter, retryAfterMost))
	}
	return true
}

// probed notes the outcome of a probe; it returns the pause before the next one, or 0 when the breaker has closed.
func (b *breaker) probed(why reason, retryAfter time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why == reasonNone {
		b.open, b.bad, b.sick, b.cause = false, 0, 0, reasonNone
		return 0
	}
	b.pause = max(min(2*b.pause, probeMost), min(retryAfter, retryAfterMost))
	b.cause = reasonBreaker
	if why == reasonUnauthorised || why == reasonOverload {
		b.cause = why
	}
	return b.pause
}

func (b *breaker) firstPause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause
}
