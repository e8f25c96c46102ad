package verdict

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	negativeTTL = 60   // seconds at most, so that a name that is unblocked is soon seen
	ednsSize    = 1232 // octets, DNS Flag Day 2020
	mailbox     = "verdict.invalid."
)

// synthesised is a reply of ours with all that it points to.
type synthesised struct {
	msg      dns.Msg
	question [1]dns.Question
	answer   [2]dns.RR
	ns       [1]dns.RR
	extra    [1]dns.RR
	option   [1]dns.EDNS0
	soa      dns.SOA
	opt      dns.OPT
	ede      dns.EDNS0_EDE
}

// localRecord is one address of ours, of either type.
type localRecord struct {
	a    dns.A
	aaaa dns.AAAA
	ip   [16]byte
}

var (
	replies blocks[synthesised]
	locals  blocks[localRecord]
)

// act is how an action is to be carried out for one query.
type act struct {
	verdict  *verdict
	override bool // the client's own override asks for it
	refuse   bool // `dnssec refuse`
	udp      bool
}

// replyFor returns the reply that carries out the verdict's action; nil means that none is sent (`drop` on UDP).
func replyFor(r *dns.Msg, a act) *dns.Msg {
	do := a.action(r)
	if do == drop {
		return nil
	}
	s := replies.next()
	s.question[0] = r.Question[0]
	s.msg.MsgHdr = dns.MsgHdr{
		Id: r.Id, Response: true, Opcode: r.Opcode, RecursionDesired: r.RecursionDesired, RecursionAvailable: true,
		CheckingDisabled: r.CheckingDisabled,
	}
	s.msg.Compress = true
	s.msg.Question = s.question[:]
	switch do {
	case refused:
		s.msg.Rcode = dns.RcodeRefused
	case nxdomain:
		s.msg.Rcode = dns.RcodeNameError
		s.authority(a.verdict)
	case localData:
		s.localAnswers(a.verdict)
		if len(s.msg.Answer) == 0 {
			s.authority(a.verdict)
		}
	default:
		s.authority(a.verdict)
	}
	if opt := r.IsEdns0(); opt != nil {
		s.edns(opt.Do(), errorCode(do, a.override), a.verdict.source.String())
	}
	return &s.msg
}

// action is the verdict's action as this query can have it.
func (a act) action(r *dns.Msg) action {
	do := a.verdict.action
	if do == drop && !a.udp {
		return refused // a connection that stays silent holds a client longer than a refusal
	}
	if opt := r.IsEdns0(); a.refuse && do != drop && opt != nil && opt.Do() {
		return refused
	}
	return do
}

// authority adds the SOA record without which a negative answer cannot be cached (RFC 2308).
func (s *synthesised) authority(v *verdict) {
	ttl := min(v.cacheTTL, negativeTTL)
	s.soa = dns.SOA{
		Hdr: dns.RR_Header{Name: s.question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  mailbox, Mbox: mailbox, Serial: uint32(v.epoch), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}
	s.ns[0] = &s.soa
	s.msg.Ns = s.ns[:]
}

// edns adds OPT with DO as the query had it and the Extended DNS Error.
func (s *synthesised) edns(do bool, code uint16, why string) {
	s.opt.Hdr.Name, s.opt.Hdr.Rrtype = ".", dns.TypeOPT
	s.opt.SetUDPSize(ednsSize)
	if do {
		s.opt.SetDo()
	}
	s.ede.InfoCode, s.ede.ExtraText = code, why
	s.option[0] = &s.ede
	s.opt.Option = s.option[:]
	s.extra[0] = &s.opt
	s.msg.Extra = s.extra[:]
}

// errorCode tells whose will it was (RFC 8914): a made-up answer is Forged, what the client asked to be kept from
// is Filtered, and what the operator keeps from everyone is Blocked.
func errorCode(do action, override bool) uint16 {
	switch {
	case do == localData:
		return dns.ExtendedErrorCodeForgedAnswer
	case override:
		return dns.ExtendedErrorCodeFiltered
	}
	return dns.ExtendedErrorCodeBlocked
}

// localAnswers adds the verdict's addresses of the type that was asked for.
func (s *synthesised) localAnswers(v *verdict) {
	q := s.question[0]
	s.msg.Answer = s.answer[:0]
	for _, address := range v.answers {
		header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: v.answerTTL}
		switch {
		case q.Qtype == dns.TypeA && address.Is4():
			l := locals.next()
			l.ip = address.As16()
			l.a = dns.A{Hdr: header, A: l.ip[12:]}
			s.msg.Answer = append(s.msg.Answer, &l.a)
		case q.Qtype == dns.TypeAAAA && address.Is6():
			l := locals.next()
			l.ip = address.As16()
			l.aaaa = dns.AAAA{Hdr: header, AAAA: l.ip[:]}
			s.msg.Answer = append(s.msg.Answer, &l.aaaa)
		}
	}
}

// appendAddresses appends the addresses of a reply's answer, up to maxAddresses.
func appendAddresses(dst []netip.Addr, m *dns.Msg) []netip.Addr {
	for _, rr := range m.Answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		default:
			continue
		}
		if address, ok := netip.AddrFromSlice(ip); ok && len(dst) < maxAddresses {
			dst = append(dst, address.Unmap())
		}
	}
	return dst
}
