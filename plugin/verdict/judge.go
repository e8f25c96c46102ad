package verdict

import (
	"cmp"
	"time"
)

// maxWaiting bounds the queries that wait for a verdict: beyond it they fall back as `busy`.
const maxWaiting = 16_384

// landed tells whether a judgement needs no more waiting, and settles it where its flight has come.
func (j *judgement) landed() bool {
	if j.flight == nil {
		return true
	}
	select {
	case <-j.flight.done:
		j.settle()
		return true
	default:
		return false
	}
}

func (j *judgement) settle() {
	j.verdict, j.reason, j.flight = j.flight.verdict, j.flight.reason, nil
}

// await waits until the judgement is there, the deadline has come, or the breakers of all endpoints have opened: what
// is in flight then will hardly come in time either. The flight goes on without its waiter.
func (e *engine) await(j *judgement, deadline time.Time) {
	if j.landed() {
		return
	}
	if e.waiting.Add(1) > maxWaiting {
		e.waiting.Add(-1)
		j.reason, j.flight = reasonBusy, nil
		return
	}
	defer e.waiting.Add(-1)
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-j.flight.done:
		j.settle()
	case <-e.cluster.hopeless.wait():
		if !j.landed() {
			j.reason, j.flight = reasonBreaker, nil
		}
	case <-timer.C:
		if !j.landed() {
			j.reason, j.flight = reasonTimeout, nil
		}
	}
}

// awaitAll waits for a query's own judgement and for its reply's targets, all within one deadline.
func (e *engine) awaitAll(own *judgement, targets []judgement, deadline time.Time) {
	e.await(own, deadline)
	for i := range targets {
		e.await(&targets[i], deadline)
	}
}

// decision is what is to be done with a query.
type decision struct {
	by      *verdict // whose action it is; nil: nobody's
	target  int      // its index among the targets, -1 for the query's own
	missing reason   // why a verdict that could have acted is not there
}

// decide weighs the query's own verdict and those of its reply's alias targets. A vetted benign name stands whatever
// it is an alias for. The model's verdict on a target only acts where all is set.
func decide(own *judgement, targets []judgement, all bool) decision {
	d := decision{target: -1, missing: own.reason}
	if v := own.verdict; v != nil {
		if v.action != passthru {
			d.by = v
			return d
		}
		if v.source == sourceBenignList {
			return d
		}
	}
	for i := range targets {
		v := targets[i].verdict
		switch {
		case v == nil:
			d.missing = cmp.Or(d.missing, targets[i].reason)
		case v.action != passthru && (all || v.source.listed()):
			d.by, d.target = v, i
			return d
		}
	}
	return d
}
