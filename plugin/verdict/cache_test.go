package verdict

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func named(name string, epoch uint64, ttl uint32) *verdict {
	v := &verdict{origin: &origin{epoch: epoch}, cacheTTL: ttl}
	v.call(name)
	return v
}

func has(c *cache, name string, now int64) bool {
	return c.get(c.hash(name), name, now) != nil
}

func TestCacheKeepsForTheTTLLessTheJitter(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	for i := range 200 {
		c.put(named(fmt.Sprintf("n%d.example.org", i), 1, 100), 0)
	}
	early, alive := 0, 0
	for i := range 200 {
		name := fmt.Sprintf("n%d.example.org", i)
		if !has(c, name, int64(89*time.Second)) {
			early++
		}
		if has(c, name, int64(95*time.Second)) {
			alive++
		}
		if has(c, name, int64(100*time.Second)) {
			t.Errorf("%s after its TTL", name)
		}
	}
	if early > 0 {
		t.Errorf("%d gone before nine tenths of the TTL", early)
	}
	if alive == 0 || alive == 200 {
		t.Errorf("%d of 200 alive half way through the jitter: they expire together", alive)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(shardCount*4, time.Hour)
	for i := range 20_000 {
		c.put(named(fmt.Sprintf("n%d.example.org", i), 1, 100), 0)
	}
	if n := c.size(); n > shardCount*4 {
		t.Errorf("%d entries, expected at most %d", n, shardCount*4)
	}
	if c.stats.evicted.Load() == 0 {
		t.Error("no eviction was counted")
	}
}

// Whatever is put, evicted, dropped and swept, what is in the cache is found, and nothing else is.
func TestTheTableFindsWhatItHolds(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	s := slots{table: make(table, 8)}
	held := map[uint64]*verdict{}
	for range 20_000 {
		hash := uint64(draw.IntN(300))<<32 | uint64(draw.IntN(3))<<40 // many have one home
		switch draw.IntN(4) {
		case 0, 1:
			v := new(verdict)
			v.expires.Store(int64(draw.IntN(100)))
			s.put(hash, v)
			held[hash] = v
		case 2:
			s.keep(func(v *verdict) bool { return v != held[hash] })
			delete(held, hash)
		default:
			if len(held) < 100 {
				continue
			}
			limit := int64(draw.IntN(100))
			s.keep(func(v *verdict) bool { return v.expires.Load() >= limit })
			for hash, v := range held {
				if v.expires.Load() < limit {
					delete(held, hash)
				}
			}
		}
		if s.used != len(held) || 2*s.used > len(s.table) {
			t.Fatalf("%d of %d slots used, expected %d", s.used, len(s.table), len(held))
		}
		if draw.IntN(20) == 0 {
			for hash := range uint64(300 * 4) {
				hash = hash%300<<32 | hash/300<<40
				if _, got := s.table.find(hash); got != held[hash] {
					t.Fatalf("%x: %v, expected %v", hash, got, held[hash])
				}
			}
		}
	}
	for s.used > 0 {
		s.evict()
	}
	for i := range s.table {
		if s.table[i].verdict.Load() != nil {
			t.Errorf("slot %d is still used", i)
		}
	}
}

// What every query touches of the tables lies in one line of the processor's cache, with the word before it that the runtime may put.
func TestHotPartsFitALine(t *testing.T) {
	if strconv.IntSize != 64 {
		t.Skip("the lines are laid out for 64 bits")
	}
	for what, end := range map[string]uintptr{
		"a verdict": unsafe.Offsetof(verdict{}.room) + unsafe.Sizeof(verdict{}.room), "a row": 8 + unsafe.Offsetof(row{}.count) + 4,
		"a shard of the observations": 8 + unsafe.Offsetof(observationShard{}.discarded),
	} {
		if end > 64 {
			t.Errorf("%s: %d octets", what, end)
		}
	}
	if size := unsafe.Sizeof(verdict{}); size > 128 {
		t.Errorf("a verdict: %d octets, expected two lines' 128 at most, so that each begins one", size)
	}
	for what, size := range map[string]uintptr{
		"a row": unsafe.Sizeof(row{}), "a shard of the observations": unsafe.Sizeof(observationShard{}),
	} {
		if size != 64 {
			t.Errorf("%s: %d octets, expected a line's 64", what, size)
		}
	}
}

func TestTheWholeCacheIsSweptInItsTurn(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	for i := range 1000 {
		c.put(named(fmt.Sprintf("n%d.example.org", i), 1, 10), 0)
	}
	c.put(named("lives.example.org", 1, 3600), 0)
	for range sweepCalls {
		c.sweep(int64(time.Minute), 0, "")
	}
	if n := c.size(); n != 1 || !has(c, "lives.example.org", int64(time.Minute)) {
		t.Errorf("%d verdicts left, expected the one that lives", n)
	}
}

// scored is a verdict of a model; named's have no source, as those of lists they do not depend on one.
func scored(name, model string, ttl uint32) *verdict {
	v := named(name, 1, ttl)
	v.source, v.model = sourceModel, model
	return v
}

// TestAVerdictLivesAsLongAsTheClusterIsHeard: for an hour after the cluster was last heard, and never beyond its whole life.
func TestAVerdictLivesAsLongAsTheClusterIsHeard(t *testing.T) {
	const hour = int64(time.Hour)
	for _, c := range []struct {
		name        string
		verdict     *verdict
		heardUntil  int64
		least, most int64 // its age when it is gone
	}{
		{"never heard", named("example.org", 1, 86_400), 0, 54 * hour / 60, hour},
		{"heard for five hours", named("example.org", 1, 86_400), 5 * hour, 5*hour + 54*hour/60 - hour/60, 6 * hour},
		{"heard for ever", named("example.org", 1, 86_400), 48 * hour, 216 * hour / 10, 24 * hour},
		{"a shorter life", named("example.org", 1, 600), 48 * hour, 9 * hour / 60, 10 * hour / 60},
		{"of the present model", scored("example.org", "m2", 86_400), 48 * hour, 216 * hour / 10, 24 * hour},
		{"of a former model", scored("example.org", "m1", 86_400), 48 * hour, 54 * hour / 60, hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newCache(1<<17, time.Hour)
			cache.put(c.verdict, 0)
			now := int64(0)
			for ; has(cache, "example.org", now); now += int64(time.Second) {
				cache.sweep(now, min(now, c.heardUntil), "m2")
			}
			if now < c.least || now > c.most+int64(time.Second) {
				t.Errorf("gone after %s, expected %s to %s", time.Duration(now), time.Duration(c.least), time.Duration(c.most))
			}
		})
	}
}

// TestVerdictsThatWereProlongedDoNotEndTogether: when the cluster falls silent, what was there before goes in its turn.
func TestVerdictsThatWereProlongedDoNotEndTogether(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	for i := range 1000 {
		c.put(named(fmt.Sprintf("n%d.example.org", i), 1, 86_400), 0)
	}
	silent := int64(4 * time.Hour)
	for now := int64(0); now < silent+int64(30*time.Minute); now += int64(time.Second) {
		c.sweep(now, min(now, silent), "")
	}
	left := func(at time.Duration) (n int) {
		for i := range 1000 {
			if has(c, fmt.Sprintf("n%d.example.org", i), silent+int64(at)) {
				n++
			}
		}
		return n
	}
	if n := left(30 * time.Minute); n != 1000 {
		t.Errorf("%d of 1000 left after half an hour of silence", n)
	}
	if n := left(57 * time.Minute); n < 100 || n > 700 {
		t.Errorf("%d of 1000 left after 57 minutes, expected some", n)
	}
	if n := left(time.Hour); n != 0 {
		t.Errorf("%d left after an hour", n)
	}
}

// TestAProlongedVerdictIsRefreshedAllTheSame: a change of model or policy ends it within a minute, however often the cluster is heard.
func TestAProlongedVerdictIsRefreshedAllTheSame(t *testing.T) {
	c := newCache(1<<17, time.Minute)
	c.put(named("example.org", 1, 86_400), 0)
	c.refresh(2, 0)
	for now := int64(0); now < int64(time.Minute); now += int64(time.Second) {
		c.sweep(now, now, "")
	}
	if has(c, "example.org", int64(time.Minute)) {
		t.Error("still there")
	}
}

// TestNamesAskedOnceDoNotPushOutTheOthers: a full cache gives up what nobody asked for again, but keeps nothing for ever.
func TestNamesAskedOnceDoNotPushOutTheOthers(t *testing.T) {
	c := newCache(shardCount*64, time.Hour)
	missed := func(name string, i int) int {
		name = fmt.Sprintf("%s%d.example.org", name, i)
		if has(c, name, 0) {
			return 0
		}
		c.put(named(name, 1, 100), 0)
		return 1
	}
	again := 0
	for i := range 50_000 {
		missed("once", i)
		again += missed("n", i%1000)
	}
	if again > 5000 { // 12,500 and more where age alone decides
		t.Errorf("%d questions for 1000 names of which each was asked 50 times", again)
	}
	for i := range 100_000 {
		missed("later", i/2) // each twice
	}
	if again = 0; c.size() > shardCount*64 {
		t.Errorf("%d verdicts", c.size())
	}
	for i := range 1000 {
		again += missed("n", i)
	}
	if again < 900 {
		t.Errorf("%d of 1000 names left the cache, though others were asked for since", again)
	}
}

func TestCacheTakesNothingWithoutLife(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	if c.put(named("example.org", 1, 0), 0) {
		t.Error("took a verdict that must not be cached")
	}
}

func TestCacheTakesNothingBelowTheHighestEpoch(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	c.raise(5)
	c.raise(3)
	if c.put(named("old.example.org", 4, 300), 0) || !c.put(named("new.example.org", 5, 300), 0) {
		t.Error("expected only the verdict of epoch 5 to be taken in")
	}
}

func TestAListChangeDropsOnlyChangedSuffixes(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	for _, name := range []string{"example.org", "www.example.org", "notexample.org", "example.net"} {
		c.put(named(name, 1, 300), 0)
	}
	c.put(named("later.example.org", 2, 300), 0)
	c.dropUnder(map[string]struct{}{"example.org": {}}, 2)
	for name, want := range map[string]bool{
		"example.org": false, "www.example.org": false, "notexample.org": true, "example.net": true, "later.example.org": true,
	} {
		if has(c, name, 1) != want {
			t.Errorf("%s cached: %t, expected %t", name, !want, want)
		}
	}
}

func TestARefreshSpreadsOverAMinute(t *testing.T) {
	c := newCache(1<<17, time.Hour)
	for i := range 1000 {
		c.put(named(fmt.Sprintf("n%d.example.org", i), 1, 3600), 0)
	}
	c.put(named("new.example.org", 2, 3600), 0)
	c.refresh(2, 0)
	left := func(at time.Duration) (n int) {
		for i := range 1000 {
			if has(c, fmt.Sprintf("n%d.example.org", i), int64(at)) {
				n++
			}
		}
		return n
	}
	if n := left(30 * time.Second); n < 400 || n > 600 {
		t.Errorf("%d of 1000 left after half a minute, expected about half", n)
	}
	if n := left(time.Minute); n != 0 {
		t.Errorf("%d left after a minute", n)
	}
	if !has(c, "new.example.org", int64(time.Minute)) {
		t.Error("the verdict of the new epoch was refreshed too")
	}
}

func frameOf(generation string, epoch uint64, names ...string) *frame {
	f := &frame{epoch: epoch, generation: generation}
	for _, name := range names {
		f.verdicts = append(f.verdicts, named(name, epoch, 300))
	}
	return f
}

func ackOf(generation string, epoch uint64, changed *[]string, refresh bool) *acknowledgement {
	return &acknowledgement{Epoch: &epoch, Generation: &generation, Changed: changed, Refresh: refresh}
}

func TestFollower(t *testing.T) {
	none, one := &[]string{}, &[]string{"example.org"}
	fresh := func() *follower {
		f := &follower{cache: newCache(1<<17, time.Hour)}
		f.admit(frameOf("g1", 5, "www.example.org", "example.net"), 0)
		return f
	}
	t.Run("an older frame is not cached", func(t *testing.T) {
		f := fresh()
		f.admit(frameOf("g1", 4, "late.example.com"), 0)
		if has(f.cache, "late.example.com", 1) {
			t.Error("cached")
		}
	})
	t.Run("a frame's epoch does not hide what changed before it", func(t *testing.T) {
		f := fresh()
		f.admit(frameOf("g1", 7, "example.com"), 0)
		if _, epoch := f.position(); epoch != 5 {
			t.Errorf("the next batch says epoch %d, expected 5", epoch)
		}
		f.apply(ackOf("g1", 7, one, false), 0)
		if has(f.cache, "www.example.org", 1) || !has(f.cache, "example.net", 1) || !has(f.cache, "example.com", 1) {
			t.Error("expected only what is under example.org to be dropped")
		}
		if _, epoch := f.position(); epoch != 7 {
			t.Errorf("position %d, expected 7", epoch)
		}
	})
	t.Run("too many changes drop all that is older", func(t *testing.T) {
		f := fresh()
		f.apply(ackOf("g1", 6, nil, false), 0)
		if has(f.cache, "www.example.org", 1) || has(f.cache, "example.net", 1) {
			t.Error("still cached")
		}
	})
	t.Run("an acknowledgement of an older epoch changes nothing", func(t *testing.T) {
		f := fresh()
		if f.apply(ackOf("g1", 4, nil, false), 0) || !has(f.cache, "example.net", 1) {
			t.Error("followed")
		}
	})
	t.Run("only an acknowledgement that knows of all that was seen prolongs", func(t *testing.T) {
		f := fresh()
		heard := func(at int64) bool { return f.heard == at }
		if f.apply(ackOf("g1", 5, none, false), 1); !heard(1) {
			t.Error("not heard at the same epoch")
		}
		if f.apply(ackOf("g1", 4, none, false), 2); !heard(1) {
			t.Error("heard by an older epoch")
		}
		f.admit(frameOf("g1", 7, "example.com"), 3)
		if f.apply(ackOf("g1", 5, none, false), 4); !heard(1) {
			t.Error("heard by a replica that is behind the one that answered a frame")
		}
		if f.apply(ackOf("g1", 7, none, false), 5); !heard(5) {
			t.Error("not heard when it had caught up")
		}
	})
	t.Run("what was prolonged outlives the silence it was put for", func(t *testing.T) {
		f := &follower{cache: newCache(1<<17, time.Minute)}
		f.admit(frameOf("g1", 5, "example.org"), 0)
		at := int64(0)
		for ; at < int64(4*time.Minute); at += int64(time.Second) {
			f.apply(ackOf("g1", 5, none, false), at)
			f.sweep(at)
		}
		if !has(f.cache, "example.org", at) || has(f.cache, "example.org", at+int64(time.Minute)) {
			t.Error("expected it to live for a minute after the last acknowledgement")
		}
	})
	for _, wrong := range []string{"frame", "acknowledgement"} {
		t.Run("a wrong epoch of one "+wrong+" is given up after an hour in which nobody says it again", func(t *testing.T) {
			f, at := fresh(), int64(1)
			if wrong == "frame" {
				f.admit(frameOf("g1", maxEpoch, "example.com"), at)
			} else {
				f.apply(ackOf("g1", maxEpoch, none, false), at)
			}
			for ; at < int64(epochSilent); at += int64(time.Minute) {
				f.apply(ackOf("g1", 6, none, false), at)
				if f.admit(frameOf("g1", 6, "late.example.com"), at); has(f.cache, "late.example.com", at) {
					t.Fatalf("a replica that may be behind was believed after %s", time.Duration(at))
				}
			}
			if !f.apply(ackOf("g1", 6, none, false), at) || f.heard != at || has(f.cache, "example.com", at) {
				t.Error("expected the directives of the present epoch to count, and nothing of the wrong one to be left")
			}
			f.admit(frameOf("g1", 6, "late.example.com"), at)
			if _, epoch := f.position(); epoch != 6 || !has(f.cache, "late.example.com", at) {
				t.Errorf("at epoch %d, expected 6 and its verdicts", epoch)
			}
		})
	}
	t.Run("an epoch that is said now and then is not given up", func(t *testing.T) {
		f := fresh()
		for at := int64(1); at < 4*int64(epochSilent); at += int64(epochSilent) / 2 {
			f.apply(ackOf("g1", 6, none, false), at)
			if f.apply(ackOf("g1", 5, none, false), at+1) {
				t.Fatalf("a replica that is behind was followed after %s", time.Duration(at))
			}
		}
	})
	t.Run("an epoch that frames say is not given up for reports that go to a replica that is behind", func(t *testing.T) {
		f := fresh()
		for at := int64(1); at < 4*int64(epochSilent); at += int64(epochSilent) / 2 {
			f.admit(frameOf("g1", 6, "example.com"), at)
			f.apply(ackOf("g1", 5, none, false), at)
			if f.cache.floor.Load() != 6 || !has(f.cache, "example.com", at) {
				t.Fatalf("given up after %s", time.Duration(at))
			}
		}
	})
	t.Run("a cluster that was not heard for long is not believed at once where it is behind", func(t *testing.T) {
		f := fresh()
		f.apply(ackOf("g1", 6, none, false), 1)
		if at := 4 * int64(epochSilent); f.apply(ackOf("g1", 5, none, false), at) || f.apply(ackOf("g1", 5, none, false), at+1) {
			t.Error("followed")
		}
	})
	t.Run("a new generation empties the cache and may count from one", func(t *testing.T) {
		f := fresh()
		f.admit(frameOf("g2", 1, "example.com"), 0)
		if has(f.cache, "example.net", 1) || !has(f.cache, "example.com", 1) {
			t.Error("expected only the new generation's verdict")
		}
	})
	t.Run("a former generation is not believed again while the present one is heard", func(t *testing.T) {
		f := fresh()
		f.admit(frameOf("g2", 1, "example.com"), 0)
		for at := int64(1); at < int64(4*time.Minute); at += int64(presentSilent) / 2 {
			f.admit(frameOf("g1", 9, "stale.example.com"), at)
			if f.apply(ackOf("g1", 9, none, false), at) || has(f.cache, "stale.example.com", at) || !has(f.cache, "example.com", at) {
				t.Fatalf("switched back after %s", time.Duration(at))
			}
			f.apply(ackOf("g2", 1, none, false), at)
		}
	})
	t.Run("a cluster that went back to a former store is followed", func(t *testing.T) {
		f := fresh()
		f.apply(ackOf("g2", 7, none, false), 0)
		at := int64(presentSilent)
		if f.apply(ackOf("g1", 6, none, false), at-1) {
			t.Error("followed at once")
		}
		if !f.apply(ackOf("g1", 6, none, false), at) {
			t.Error("not followed when nobody spoke of the other store any more")
		}
		f.admit(frameOf("g1", 6, "example.com"), at)
		f.admit(frameOf("g2", 8, "stale.example.com"), at+1)
		if generation, epoch := f.position(); generation != "g1" || epoch != 6 || !has(f.cache, "example.com", at) || has(f.cache, "stale.example.com", at+1) {
			t.Errorf("at %s %d; expected g1 6, its verdicts and no others", generation, epoch)
		}
	})
}

// Queries, frames, sweeps and changes of lists meet in the cache; nothing is found under another name, and nobody waits for ever.
func TestTheCacheIsUsedByManyAtOnce(t *testing.T) {
	c := newCache(leastCapacity, time.Hour)
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 5000 {
				name := fmt.Sprintf("n%d.example.org", draw.IntN(1000))
				if v := c.get(c.hash(name), name, 1); v == nil {
					c.put(named(name, 1, 300), 0)
				} else if v.name != name {
					t.Errorf("%s under %s", v.name, name)
				}
			}
		})
	}
	wait.Go(func() {
		for i := range 200 {
			c.sweep(int64(i%2)*int64(5*time.Minute), int64(i%3)*int64(time.Minute), "")
			c.refresh(2, 0)
			c.dropUnder(map[string]struct{}{fmt.Sprintf("n%d.example.org", i): {}}, 2)
		}
	})
	wait.Wait()
	if n := c.size(); n > leastCapacity {
		t.Errorf("%d verdicts, expected at most %d", n, leastCapacity)
	}
}
