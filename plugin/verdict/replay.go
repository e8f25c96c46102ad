package verdict

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// Replay puts recorded queries through the decision path of a Corefile's stanza, as if its mode were enforce: cache,
// frames, alias targets, decision and reply are those of the plugin. Nothing is reported to the cluster, for the queries
// are none of a resolver's; so its pause and its overrides for clients, which reports bring, are not known here.
type Replay struct{ handler *Handler }

// Recorded is one query, and the reply that it got if that was recorded too.
type Recorded struct {
	Client netip.AddrPort
	UDP    bool
	Query  *dns.Msg
	Reply  *dns.Msg // nil: the upstream's answer is taken to be empty
}

// Decided is what the plugin would have done.
type Decided struct {
	Label     string  `json:"label"`
	Tier      string  `json:"tier"`
	Action    string  `json:"action"`
	Enforced  bool    `json:"enforced"`
	Source    string  `json:"source"`
	Rule      string  `json:"rule,omitempty"`
	Model     string  `json:"model,omitempty"`
	Reason    string  `json:"reason,omitempty"` // why there was no verdict
	Score     float64 `json:"score"`
	RCode     string  `json:"rcode"`     // of the reply that the client would have got; empty for none
	Untouched bool    `json:"untouched"` // not judged: another class or opcode, a transfer, an excepted zone
}

// NewReplay reads the first verdict stanza of a Corefile. It waits for each verdict as long as wait, and has room for as many queries
// at one time as a full frame, whatever the stanza says: what is asked is what would be decided, and not how fast this machine is. A url or token that is not empty replaces the
// stanza's endpoints or token file.
func NewReplay(file string, corefile io.Reader, wait time.Duration, url, token string) (*Replay, error) {
	s, err := stanzaOf(file, corefile, url, token)
	if err != nil {
		return nil, plugin.Error(pluginName, err)
	}
	s.engine.timeout, s.engine.frame, s.engine.silent = wait, maxFrame, true
	s.engine.maxConcurrent = 1 + maxJudged // of a query: its own name and its reply's alias targets
	s.stanza.mode = modeEnforce
	tlsConfig, err := tlsOf(s)
	if err != nil {
		return nil, plugin.Error(pluginName, err)
	}
	h := &Handler{stanza: s.stanza, counters: counters{zone: "."}}
	h.Next = plugin.HandlerFunc(recordedAnswer)
	if h.engine, err = newEngine(s.engine, tlsConfig); err != nil {
		return nil, plugin.Error(pluginName, err)
	}
	return &Replay{h}, nil
}

// stanzaOf finds the stanza and reads it as the server would.
func stanzaOf(file string, corefile io.Reader, url, token string) (*settings, error) {
	blocks, err := caddyfile.Parse(file, corefile, nil)
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		tokens, ok := block.Tokens[pluginName]
		if !ok {
			continue
		}
		s, err := parse(&caddy.Controller{Dispenser: caddyfile.NewDispenserTokens(file, tokens)})
		if err != nil {
			return nil, err
		}
		root := ""
		if words := block.Tokens["root"]; len(words) == 2 {
			root = words[1].Text
		}
		s.below(root)
		if url != "" {
			s.engine.endpoints = url
		}
		if token != "" {
			s.engine.tokenFile = token
		}
		return s, nil
	}
	return nil, errors.New(file + ": no stanza of verdict")
}

// Close ends the engine.
func (p *Replay) Close() { p.handler.engine.close() }

type recordedKey struct{}

// recordedAnswer is the chain behind the plugin: it answers with what was recorded.
func recordedAnswer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	reply, _ := ctx.Value(recordedKey{}).(*dns.Msg)
	if reply == nil {
		reply = new(dns.Msg).SetReply(r)
	}
	return dns.RcodeSuccess, w.WriteMsg(reply)
}

// Decide tells what would become of one query. It may be called from many goroutines: their names share frames.
func (p *Replay) Decide(q Recorded) (Decided, error) {
	ctx, v := p.handler.describing(context.WithValue(context.Background(), recordedKey{}, q.Reply))
	w := &replayWriter{client: q.Client, udp: q.UDP}
	rcode, err := p.handler.ServeDNS(ctx, w, q.Query)
	d := Decided{Untouched: !v.set}
	if v.set {
		o := &v.outcome
		d = Decided{
			Label: o.verdict.label.String(), Tier: o.verdict.tier.String(), Action: o.action.String(), Enforced: o.enforced,
			Source: o.verdict.source.String(), Rule: o.because(), Model: o.verdict.model, Reason: o.reason.String(), Score: o.verdict.score,
		}
	}
	if w.reply != nil {
		d.RCode = rcodeText(w.reply.Rcode)
	} else if !plugin.ClientWrite(rcode) { // the server writes it
		d.RCode = rcodeText(rcode)
	}
	return d, err
}

// replayWriter keeps the reply to a recorded client.
type replayWriter struct {
	client netip.AddrPort
	udp    bool
	reply  *dns.Msg
}

var _ dns.ResponseWriter = (*replayWriter)(nil)

func (w *replayWriter) RemoteAddr() net.Addr {
	if w.udp {
		return net.UDPAddrFromAddrPort(w.client)
	}
	return net.TCPAddrFromAddrPort(w.client)
}

func (w *replayWriter) LocalAddr() net.Addr         { return w.RemoteAddr() }
func (w *replayWriter) WriteMsg(m *dns.Msg) error   { w.reply = m; return nil }
func (w *replayWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *replayWriter) Close() error                { return nil }
func (w *replayWriter) TsigStatus() error           { return nil }
func (w *replayWriter) TsigTimersOnly(bool)         {}
func (w *replayWriter) Hijack()                     {}
