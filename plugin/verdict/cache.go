package verdict

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardCount    = 256
	jitter        = 0.1             // of an entry's life: verdicts of one frame do not expire together
	refreshSpread = 1 * time.Minute // over which entries are asked again after a change of model or policy
	evictSample   = 5               // entries looked at to find one to evict
)

// cache holds verdicts by name: sharded, bounded, each with a life. It follows the cluster's epoch: no verdict
// decided below the highest epoch seen is taken in, and a list change drops what it may have changed.
type cache struct {
	seed   maphash.Seed
	maxTTL time.Duration
	floor  atomic.Uint64 // verdicts below this epoch are not taken in
	shards [shardCount]shard
	stats  struct{ evicted atomic.Uint64 }
}

type shard struct {
	sync.RWMutex
	entries  map[uint64]entry
	capacity int
	_        [64]byte // shards do not share a cache line
}

type entry struct {
	verdict *verdict
	expires int64 // nanoseconds of the monotonic clock, see nanotime
}

var began = time.Now()

// nanotime is the monotonic time in nanoseconds, never zero; a step of the wall clock does not age the cache.
func nanotime() int64 { return int64(time.Since(began)) + 1 }

// zero is when nanotime was zero, in Unix milliseconds; each second it follows the wall clock.
var zero atomic.Int64

func setWall() { zero.Store(time.Now().UnixMilli() - nanotime()/int64(time.Millisecond)) }

// wallOf is a time of nanotime in Unix milliseconds: one reading of the clock does for cache and record of a query.
func wallOf(at int64) int64 { return zero.Load() + at/int64(time.Millisecond) }

func newCache(capacity int, maxTTL time.Duration) *cache {
	c := &cache{seed: maphash.MakeSeed(), maxTTL: maxTTL}
	for i := range c.shards {
		c.shards[i].entries = make(map[uint64]entry)
		c.shards[i].capacity = max(1, (capacity+shardCount-1)/shardCount)
	}
	return c
}

// hash is the one hash of a name that a look-up needs; the observations are sharded by it too.
func (c *cache) hash(name []byte) uint64 { return maphash.Bytes(c.seed, name) }

// get returns the verdict on a name, or nil.
func (c *cache) get(hash uint64, name []byte, now int64) *verdict {
	s := &c.shards[hash%shardCount]
	s.RLock()
	e, ok := s.entries[hash]
	s.RUnlock()
	if !ok || e.expires <= now || e.verdict.name != string(name) {
		return nil
	}
	return e.verdict
}

// put takes a verdict in, unless it was decided below the highest epoch seen; it tells whether it did.
func (c *cache) put(v *verdict, now int64) bool {
	life := min(time.Duration(v.cacheTTL)*time.Second, c.maxTTL)
	if life <= 0 {
		return false
	}
	life -= time.Duration(rand.Float64() * jitter * float64(life))
	hash := maphash.String(c.seed, v.name)
	s := &c.shards[hash%shardCount]
	s.Lock()
	defer s.Unlock()
	// Under the lock: raise() moves the floor before it sweeps the shards, so what slips in below is swept.
	if v.epoch < c.floor.Load() {
		return false
	}
	if _, ok := s.entries[hash]; !ok && len(s.entries) >= s.capacity {
		s.evict()
		c.stats.evicted.Add(1)
	}
	s.entries[hash] = entry{v, now + int64(life)}
	return true
}

// evict removes the one of a few random entries that would expire first.
func (s *shard) evict() {
	var victim uint64
	first, seen := int64(0), 0
	for hash, e := range s.entries {
		if seen == 0 || e.expires < first {
			victim, first = hash, e.expires
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(s.entries, victim)
}

// raise moves the floor up to epoch.
func (c *cache) raise(epoch uint64) {
	for {
		old := c.floor.Load()
		if epoch <= old || c.floor.CompareAndSwap(old, epoch) {
			return
		}
	}
}

// clear drops everything and sets the floor, for a store that is another one.
func (c *cache) clear(floor uint64) {
	c.floor.Store(floor)
	c.each(func(s *shard) { clear(s.entries) })
}

// dropUnder drops the entries decided below epoch whose name lies under a changed suffix; nil drops all of them.
func (c *cache) dropUnder(changed map[string]struct{}, epoch uint64) {
	c.each(func(s *shard) {
		for hash, e := range s.entries {
			if e.verdict.epoch < epoch && (changed == nil || anySuffix(e.verdict.name, changed)) {
				delete(s.entries, hash)
			}
		}
	})
}

// refresh spreads the end of every entry decided below epoch over the next minute, so that a change of model or
// policy is followed without asking everything at once.
func (c *cache) refresh(epoch uint64, now int64) {
	c.each(func(s *shard) {
		for hash, e := range s.entries {
			if end := now + rand.Int64N(int64(refreshSpread)); e.verdict.epoch < epoch && end < e.expires {
				e.expires = end
				s.entries[hash] = e
			}
		}
	})
}

// sweep drops what has expired, so that memory follows the traffic down; it returns the number of entries left.
func (c *cache) sweep(now int64) (n int) {
	c.each(func(s *shard) {
		for hash, e := range s.entries {
			if e.expires <= now {
				delete(s.entries, hash)
			}
		}
		n += len(s.entries)
	})
	return n
}

func (c *cache) each(f func(*shard)) {
	for i := range c.shards {
		s := &c.shards[i]
		s.Lock()
		f(s)
		s.Unlock()
	}
}
