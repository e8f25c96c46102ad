package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dnstap "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

const corefile = `. {
    verdict http://127.0.0.1:1 {
        token TOKEN
        except home.example
    }
    forward . 192.0.2.1
}
`

const recordedAnswers = `{"epoch":3,"generation":"g","model":"m1"}
{"name":"www.blocked.example","label":"malicious","tier":"block","action":"nxdomain","cache_ttl":300,"source":"blocklist","score":1,"generated":0,"rule":"blocked.example"}
{"name":"cdn.blocked.example","label":"malicious","tier":"block","action":"nxdomain","cache_ttl":300,"source":"blocklist","score":1,"generated":0,"rule":"blocked.example"}
{"name":"www.honey.example","label":"malicious","tier":"block","action":"local-data","cache_ttl":300,"source":"honeypot-list","score":1,"generated":0,"rule":"honey.example","answers":["192.0.2.53"],"answer_ttl":60}
`

// folder has a Corefile, answers and a dnstap file with these messages.
func folder(t *testing.T, messages ...*dnstap.Message) (corefilePath, answersPath, tapPath string) {
	t.Helper()
	dir := t.TempDir()
	corefilePath, answersPath, tapPath = filepath.Join(dir, "Corefile"), filepath.Join(dir, "answers"), filepath.Join(dir, "tap")
	os.WriteFile(corefilePath, []byte(corefile), 0o600)
	os.WriteFile(answersPath, []byte(recordedAnswers), 0o600)
	file, err := os.Create(tapPath)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	writer, err := dnstap.NewWriter(file, &dnstap.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	encoder := dnstap.NewEncoder(writer)
	for _, m := range messages {
		if err := encoder.Encode(&dnstap.Dnstap{Type: dnstap.Dnstap_MESSAGE.Enum(), Message: m}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return
}

func message(t *testing.T, kind dnstap.Message_Type, m *dns.Msg) *dnstap.Message {
	t.Helper()
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	found := &dnstap.Message{
		Type: kind.Enum(), SocketProtocol: dnstap.SocketProtocol_UDP.Enum(), SocketFamily: dnstap.SocketFamily_INET.Enum(),
		QueryAddress: netip.MustParseAddr("192.0.2.7").AsSlice(), QueryPort: proto.Uint32(4000), QueryTimeSec: proto.Uint64(1_700_000_000),
		QueryTimeNsec: proto.Uint32(0),
	}
	if kind == dnstap.Message_CLIENT_QUERY {
		found.QueryMessage = packed
	} else {
		found.ResponseMessage = packed
	}
	return found
}

func query(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

func reply(t *testing.T, name string, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetReply(query(name))
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

func TestReplay(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages []*dnstap.Message
		want     []string // qname, what, enforced, source, rule
		sums     string
	}{
		{"queries alone", []*dnstap.Message{
			message(t, dnstap.Message_CLIENT_QUERY, query("www.example.org.")),
			message(t, dnstap.Message_CLIENT_QUERY, query("WwW.blocked.example.")),
			message(t, dnstap.Message_CLIENT_QUERY, query("www.honey.example.")),
			message(t, dnstap.Message_CLIENT_QUERY, query("printer.home.example.")),
			message(t, dnstap.Message_FORWARDER_QUERY, query("www.blocked.example.")),
		}, []string{
			"www.example.org. passthru false model ", "WwW.blocked.example. nxdomain true blocklist blocked.example",
			"www.honey.example. local-data true honeypot-list honey.example", "printer.home.example. untouched false  ",
		}, "1  nxdomain by blocklist"},
		{"responses, whose alias targets are judged", []*dnstap.Message{
			message(t, dnstap.Message_CLIENT_QUERY, query("www.example.org.")),
			message(t, dnstap.Message_CLIENT_RESPONSE, reply(t, "www.example.org.", "www.example.org. 60 IN CNAME cdn.blocked.example.")),
			message(t, dnstap.Message_CLIENT_RESPONSE, reply(t, "www.example.net.", "www.example.net. 60 IN A 192.0.2.1")),
		}, []string{
			"www.example.org. nxdomain true model target:cdn.blocked.example", "www.example.net. passthru false model ",
		}, "1  passes by model"},
		{"nothing", nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			corefile, answers, tap := folder(t, c.messages...)
			var out, said bytes.Buffer
			if err := run([]string{"-answers", answers, corefile, tap}, &out, &said); err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(out.String()) {
				f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
				if f[0] != "2023-11-14T22:13:20Z" || f[1] != "192.0.2.7" || f[3] != "A" {
					t.Errorf("time, client, qtype: %q", f)
				}
				got = append(got, strings.Join([]string{f[2], f[4], f[5], f[6], f[7]}, " "))
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") || !strings.Contains(said.String(), c.sums) {
				t.Errorf("got  %q\nwant %q\nsaid %s", got, c.want, said.String())
			}
		})
	}
}

func TestReplayTellsItsHelp(t *testing.T) {
	var out, said bytes.Buffer
	if err := run([]string{"-h"}, &out, &said); err != nil {
		t.Errorf("%v, expected the help and no error", err)
	}
	if !strings.Contains(said.String(), "-answers FILE") {
		t.Errorf("said %s", said.String())
	}
}

func TestReplayNamesWhatIsWrong(t *testing.T) {
	corefile, answers, tap := folder(t)
	other := filepath.Join(t.TempDir(), "other")
	os.WriteFile(other, []byte("no dnstap, no Corefile {"), 0o600)
	endless := filepath.Join(t.TempDir(), "endless")
	os.WriteFile(endless, bytes.Repeat([]byte("x"), 2<<20), 0o600)
	for _, c := range []struct {
		name      string
		arguments []string
		want      string
	}{
		{"no file", []string{corefile}, "expected a Corefile and a dnstap file"},
		{"no dnstap", []string{"-answers", answers, corefile, other}, "expected frame streams of dnstap"},
		{"no answers", []string{"-answers", other, corefile, tap}, "expected what `python -m loadtest.recorded take` writes"},
		{"a line without end", []string{"-answers", endless, corefile, tap}, endless + ": after 0 names: bufio.Scanner: token too long"},
		{"no stanza", []string{"-answers", answers, answers, tap}, "no stanza of verdict"},
		{"no token", []string{corefile, tap}, "token file"},
		{"absent", []string{"-answers", answers, corefile, tap + "x"}, tap + "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, said bytes.Buffer
			if err := run(c.arguments, &out, &said); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected one with %q", err, c.want)
			}
		})
	}
}
