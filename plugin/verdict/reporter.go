package verdict

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	reportEvery  = 1 * time.Second
	reportFirst  = 2 * time.Second  // of one request, at first: the connection may be dead, and the reply brings pause and lists
	reportLimit  = 10 * time.Second // of one request, where the cluster is slow: it answers when the batch is on disk
	retryPause   = 1 * time.Second
	flushLimit   = 2 * time.Second // at shutdown
	flushPause   = 200 * time.Millisecond
	maxNotedRows = 65_536 // summed within a second; what would need more is discarded and counted
	maxSpares    = 4      // buffers of maxBatchOctets kept for later batches
)

// reporter sends what queries became of: numbered batches, one at a time, kept until acknowledged, within a bound, the
// oldest discarded first. What is discarded is counted in the next batch, so that for each boot the sum of `seen` over
// the batches is the number of queries. Therefore the batch that was sent and not acknowledged is never discarded: if it
// did arrive, its queries would be counted twice. Sent again, it is the same batch.
//
// A batch gets its number when it is first sent: the next one if it says something, else that of the batch before. One is
// sent once the last was acknowledged, and what has a number is not discarded. So a number in the log proves that every
// lower one was on disk, and a gap between two is a batch that the log lost.
type reporter struct {
	cluster *cluster
	notes   *observations
	head    func() head
	told    func(*acknowledgement)
	boot    string
	turn    int // of the endpoints, where no breaker is closed

	patience time.Duration // what one request may take: for whoever sends, one at a time

	mu      sync.Mutex
	kept    []*batch
	octets  int
	number  uint64
	carried uint64   // queries of discarded batches, not yet in a batch
	spares  [][]byte // rows' buffers of acknowledged batches, used again: fresh ones would be most of the garbage
	wake    chan struct{}
}

func newReporter(c *cluster, head func() head, told func(*acknowledgement)) *reporter {
	var boot [16]byte
	rand.Read(boot[:]) // never fails
	return &reporter{
		cluster: c, notes: newObservations(maxNotedRows), head: head, told: told,
		boot: hex.EncodeToString(boot[:]), wake: make(chan struct{}, 1), patience: reportFirst,
	}
}

// cut makes batches of what was noted since the last cut, or lets the newest grow, and drops the oldest beyond the bound.
func (r *reporter) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.open()
	told := min(r.carried, maxDiscarded)
	now.discarded += told
	r.carried -= told
	var hits uint64
	r.notes.cut(func(noted *rows, discarded uint64) {
		now.discarded += discarded
		for row, story := range noted.all() {
			if now.count == maxRows || len(now.rows) >= maxBatchOctets {
				r.keep(now)
				now = r.fresh()
			}
			if now.count > 0 {
				now.rows = append(now.rows, ',')
			}
			now.rows = appendRow(now.rows, row, story)
			now.count++
			now.queries += uint64(row.count)
			hits += uint64(row.count - story.misses)
		}
	})
	cacheHits.Add(float64(hits))
	// An empty batch says that the resolver lives and asks what changed; one that waits to be sent does so too.
	if now.count > 0 || now.discarded > 0 || len(r.kept) == 0 {
		r.keep(now)
	} else {
		r.release(now)
	}
	for lost := r.spare(); lost != nil && r.octets > maxKeptOctets; lost = r.spare() {
		r.carried += lost.queries + lost.discarded
		discardedTotal.Add(float64(lost.queries))
		r.drop(lost)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// open is the batch to be filled: the newest, where it was never sent and is not full, else a fresh one; the caller holds the lock. So
// what was kept in a day without the cluster is not 86,400 reports, which each resolver would send as fast as it can once the cluster is back.
func (r *reporter) open() *batch {
	if last := len(r.kept) - 1; last >= 0 {
		if b := r.kept[last]; !b.sent && b.count < maxRows && len(b.rows) < grownOctets && b.queries+b.discarded < maxDiscarded/2 {
			r.drop(b)
			return b
		}
	}
	return r.fresh()
}

// fresh is an empty batch, with a buffer that was used before if there is one; the caller holds the lock.
func (r *reporter) fresh() *batch {
	last := len(r.spares) - 1
	if last < 0 {
		return &batch{}
	}
	b := &batch{rows: r.spares[last]}
	r.spares = r.spares[:last]
	return b
}

// release takes back the buffer of a batch that is done with; the caller holds the lock.
func (r *reporter) release(b *batch) {
	if cap(b.rows) > 0 && b.readers.Load() == 0 && len(r.spares) < maxSpares {
		r.spares = append(r.spares, b.rows[:0])
	}
}

func (r *reporter) keep(b *batch) {
	r.kept = append(r.kept, b)
	r.octets += len(b.rows)
}

// spare is the oldest batch that may be discarded: it was never sent, and it is not the newest.
func (r *reporter) spare() *batch {
	for _, b := range r.kept[:max(0, len(r.kept)-1)] {
		if !b.sent {
			return b
		}
	}
	return nil
}

// drop forgets a batch; the caller holds the lock.
func (r *reporter) drop(b *batch) {
	if i := slices.Index(r.kept, b); i >= 0 {
		r.kept = slices.Delete(r.kept, i, i+1)
		r.octets -= len(b.rows)
	}
}

// next is the batch to be sent.
func (r *reporter) next() *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) == 0 {
		return nil
	}
	b := r.kept[0]
	if !b.sent {
		if b.count > 0 || b.discarded > 0 || r.number == 0 {
			r.number++
		}
		b.number, b.sent = r.number, true
	}
	return b
}

// flush sends what is kept, oldest first, until all is acknowledged or one fails.
func (r *reporter) flush(ctx context.Context) error {
	for b := r.next(); b != nil; b = r.next() {
		err := r.send(ctx, b)
		if unacceptable(err) && r.hollow(b) {
			log.Errorf("Report %d is not what the cluster takes; its outcomes are discarded and counted: %v", b.number, err)
			continue
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.drop(b)
		r.release(b)
		r.mu.Unlock()
	}
	return nil
}

// unacceptable tells whether a batch will never be taken as it is. Sent again and again, it would keep all later ones and
// the replies to them, which bring the lists' changes, from passing.
func unacceptable(err error) bool {
	var f *failure
	return errors.As(err, &f) && (f.status == http.StatusBadRequest || f.status == http.StatusRequestEntityTooLarge)
}

// hollow gives a batch's rows up; false where there were none. Its number stays: if an earlier try did arrive, the
// cluster knows this one for it.
func (r *reporter) hollow(b *batch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.count == 0 {
		return false
	}
	discardedTotal.Add(float64(b.queries))
	r.octets -= len(b.rows)
	b.hollow()
	return true
}

func (r *reporter) send(ctx context.Context, b *batch) error {
	e := r.cluster.pick(nil)
	if e == nil { // no breaker is closed: reports have their own pace, and find out too
		r.turn++ // its own: pick's goes on with each call, and of two endpoints one would never have its turn
		e = r.cluster.endpoints[r.turn%len(r.cluster.endpoints)]
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	id, started := r.cluster.nextID(), time.Now()
	reply, err := e.call(ctx, id, http.MethodPost, observationsPath, *r.cluster.token.Load(), b.body(r.head()), maxAckOctets)
	late := reasonOf(err) == reasonTimeout
	r.learn(time.Since(started), late)
	if late {
		e.client.CloseIdleConnections() // dead too, perhaps: each would cost a report
	}
	if err != nil {
		return err
	}
	a, err := decodeAcknowledgement(reply)
	if err != nil {
		return &failure{request: id, reason: reasonMalformed, cause: err}
	}
	r.told(a)
	return nil
}

// learn sets how long the next request may take: a connection that is dead is left soon, and a cluster that is slow is not sent
// the same again and again.
func (r *reporter) learn(took time.Duration, late bool) {
	if late {
		r.patience = min(2*r.patience, reportLimit)
	} else {
		r.patience = min(max(reportFirst, 4*took), reportLimit)
	}
}

// run sends whenever there is something, and pauses after a failure as long as the cluster asks.
func (r *reporter) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		err := r.flush(ctx)
		reportsTotal.WithLabelValues(resultOf(reasonOf(err), true)).Inc()
		if err == nil {
			failing = false
			continue
		}
		if !failing && ctx.Err() == nil {
			log.Warningf("Reports are not acknowledged; they are kept: %v", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(max(retryPause, retryAfterOf(err))):
		}
	}
}

// unsaid is how many queries are in what is kept.
func (r *reporter) unsaid() (queries uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.kept {
		queries += b.queries + b.discarded
	}
	return queries + r.carried
}

// pending is the octets and batches kept, for metrics.
func (r *reporter) pending() (octets, batches int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.octets, len(r.kept)
}
