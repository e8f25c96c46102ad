package verdict

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	leastCapacity = 256
	shardCount    = 64              // few enough that all their locks stay in the processor's cache
	jitter        = 0.1             // of a verdict's life: those of one frame do not expire together
	refreshSpread = 1 * time.Minute // over which entries are asked again after a change of model or policy
	sweepCalls    = 16              // after which the whole cache was swept
	evictSample   = 5               // verdicts looked at to find one to evict; used ones are spared once
)

// cache holds verdicts by name: sharded, bounded, each with a life. It follows the cluster's epoch: no verdict
// decided below the highest epoch seen is taken in, and a list change drops what it may have changed.
//
// What changes a verdict is told with the epoch. So a verdict has two ends: unheard after the cluster was last heard, and its
// whole life, for what is not told. sweep moves the first on, up to the second, while the cluster is heard.
type cache struct {
	tables  atomic.Pointer[[shardCount]table] // the shards', for look-ups, which take no lock; a shard that grows puts another here
	seed    maphash.Seed
	unheard time.Duration
	most    int           // verdicts in a shard
	floor   atomic.Uint64 // verdicts below this epoch are not taken in
	swept   int           // shards so far; sweep's alone
	growing sync.Mutex
	shards  [shardCount]shard
	stats   struct{ evicted atomic.Uint64 }
}

// shard is the part of the cache that is changed under one lock.
type shard struct {
	sync.Mutex
	slots
}

var began = time.Now()

// nanotime is the monotonic time in nanoseconds, never zero; a step of the wall clock does not age the cache.
func nanotime() int64 { return int64(time.Since(began)) + 1 }

// zero is when nanotime was zero, in Unix milliseconds; each second it follows the wall clock.
var zero atomic.Int64

func setWall() { zero.Store(time.Now().UnixMilli() - nanotime()/int64(time.Millisecond)) }

// wallOf is a time of nanotime in Unix milliseconds: one reading of the clock does for cache and record of a query.
func wallOf(at int64) int64 { return zero.Load() + at/int64(time.Millisecond) }

func newCache(capacity int, unheard time.Duration) *cache {
	c := &cache{seed: maphash.MakeSeed(), unheard: unheard, most: max(1, (capacity+shardCount-1)/shardCount)}
	c.tables.Store(new([shardCount]table))
	for i := range c.shards {
		c.shards[i].table = make(table, 8)
		c.show(i)
	}
	return c
}

// hash is the one hash of a name that a look-up needs; the observations are sharded by it too.
func (c *cache) hash(name string) uint64 { return maphash.String(c.seed, name) }

// show lets look-ups see a shard's present table; its lock is held, or nobody has the cache yet.
func (c *cache) show(shard int) {
	c.growing.Lock()
	defer c.growing.Unlock()
	tables := *c.tables.Load()
	tables[shard] = c.shards[shard].table
	c.tables.Store(&tables)
}

// expect fetches the line of memory that get will need.
func (c *cache) expect(hash uint64) {
	t := c.tables.Load()[hash%shardCount]
	prefetch(uintptr(unsafe.Pointer(&t[t.home(hash)])))
}

// get returns the verdict on a name, or nil.
func (c *cache) get(hash uint64, name string, now int64) *verdict {
	_, v := c.tables.Load()[hash%shardCount].find(hash)
	if v == nil || v.name != name {
		if v = c.settled(hash); v == nil || v.name != name {
			return nil
		}
	}
	if v.expires.Load() <= now {
		return nil
	}
	if !v.used.Load() { // looked at first, for to write takes the line from the other cores
		v.used.Store(true)
	}
	return v
}

// settled is the verdict of a hash while nobody moves it.
func (c *cache) settled(hash uint64) *verdict {
	s := &c.shards[hash%shardCount]
	s.Lock()
	defer s.Unlock()
	_, v := s.table.find(hash)
	return v
}

// put takes a verdict in, unless it was decided below the highest epoch seen; it tells whether it did.
func (c *cache) put(v *verdict, now int64) bool {
	life := time.Duration(v.cacheTTL) * time.Second
	if life <= 0 {
		return false
	}
	share := 1 - jitter*rand.Float64()
	hash := c.hash(v.name)
	s := &c.shards[hash%shardCount]
	s.Lock()
	defer s.Unlock()
	// Under the lock: raise() moves the floor before it sweeps the shards, so what slips in below is swept.
	if v.epoch < c.floor.Load() {
		return false
	}
	if _, old := s.table.find(hash); s.used >= c.most && old == nil {
		s.evict()
		c.stats.evicted.Add(1)
	}
	v.ends = now + int64(share*float64(life))
	v.expires.Store(now + int64(share*float64(min(life, c.unheard))))
	size := len(s.table)
	if s.put(hash, v); len(s.table) != size {
		c.show(int(hash % shardCount))
	}
	return true
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
	c.each(func(s *shard) { s.keep(func(*verdict) bool { return false }) })
}

// dropUnder drops the verdicts decided below epoch whose name lies under a changed suffix; nil drops all of them.
func (c *cache) dropUnder(changed map[string]struct{}, epoch uint64) {
	c.each(func(s *shard) {
		s.keep(func(v *verdict) bool { return v.epoch >= epoch || changed != nil && !anySuffix(v.name, changed) })
	})
}

// refresh spreads the end of every verdict decided below epoch over the next minute, so that a change of model or
// policy is followed without asking everything at once.
func (c *cache) refresh(epoch uint64, now int64) {
	c.each(func(s *shard) {
		s.keep(func(v *verdict) bool {
			if v.epoch < epoch {
				v.ends = min(v.ends, now+rand.Int64N(int64(refreshSpread)))
				v.expires.Store(min(v.expires.Load(), v.ends))
			}
			return true
		})
	})
}

// sweep drops what has expired, so that memory follows the traffic down, and prolongs what has not: no change of it was told
// until heard. A model may be exchanged without a word, so a verdict of another than the present one is left to expire. Each call
// looks through another part of the cache, for each verdict has to be read for it; after sweepCalls calls all of it was.
func (c *cache) sweep(now, heard int64, model string) {
	spread := int64(jitter * float64(c.unheard))
	earliest := heard + int64(c.unheard) - spread
	for range shardCount / sweepCalls {
		s := &c.shards[c.swept%shardCount]
		c.swept++
		s.Lock()
		s.keep(func(v *verdict) bool {
			expires := v.expires.Load()
			if expires <= now {
				return false
			}
			if expires < earliest && (v.source != sourceModel || v.model == model) {
				v.expires.Store(min(v.ends, earliest+rand.Int64N(spread)))
			}
			return true
		})
		s.Unlock()
	}
}

// size is the number of verdicts, those that expired and were not swept yet included.
func (c *cache) size() (n int) {
	c.each(func(s *shard) { n += s.used })
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
