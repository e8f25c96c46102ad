package verdict

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/miekg/dns"
)

const (
	maxRows        = 20_000    // of one batch (contract 1)
	maxBatchOctets = 2 << 20   // of one batch; the cluster takes more, but a batch is also what is sent again
	grownOctets    = 256 << 10 // to which seconds that wait are put together: what lies between may take no more than 1 MiB
	maxKeptOctets  = 64 << 20  // of all batches that are not acknowledged
	maxAckOctets   = 4 << 20
	maxAckValues   = 1 << 16 // 10,000 overrides and 1,000 suffixes have 21,000
	maxDiscarded   = 1 << 31 // that one batch takes over: the cluster refuses one of more than 2^32 queries, and all that come after
)

// batch is one report, encoded but for the fields that are known only when it is sent.
type batch struct {
	number    uint64
	rows      []byte // JSON objects with commas between
	count     int    // rows
	queries   uint64 // sum of the rows' counts
	discarded uint64
	readers   atomic.Int32 // of rows, on their way to the cluster
	sent      bool         // at least once: it may be on the cluster's disk, whatever came back
}

// hollow makes a batch that keeps its number and accounts for its queries as discarded.
func (b *batch) hollow() {
	b.rows, b.count, b.queries, b.discarded = nil, 0, 0, b.queries+b.discarded
}

// appendRow appends one row as JSON; fields at their default are left out.
func appendRow(dst []byte, r *row, s *story) []byte {
	k, v := &r.key, r.verdict
	dst = appendField(append(dst, '{'), "qname", s.qname)
	dst = appendField(dst, "qtype", qtypeText(k.qtype))
	dst = append(dst, `"client":"`...)
	if k.flags&flagAddressed != 0 {
		dst = netip.AddrFrom16(k.client).Unmap().AppendTo(dst)
	}
	dst = append(dst, `",`...)
	dst = appendWord(dst, "label", s.label.String())
	dst = appendNumber(dst, "first", r.first)
	dst = appendNumber(dst, "last", r.last())
	dst = appendNumber(dst, "count", int64(r.count))
	dst = appendWord(dst, "action", k.action.String())
	if k.flags&flagEnforced != 0 {
		dst = append(dst, `"enforced":true,`...)
	}
	dst = appendWord(dst, "source", s.source.String())
	dst = appendWord(dst, "tier", v.tier.String())
	dst = appendText(dst, "rule", s.rule)
	dst = appendText(dst, "model", s.model)
	dst = appendText(dst, "rcode", rcodeText(int(k.rcode)))
	dst = appendText(dst, "reason", k.reason.String())
	dst = appendText(dst, "target_of", s.targetOf)
	dst = appendFloat(dst, "score", v.score)
	dst = appendFloat(dst, "generated", v.generated)
	if s.latencySum > 0 {
		dst = appendNumber(dst, "latency_sum", s.latencySum)
		dst = appendNumber(dst, "latency_max", s.latencyMax)
	}
	dst = appendList(dst, "addresses", s.addresses, appendAddress)
	dst = appendList(dst, "targets", s.targets, appendString)
	dst[len(dst)-1] = '}' // over the last comma
	return dst
}

func appendField(dst []byte, field, value string) []byte {
	dst = append(append(append(dst, '"'), field...), `":`...)
	return append(appendString(dst, value), ',')
}

// appendWord is appendField for what needs no escapes.
func appendWord(dst []byte, field, word string) []byte {
	dst = append(append(append(dst, '"'), field...), `":"`...)
	return append(append(dst, word...), `",`...)
}

func appendText(dst []byte, field, value string) []byte {
	if value == "" {
		return dst
	}
	return appendField(dst, field, value)
}

func appendNumber(dst []byte, field string, value int64) []byte {
	dst = append(append(append(dst, '"'), field...), `":`...)
	return append(strconv.AppendInt(dst, value, 10), ',')
}

func appendFloat(dst []byte, field string, value float64) []byte {
	if value == 0 {
		return dst
	}
	dst = append(append(append(dst, '"'), field...), `":`...)
	return append(strconv.AppendFloat(dst, value, 'g', -1, 64), ',')
}

func appendAddress(dst []byte, address netip.Addr) []byte {
	return append(address.AppendTo(append(dst, '"')), '"')
}

func appendList[T any](dst []byte, field string, values []T, add func([]byte, T) []byte) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(append(append(dst, '"'), field...), `":[`...)
	for _, value := range values {
		dst = append(add(dst, value), ',')
	}
	dst[len(dst)-1] = ']'
	return append(dst, ',')
}

// head is what a batch says of its engine.
type head struct {
	Resolver   string `json:"resolver"`
	Boot       string `json:"boot"`
	Batch      uint64 `json:"batch"`
	Epoch      uint64 `json:"epoch"`
	Generation string `json:"generation"`
	Mode       string `json:"mode"`
	Version    string `json:"version"`
	Seen       uint64 `json:"seen"`
	Discarded  uint64 `json:"discarded"`
}

// body is the whole batch as it is sent; the rows, which may be megabytes, are not copied.
func (b *batch) body(h head) payload {
	h.Batch, h.Seen, h.Discarded = b.number, b.queries+b.discarded, b.discarded
	text, _ := json.Marshal(h) // cannot fail: texts and numbers
	return pieces(&b.readers, append(text[:len(text)-1], `,"rows":[`...), b.rows, []byte("]}"))
}

// acknowledgement is the reply to a batch: it is on disk, and this is what the engine should know.
type acknowledgement struct {
	Epoch      *uint64           `json:"epoch"`
	Generation *string           `json:"generation"`
	Changed    *[]string         `json:"changed"`
	Refresh    bool              `json:"refresh"`
	Paused     bool              `json:"paused"`
	Overrides  []overrideSetting `json:"overrides"`
}

type overrideSetting struct {
	Client string `json:"client"`
	Mode   string `json:"mode"`
}

// decodeAcknowledgement reads the reply to a batch. An absent `changed` is the default, nothing; null is too many.
func decodeAcknowledgement(body []byte) (*acknowledgement, error) {
	if err := crowded(body, maxAckValues); err != nil {
		return nil, err
	}
	none := []string{}
	a := &acknowledgement{Changed: &none}
	if err := json.Unmarshal(body, a); err != nil {
		return nil, malformed("%v", err)
	}
	if err := stamped(a.Epoch, a.Generation); err != nil {
		return nil, err
	}
	return a, nil
}

const (
	assignedTypes = 512              // IANA has given out those below, some by now without a name here; and two above
	privateTypes  = 65280            // to otherType: for private use, such as some tunnels'
	otherType     = dns.TypeReserved // 65535, which no query should have
)

// qtypeTold is the type that a query's is reported as. A type that nobody assigned is one with all such: a client may make up
// 65,536, and each would be further rows of the log's counts and a value to choose from.
func qtypeTold(qtype uint16) uint16 {
	if qtype < assignedTypes || qtype >= privateTypes || qtype == dns.TypeTA || qtype == dns.TypeDLV {
		return qtype
	}
	return otherType
}

func qtypeText(qtype uint16) string {
	if qtype == otherType {
		return "other" // as CoreDNS's metrics have it
	}
	if text, ok := dns.TypeToString[qtype]; ok {
		return text
	}
	return "TYPE" + strconv.Itoa(int(qtype))
}

func rcodeText(rcode int) string {
	if rcode < 0 {
		return ""
	}
	if text, ok := dns.RcodeToString[rcode]; ok {
		return text
	}
	return "RCODE" + strconv.Itoa(rcode)
}
