package verdict

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"unsafe"
)

// The closed sets of the contract. Each value is its index in the table beside it, so that a query's counters are
// found by arithmetic and no text is compared on the hot path.
type (
	label  uint8
	tier   uint8
	action uint8
	source uint8
	reason uint8
)

const (
	benign label = iota
	malicious
	unknown
)

const (
	tierNone tier = iota
	tierAlert
	tierBlock
)

const (
	passthru action = iota
	nxdomain
	nodata
	localData
	refused
	drop
)

const (
	sourceNone source = iota // no verdict
	sourceBenignList
	sourceBlocklist
	sourceHoneypotList
	sourceModel
	sourceIneligible
)

const (
	reasonNone reason = iota
	reasonTimeout
	reasonBusy
	reasonBreaker
	reasonError
	reasonMalformed
	reasonUnauthorised
	reasonOverload
	reasonShutdown
)

var (
	labelNames  = [...]string{"benign", "malicious", "unknown"}
	tierNames   = [...]string{"none", "alert", "block"}
	actionNames = [...]string{"passthru", "nxdomain", "nodata", "local-data", "refused", "drop"}
	sourceNames = [...]string{"none", "benign-list", "blocklist", "honeypot-list", "model", "ineligible"}
	reasonNames = [...]string{"", "timeout", "busy", "breaker", "error", "malformed", "unauthorised", "overload", "shutdown"}
)

func (l label) String() string  { return labelNames[l] }
func (t tier) String() string   { return tierNames[t] }
func (a action) String() string { return actionNames[a] }
func (s source) String() string { return sourceNames[s] }
func (r reason) String() string { return reasonNames[r] }

// listed tells whether a vetted list decided.
func (s source) listed() bool {
	return s == sourceBenignList || s == sourceBlocklist || s == sourceHoneypotList
}

// verdict is the decision on one normalised qname. It is never changed once it is shared, but for the ends of its life. What a
// query of a known name reads of it is together in one line of the processor's cache, the name itself included where it is
// short: lines that lie elsewhere are the most of what such a query costs.
type verdict struct {
	name    string
	expires atomic.Int64 // as nanotime has it; this and ends are the cache's, changed under its shard's lock
	label   label
	tier    tier
	action  action
	source  source
	used    atomic.Bool // asked for again since it was put, or since evict spared it
	room    [32]byte    // for the name

	ends      int64   // expires is never moved beyond
	score     float64 // probability of malicious, 0 to 1
	generated float64 // probability of machine-made, 0 to 1
	rule      string
	*origin
	*sinkhole        // of local-data only
	cacheTTL  uint32 // seconds
}

// origin is what the verdicts of a frame have in common.
type origin struct {
	epoch uint64
	model string
}

// latestOrigin is shared by frames that have it in common too, which most have.
var latestOrigin atomic.Pointer[origin]

func originOf(epoch uint64, model string) *origin {
	if latest := latestOrigin.Load(); latest != nil && latest.epoch == epoch && latest.model == model {
		return latest
	}
	made := &origin{epoch, model}
	latestOrigin.Store(made)
	return made
}

// sinkhole is where a verdict of local-data leads.
type sinkhole struct {
	answers   []netip.Addr
	answerTTL uint32 // seconds
}

// call gives a verdict its name.
func (v *verdict) call(name string) {
	if v.name = name; len(name) > 0 && len(name) <= len(v.room) {
		copy(v.room[:], name)
		v.name = unsafe.String(&v.room[0], len(name))
	}
}

// nothing stands for the verdict of a name that has none.
var nothing = &verdict{label: unknown, origin: new(origin)}

func index(names []string, s string) (uint8, bool) {
	i := slices.Index(names, s)
	return uint8(max(i, 0)), i >= 0
}
