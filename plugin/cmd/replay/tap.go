package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"example.com/verdict/verdict"
	dnstap "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
)

const (
	inFlight = 1024    // queries decided at one time: enough to fill frames
	maxFrame = 1 << 20 // octets of one dnstap message; a DNS message has 65,535
)

// tapped is one recorded query with what the output says of it.
type tapped struct {
	verdict.Recorded
	at time.Time
}

// decideAll decides every client query of a dnstap file, many at a time, and writes them in the file's order.
func decideAll(replay *verdict.Replay, path string, write func(line) error) (map[string]int, error) {
	answered, err := hasResponses(path)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	waiting := make(chan chan line, inFlight)
	written := make(chan error, 1)
	go func() {
		var failed error
		for one := range waiting {
			l := <-one
			counts[key(l)]++
			if failed == nil {
				failed = write(l)
			}
		}
		written <- failed
	}()
	err = each(path, func(m *dnstap.Message) error {
		t, ok := recorded(m, answered)
		if !ok {
			return nil
		}
		one := make(chan line, 1)
		waiting <- one
		go func() { one <- decided(replay, t) }()
		return nil
	})
	close(waiting)
	return counts, errors.Join(err, <-written)
}

func decided(replay *verdict.Replay, t tapped) line {
	q := t.Query.Question[0]
	l := line{
		Time: t.at.UTC().Format(time.RFC3339Nano), Client: t.Client.Addr().String(), QName: q.Name, QType: dns.Type(q.Qtype).String(),
	}
	l.Decided, _ = replay.Decide(t.Recorded) // an error of the chain cannot be: it is the recording
	return l
}

func key(l line) string {
	switch {
	case l.Untouched:
		return "untouched"
	case l.Enforced:
		return l.Action + " by " + l.Source
	case l.Reason != "":
		return "no verdict: " + l.Reason
	}
	return "passes by " + l.Source
}

// recorded is the query of a message from a client. Where responses were recorded they are taken: each holds its
// question too, and its answer's alias targets are judged.
func recorded(m *dnstap.Message, answered bool) (tapped, bool) {
	var packed []byte
	switch {
	case answered && m.GetType() == dnstap.Message_CLIENT_RESPONSE:
		packed = m.GetResponseMessage()
	case !answered && m.GetType() == dnstap.Message_CLIENT_QUERY:
		packed = m.GetQueryMessage()
	}
	message := new(dns.Msg)
	if packed == nil || message.Unpack(packed) != nil || len(message.Question) == 0 {
		return tapped{}, false
	}
	t := tapped{at: time.Unix(int64(m.GetQueryTimeSec()), int64(m.GetQueryTimeNsec()))}
	if m.QueryTimeSec == nil {
		t.at = time.Unix(int64(m.GetResponseTimeSec()), int64(m.GetResponseTimeNsec()))
	}
	address, _ := netip.AddrFromSlice(m.GetQueryAddress())
	t.Client, t.UDP = netip.AddrPortFrom(address.Unmap(), uint16(m.GetQueryPort())), m.GetSocketProtocol() == dnstap.SocketProtocol_UDP
	t.Query = message
	if answered {
		t.Reply, t.Query = message, asked(message)
	}
	return t, true
}

// asked is the query that a reply answers.
func asked(reply *dns.Msg) *dns.Msg {
	q := &dns.Msg{Question: reply.Question}
	q.Id, q.Opcode, q.RecursionDesired, q.CheckingDisabled = reply.Id, reply.Opcode, reply.RecursionDesired, reply.CheckingDisabled
	if opt := reply.IsEdns0(); opt != nil {
		q.SetEdns0(opt.UDPSize(), opt.Do())
	}
	return q
}

func hasResponses(path string) (bool, error) {
	found := false
	err := each(path, func(m *dnstap.Message) error {
		if m.GetType() == dnstap.Message_CLIENT_RESPONSE {
			found = true
			return io.EOF
		}
		return nil
	})
	return found, err
}

// each calls f with every message of a dnstap file until it returns io.EOF.
func each(path string, f func(*dnstap.Message) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader, err := dnstap.NewReader(bufio.NewReaderSize(file, 1<<16), &dnstap.ReaderOptions{})
	if err != nil {
		return fmt.Errorf("%s: %w: expected frame streams of dnstap", path, err)
	}
	decoder := dnstap.NewDecoder(reader, maxFrame)
	for number := 1; ; number++ {
		var found dnstap.Dnstap
		err := decoder.Decode(&found)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: frame %d: %w", path, number, err)
		}
		if found.GetMessage() == nil {
			continue
		}
		if err := f(found.GetMessage()); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
