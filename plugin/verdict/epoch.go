package verdict

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	retiredMost = 8 // former generations remembered, so that a stale replica does not switch back and forth
	// A former one is believed again when the present one has been silent for so long: then it is no stale replica's, but a cluster
	// that went back to a store that it had left. Of one that is there each report hears.
	presentSilent = 30 * time.Second
	// An epoch that nobody has said for so long, while acknowledgements came, is given up: no replica is behind for an hour but all
	// are, and what was decided at that epoch and cached has ended. One wrong answer would else keep every later one out.
	epochSilent = time.Hour
)

// follower keeps the cache in step with the cluster's epoch (contract 1). A frame's epoch only raises the floor;
// what changed is told by acknowledgements, so the epoch that a batch carries is the one whose changes were applied.
type follower struct {
	cache *cache

	mu         sync.RWMutex
	generation string
	retired    []string
	applied    uint64
	heard      int64 // nanotime when an acknowledgement last said that applied is all there is
	behind     int64 // nanotime since when acknowledgements say less than was seen; 0: the last one did not

	said atomic.Int64 // nanotime when a frame last said the highest epoch seen, or a higher one

	present atomic.Int64           // nanotime when anything of the present generation last came
	model   atomic.Pointer[string] // that scored the latest frame
}

// admit takes the verdicts of a frame into the cache, those of an older epoch or a former generation left out.
func (f *follower) admit(answer *frame, now int64) {
	f.mu.RLock()
	if answer.generation != f.generation {
		f.mu.RUnlock()
		if !f.enter(answer.generation, answer.epoch, now) {
			return
		}
		f.mu.RLock()
	}
	defer f.mu.RUnlock()
	if answer.generation != f.generation {
		return
	}
	f.present.Store(now)
	f.cache.raise(answer.epoch)
	if answer.epoch >= f.cache.floor.Load() {
		f.said.Store(now)
	}
	if known := f.model.Load(); answer.model != "" && answer.epoch >= f.cache.floor.Load() && (known == nil || *known != answer.model) {
		model := answer.model // a copy: it would keep the whole frame
		f.model.Store(&model)
	}
	for _, v := range answer.verdicts {
		f.cache.put(v, now)
	}
}

// enter begins a new generation with an empty cache; false for one that was left before while the present one is heard.
func (f *follower) enter(generation string, epoch uint64, now int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if generation == f.generation {
		return true
	}
	if at := slices.Index(f.retired, generation); at >= 0 {
		if now-f.present.Load() < int64(presentSilent) {
			return false
		}
		f.retired = slices.Delete(f.retired, at, at+1)
	}
	if f.generation != "" {
		log.Infof("The cluster's store is another one: generation %.40q after %.40q", generation, f.generation)
		f.retired = append(f.retired, f.generation)
		f.retired = f.retired[max(0, len(f.retired)-retiredMost):]
	}
	f.generation, f.applied, f.behind = generation, epoch, 0
	f.present.Store(now)
	f.cache.clear(epoch)
	return true
}

// apply follows an acknowledgement; one goroutine at a time does. It tells whether the acknowledgement is as new as what is known, so
// that its directives count.
//
// The cache is gone through without the lock, for that takes longer than a query waits, and every frame would wait for it: with the
// floor raised, none brings what is to be dropped any more.
func (f *follower) apply(a *acknowledgement, now int64) bool {
	if !f.enter(*a.Generation, *a.Epoch, now) {
		return false
	}
	counts, news := f.accept(a, now)
	if !news {
		return counts
	}
	switch {
	case a.Changed == nil:
		f.cache.dropUnder(nil, *a.Epoch)
	case len(*a.Changed) > 0:
		f.cache.dropUnder(changedSet(*a.Changed), *a.Epoch)
	}
	if a.Refresh {
		f.cache.refresh(*a.Epoch, now)
	}
	return true
}

// accept takes over the epoch of an acknowledgement. It tells whether its directives count, and whether the cache has to follow it.
func (f *follower) accept(a *acknowledgement, now int64) (counts, news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *a.Generation != f.generation {
		return false, false
	}
	f.present.Store(now)
	if f.unsaid(*a.Epoch, now) {
		log.Warningf("Epoch %d was given up, which nobody has said for %s: the cluster says %d", f.cache.floor.Load(), epochSilent, *a.Epoch)
		f.applied, f.behind, f.heard = *a.Epoch, 0, now
		f.cache.clear(*a.Epoch)
		return true, false
	}
	if *a.Epoch < f.applied {
		return false, false
	}
	if *a.Epoch >= f.cache.floor.Load() { // else a frame of another replica was ahead of it: something changed that it did not tell
		f.heard = now
	}
	news = *a.Epoch > f.applied
	f.cache.raise(*a.Epoch)
	f.applied = *a.Epoch
	return true, news
}

// unsaid tells whether acknowledgements have said less than the highest epoch seen for epochSilent, this one included, and no
// frame has said as much.
func (f *follower) unsaid(epoch uint64, now int64) bool {
	switch {
	case epoch >= f.cache.floor.Load(): // which is never below applied
		f.behind = 0
	case f.behind == 0:
		f.behind = now
	}
	return f.behind != 0 && now-max(f.behind, f.said.Load()) >= int64(epochSilent)
}

// sweep has the cache drop what has expired and prolong what still holds.
func (f *follower) sweep(now int64) {
	f.mu.RLock()
	heard := f.heard
	f.mu.RUnlock()
	model := ""
	if known := f.model.Load(); known != nil {
		model = *known
	}
	f.cache.sweep(now, heard, model)
}

// position is the generation and the epoch whose changes have been applied.
func (f *follower) position() (string, uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.generation, f.applied
}

func changedSet(suffixes []string) map[string]struct{} {
	set := make(map[string]struct{}, len(suffixes))
	for _, suffix := range suffixes {
		set[string(normalise(nil, suffix))] = struct{}{}
	}
	return set
}
