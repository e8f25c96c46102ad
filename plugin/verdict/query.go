package verdict

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

// query is what is known of one query on its way, and room for its name and its reply's contents. It comes from a pool
// and not from the stack: a server starts a goroutine for each query, on a stack of 2 KiB that grows by being copied. CoreDNS
// with *cache* just fits into 4 KiB; a plugin that adds a few hundred octets below it has each query's stack copied once
// more, at its deepest, which costs more than all else that a known name needs (TestThePluginAddsLittleToTheStack).
type query struct {
	ctx      context.Context
	w        dns.ResponseWriter
	r        *dns.Msg
	client   netip.Addr
	mode     mode
	override bool
	captures *block[capture]
	own      judgement
	at       int64 // nanotime when it came
	deadline time.Time
	latency  int64 // microseconds that it was held up for verdicts alone

	found     contents
	out       outcome
	name      [256]byte
	addresses [maxAddresses]netip.Addr
	targets   [maxJudged]judgement
}

var queries = sync.Pool{New: func() any { return new(query) }}

func newQuery(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *query {
	q := queries.Get().(*query)
	q.ctx, q.w, q.r = ctx, w, r
	return q
}

// later is what of a query is still needed when its reply has left.
func (q *query) later() *query {
	late := queries.Get().(*query)
	late.ctx, late.client, late.own, late.at, late.deadline = context.WithoutCancel(q.ctx), q.client, q.own, q.at, q.deadline
	late.mode, late.override = q.mode, q.override
	late.r = &dns.Msg{Question: []dns.Question{q.r.Question[0]}}
	late.found = contents{addresses: q.found.appendAddresses(late.addresses[:0]), targets: append(late.targets[:0], q.found.targets...)}
	return late
}

// finish writes the reply, if there is one, and ends the query.
//
//go:noinline
func (q *query) finish(m *dns.Msg, rcode int, err error) (int, error) {
	w := q.w
	q.release()
	if m != nil {
		if werr := w.WriteMsg(m); werr != nil && err == nil {
			err = werr
		}
	}
	return rcode, err
}

// release gives the query back. What it held is forgotten, so that it does not outlive its query.
func (q *query) release() {
	q.ctx, q.w, q.r, q.own, q.out, q.deadline, q.latency = nil, nil, nil, judgement{}, outcome{}, time.Time{}, 0
	clear(q.found.targets)
	q.found = contents{}
	queries.Put(q)
}

// overUDP tells whether the query came in a datagram by itself, be it through a proxy. One of DNS over QUIC or HTTP/3 has a UDP
// address too, and a stream that waits for its reply.
func (q *query) overUDP() bool {
	address := q.w.RemoteAddr()
	server, _ := q.ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	return address != nil && address.Network() == "udp" && (server == nil || strings.HasPrefix(server.Addr, transport.DNS+"://"))
}

// clientOf returns the client's address, without zone.
func clientOf(w dns.ResponseWriter) netip.Addr {
	var ip net.IP
	switch address := w.RemoteAddr().(type) {
	case *net.UDPAddr:
		ip = address.IP
	case *net.TCPAddr:
		ip = address.IP
	case nil:
	default:
		parsed, _ := netip.ParseAddrPort(address.String())
		return parsed.Addr().Unmap().WithZone("")
	}
	client, _ := netip.AddrFromSlice(ip)
	return client.Unmap()
}
