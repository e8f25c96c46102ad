package verdict

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// Handler judges the queries of one server block.
type Handler struct {
	Next plugin.Handler
	stanza
	zone     string
	engine   *engine
	counters counters
}

var _ plugin.Handler = (*Handler)(nil)

// Name implements plugin.Handler.
func (h *Handler) Name() string { return pluginName }

// use connects the handler to its engine, before the first query.
func (h *Handler) use(e *engine) {
	h.engine = e
	if h.mode == modeEnforce {
		e.enforcing.Store(true)
	}
}

// query is what is known of one query on its way.
type query struct {
	ctx      context.Context
	w        dns.ResponseWriter
	r        *dns.Msg
	client   netip.Addr
	mode     mode
	override bool
	own      judgement
	deadline time.Time
}

// ServeDNS implements plugin.Handler. It writes a reply, or passes on; never both.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if !judged(r) || ctx.Value(captureKey{}) != nil || len(h.except) > 0 && plugin.Zones(h.except).Matches(r.Question[0].Name) != "" {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	q := query{ctx: ctx, w: w, r: r, client: clientOf(w)}
	q.mode, q.override = h.engine.directives.Load().modeFor(q.client, h.mode)
	if q.mode == modeOff {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	var buffer [256]byte
	q.own = h.engine.judge(normalise(buffer[:0], r.Question[0].Name))
	if q.own.flight != nil {
		q.deadline = time.Now().Add(h.engine.config.timeout)
	}
	if q.mode == modeMonitor {
		return h.watch(&q)
	}
	if h.hold {
		started := time.Now()
		h.engine.await(&q.own, q.deadline)
		if q.own.verdict == nil && h.servfail {
			return h.fail(&q, contents{}, waited(started))
		}
	}
	if v := q.own.verdict; v != nil && v.action != passthru {
		return h.act(&q, contents{}, decision{by: v, target: -1}, 0)
	}
	return h.enforce(&q)
}

// judged tells whether a message is a query that has a verdict: one question of class IN, no transfer.
func judged(r *dns.Msg) bool {
	if r.Opcode != dns.OpcodeQuery || r.Response || len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET {
		return false
	}
	qtype := r.Question[0].Qtype
	return qtype != dns.TypeAXFR && qtype != dns.TypeIXFR
}

// watch serves a query in monitor mode: the reply leaves at once, the record follows when the verdicts are there.
func (h *Handler) watch(q *query) (int, error) {
	c := newCapture(q.ctx, q.w)
	rcode, err := plugin.NextOrFailure(h.Name(), h.Next, c, c, q.r)
	var b buffers
	found, sent := h.contents(q, c, &b, rcode)
	if !q.own.landed() || !allLanded(found.targets) {
		h.watchLate(*q, found, sent)
		return send(c, rcode, err)
	}
	h.note(q, found, decide(&q.own, found.targets, h.targetAll), sent, false, 0)
	return send(c, rcode, err)
}

// watchLate records a query in monitor mode whose verdicts are not there yet. It does so beside the query, so that
// nothing waits that is in front of it: neither a pipelined query nor another plugin's clock.
func (h *Handler) watchLate(q query, found contents, sent int) {
	own := contents{append([]netip.Addr(nil), found.addresses...), append([]judgement(nil), found.targets...)}
	q.ctx, q.w = context.WithoutCancel(q.ctx), nil
	if q.deadline.IsZero() {
		q.deadline = time.Now().Add(h.engine.config.timeout)
	}
	q.r = &dns.Msg{Question: []dns.Question{q.r.Question[0]}}
	labels := h.counters.server(q.ctx, h.zone)
	h.engine.beside(func() {
		h.engine.awaitAll(&q.own, own.targets, q.deadline)
		h.noteWith(labels, nil, &q, own, decide(&q.own, own.targets, h.targetAll), sent, false, 0)
	})
}

// enforce serves a query whose own verdict lets it pass or is still on its way: the chain looks the answer up, then
// answer and verdicts meet.
func (h *Handler) enforce(q *query) (int, error) {
	c := newCapture(q.ctx, q.w)
	rcode, err := plugin.NextOrFailure(h.Name(), h.Next, c, c, q.r)
	var b buffers
	found, sent := h.contents(q, c, &b, rcode)
	var latency int64
	if !q.own.landed() || !allLanded(found.targets) {
		started := time.Now()
		if q.deadline.IsZero() { // the name itself was known, its targets were not
			q.deadline = started.Add(h.engine.config.timeout)
		}
		h.engine.awaitAll(&q.own, found.targets, q.deadline)
		latency = waited(started)
	}
	d := decide(&q.own, found.targets, h.targetAll)
	switch {
	case c.reply == nil || c.passed || c.reply.Rcode == dns.RcodeNameError:
		// Nothing to replace, or an NXDOMAIN, which stands.
	case d.by != nil:
		return h.act(q, found, d, latency)
	case d.missing && h.servfail:
		return h.fail(q, found, latency)
	}
	h.note(q, found, d, sent, false, latency)
	return send(c, rcode, err)
}

// contents reads the captured reply and the rcode that the client gets if it is sent.
func (h *Handler) contents(q *query, c *capture, b *buffers, rcode int) (contents, int) {
	if c.reply == nil {
		return contents{}, rcode
	}
	return h.engine.read(b, q.own.name, c.reply), c.reply.Rcode
}

// act writes the reply that the verdict asks for.
func (h *Handler) act(q *query, found contents, d decision, latency int64) (int, error) {
	_, udp := q.w.RemoteAddr().(*net.UDPAddr)
	m := replyFor(q.r, act{verdict: d.by, override: q.override, refuse: h.refuseDO, udp: udp})
	sent := -1
	if m != nil {
		sent = m.Rcode
	}
	h.note(q, found, d, sent, true, latency)
	if m == nil {
		return dns.RcodeSuccess, nil
	}
	return dns.RcodeSuccess, q.w.WriteMsg(m)
}

// fail leaves the SERVFAIL of `on_error servfail` to the server: nothing was written.
func (h *Handler) fail(q *query, found contents, latency int64) (int, error) {
	h.note(q, found, decision{target: -1}, dns.RcodeServerFailure, false, latency)
	return dns.RcodeServerFailure, nil
}

// send passes the captured reply on. Where nothing was captured, the chain's rcode and error stand.
func send(c *capture, rcode int, err error) (int, error) {
	if c.reply == nil || c.passed {
		return rcode, err
	}
	if werr := c.ResponseWriter.WriteMsg(c.reply); werr != nil && err == nil {
		err = werr
	}
	if !plugin.ClientWrite(rcode) {
		rcode = dns.RcodeSuccess // a reply was written: the server must not write another
	}
	return rcode, err
}

func allLanded(targets []judgement) bool {
	all := true
	for i := range targets {
		all = targets[i].landed() && all
	}
	return all
}

func waited(since time.Time) int64 { return time.Since(since).Microseconds() }

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
