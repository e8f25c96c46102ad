package verdict

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	maxAddresses = 16
	maxTargets   = 8  // in a report of a reply (contract 1)
	maxJudged    = 16 // of a reply: resolvers follow no more than 10 to 13 aliases
)

// outcome is what became of one query, as the record of it says.
type outcome struct {
	verdict  *verdict
	action   action // of the verdict that decided: its own, or an alias target's
	rule     string // of an alias target's that decided; "" where it is the verdict's own
	enforced bool
	reason   reason
	rcode    int    // of the reply the client got, -1 when none was sent
	latency  int64  // microseconds
	missed   bool   // the cache had no verdict
	plain    bool   // action and rule are the verdict's own, and it is a verdict on this very name
	targetOf string // set for an alias target: the qname whose reply held it
	parent   uint64 // likewise: the hash of that qname
}

// because is the rule that decided.
func (o *outcome) because() string {
	if o.rule != "" {
		return o.rule
	}
	return o.verdict.rule
}

// rowKey is what tells rows of one verdict apart.
type rowKey struct {
	client [16]byte // as netip.Addr.As16 has it
	qtype  uint16
	rcode  int16
	action action
	reason reason
	flags  uint8
}

const (
	flagEnforced = 1 << iota
	flagPlain
	flagAddressed // the client has an address
)

func keyOf(qtype uint16, client netip.Addr, out *outcome) rowKey {
	key := rowKey{client: client.As16(), qtype: qtypeTold(qtype), rcode: int16(out.rcode), action: out.action, reason: out.reason}
	if out.enforced {
		key.flags |= flagEnforced
	}
	if out.plain {
		key.flags |= flagPlain
	}
	if client.IsValid() {
		key.flags |= flagAddressed
	}
	return key
}

// rowHash mixes what tells rows of one name apart into the name's hash, which an outsider cannot foresee. Rule and model
// are left out: they seldom differ where the rest is equal.
func rowHash(name uint64, key *rowKey, out *outcome) uint64 {
	v := out.verdict
	small := uint64(key.qtype)<<48 | uint64(uint16(key.rcode))<<32 | uint64(v.label)<<25 | uint64(key.action)<<17 |
		uint64(v.source)<<9 | uint64(key.reason)<<1 | uint64(key.flags&flagEnforced)
	h := mix(name^small, binary.LittleEndian.Uint64(key.client[8:])^0x9e3779b97f4a7c15)
	return mix(h^out.parent, binary.LittleEndian.Uint64(key.client[:8])^0xbf58476d1ce4e5b9)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// observations sums outcomes until they are cut. Memory is bounded: an outcome that would need one row too many is
// counted as discarded.
type observations struct {
	shards    []observationShard // a power of two of them
	perShard  int
	spare     rows          // those of the shard that was cut last, for the next one
	discarded atomic.Uint64 // outcomes since the start that were not kept
}

// observationShard sums the outcomes whose hash falls to it. It fills a line of the processor's cache.
type observationShard struct {
	sync.Mutex
	rows
	discarded uint64
}

// observationShards is how many shards the processors need to be seldom in each other's way: no more, for the fewer there are the
// more of their memory is in the processor's cache.
func observationShards() int {
	shards := 8
	for shards < min(64, 4*runtime.GOMAXPROCS(0)) {
		shards *= 2
	}
	return shards
}

func newObservations(most int) *observations {
	shards := observationShards()
	o := &observations{shards: make([]observationShard, shards), perShard: max(1, most/shards)}
	for i := range o.shards {
		o.shards[i].table = make([]row, leastRows)
	}
	return o
}

// expect fetches the line of memory that note will need where the verdict's query gets an answer, as most do. The shard's lock is
// not worth taking for it: where another goroutine puts the shard another table at this moment, what is fetched is of no use.
//
//go:norace
func (o *observations) expect(hash uint64, qtype uint16, client netip.Addr, v *verdict) {
	out := outcome{verdict: v, plain: true}
	key := keyOf(qtype, client, &out)
	hash = rowHash(hash, &key, &out)
	s := &o.shards[hash>>32&uint64(len(o.shards)-1)]
	place := uintptr(uint32(hash)) & uintptr(len(s.table)-1)
	prefetch(uintptr(unsafe.Pointer(unsafe.SliceData(s.table))) + place*unsafe.Sizeof(row{}))
}

// note adds one outcome; now is in Unix milliseconds, hash the cache's hash of the name.
func (o *observations) note(hash uint64, qname string, qtype uint16, client netip.Addr, out *outcome, now int64, found *contents) {
	key := keyOf(qtype, client, out)
	hash = rowHash(hash, &key, out)
	s := &o.shards[hash>>32&uint64(len(o.shards)-1)]
	s.Lock()
	defer s.Unlock()
	at := s.find(uint32(hash), qname, &key, out)
	r := &s.table[at]
	if r.story == 0 {
		if len(s.stories) >= o.perShard {
			if out.targetOf == "" { // an alias target counts no query
				s.discarded++
				o.discarded.Add(1)
				if !out.missed {
					cacheHits.Inc()
				}
			}
			return
		}
		r = s.begin(at, uint32(hash), qname, &key, out, now, found)
	}
	s.sum(r, out, now)
}

// cut takes what has been noted: it calls each with the rows of one shard, which it may read until it returns, and
// the outcomes that shard discarded. Each shard is cut atomically, so counts and discards always add up. One cut at a time.
func (o *observations) cut(each func(noted *rows, discarded uint64)) {
	for i := range o.shards {
		next := o.spare
		if next.table == nil {
			next.table = make([]row, leastRows)
		}
		s := &o.shards[i]
		s.Lock()
		noted, discarded := s.rows, s.discarded
		s.rows, s.discarded = next, 0
		s.Unlock()
		each(&noted, discarded)
		o.spare = noted.emptied()
	}
}
