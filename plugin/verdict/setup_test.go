package verdict

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/opentracing/opentracing-go"
	"github.com/opentracing/opentracing-go/mocktracer"
)

func TestParse(t *testing.T) {
	file := tokenFile(t)
	for _, c := range []struct {
		name, corefile string
		check          func(*settings) bool
		err            string
	}{
		{name: "the least", corefile: "verdict http://127.0.0.1:8000 {\n token FILE\n}", check: func(s *settings) bool {
			e := s.engine
			return e.endpoints == "http://127.0.0.1:8000" && e.timeout == 100*time.Millisecond && e.frame == 256 &&
				e.wait == 5*time.Millisecond && e.capacity == 131072 && e.unheard == time.Hour && e.maxConcurrent == 8 &&
				e.resolver != "" && s.stanza.mode == modeMonitor && !s.stanza.hold && !s.stanza.servfail &&
				!s.stanza.refuseDO && !s.stanza.targetAll
		}},
		{name: "everything", corefile: `verdict https://a.example.net https://b.example.net/ {
			token FILE
			tls /ca.pem
			resolver r1
			mode enforce
			timeout 50ms
			on_error servfail
			upstream hold
			cache 1000 10m
			frame 64 2ms
			max_concurrent 3
			except example.org 2.0.192.in-addr.arpa
			dnssec refuse
			targets all
		}`, check: func(s *settings) bool {
			e, z := s.engine, s.stanza
			return e.endpoints == "https://a.example.net https://b.example.net" && e.tls == "/ca.pem" && e.resolver == "r1" &&
				e.timeout == 50*time.Millisecond && e.capacity == 1000 && e.unheard == 10*time.Minute && e.frame == 64 &&
				e.wait == 2*time.Millisecond && e.maxConcurrent == 3 && z.mode == modeEnforce && z.servfail && z.hold &&
				z.refuseDO && z.targetAll && strings.Join(z.except, " ") == "example.org. 2.0.192.in-addr.arpa."
		}},
		{name: "no wait at all", corefile: "verdict http://[::1]:8000 {\n token FILE\n frame 1 0s\n}", check: func(s *settings) bool {
			return s.engine.frame == 1 && s.engine.wait == 0
		}},
		{name: "every kind of host", corefile: "verdict HTTP://A_b.Example.:8000/Path/ https://xn--bcher-kva.example http://b\u00fccher.example http://[2001:DB8::1]:8000 http://[fe80::1%25Eth0] http://node7 {\n token FILE\n}", check: func(s *settings) bool {
			return s.engine.endpoints == "http://a_b.example.:8000/Path https://xn--bcher-kva.example http://b%C3%BCcher.example http://[2001:db8::1]:8000 http://[fe80::1%25Eth0] http://node7"
		}},
		{name: "one endpoint twice over https and http", corefile: "verdict http://a https://a http://a:8000 {\n token FILE\n}", check: func(s *settings) bool {
			return len(s.engine.urls()) == 3
		}},
		{name: "endpoints with a comma between", corefile: "verdict http://a,http://b {\n token FILE\n}", err: "endpoint 'http://a,http://b': host 'a,http', expected an IP address or a name"},
		{name: "endpoint of every host", corefile: "verdict http://*:8000 {\n token FILE\n}", err: "host '*', expected"},
		{name: "endpoint with an empty label", corefile: "verdict http://a..b:8000 {\n token FILE\n}", err: "host 'a..b', expected"},
		{name: "endpoint of the root", corefile: "verdict http://. {\n token FILE\n}", err: "host '.', expected"},
		{name: "endpoint of an address that is none", corefile: "verdict http://256.1.1.1:8000 {\n token FILE\n}", err: "host '256.1.1.1', expected"},
		{name: "endpoint without a host", corefile: "verdict http://:8000 {\n token FILE\n}", err: "host '', expected"},
		{name: "endpoint of a label that is too long", corefile: "verdict http://" + strings.Repeat("x", 64) + " {\n token FILE\n}", err: "expected an IP address or a name"},
		{name: "endpoint twice", corefile: "verdict http://[::1]:8000 http://[::1]:8000 {\n token FILE\n}", err: "endpoint 'http://[::1]:8000' given twice"},
		{name: "endpoint twice in two spellings", corefile: "verdict http://a:1 http://A:1/ {\n token FILE\n}", err: "endpoint 'http://A:1/' given twice"},
		{name: "no endpoint", corefile: "verdict {\n token FILE\n}", err: "no endpoint"},
		{name: "endpoint without scheme", corefile: "verdict 127.0.0.1:8000 {\n token FILE\n}", err: "expected a URL"},
		{name: "endpoint of another scheme", corefile: "verdict ftp://127.0.0.1 {\n token FILE\n}", err: "expected a URL"},
		{name: "endpoint with a password", corefile: "verdict http://a:b@127.0.0.1 {\n token FILE\n}", err: "expected a URL"},
		{name: "endpoint of a port that is none", corefile: "verdict http://127.0.0.1:80000 {\n token FILE\n}", err: "endpoint 'http://127.0.0.1:80000': expected a URL"},
		{name: "endpoint of port 0", corefile: "verdict http://127.0.0.1:0 {\n token FILE\n}", err: "endpoint 'http://127.0.0.1:0': expected a URL"},
		{name: "endpoint with an empty query", corefile: "verdict http://127.0.0.1? {\n token FILE\n}", err: "endpoint 'http://127.0.0.1?': expected a URL"},
		{name: "no token", corefile: "verdict http://127.0.0.1:8000", err: "no token"},
		{name: "token without a file", corefile: "verdict http://127.0.0.1 {\n token\n}", err: "token: 0 arguments"},
		{name: "unknown property", corefile: "verdict http://127.0.0.1 {\n token FILE\n colour red\n}", err: "unknown property 'colour', expected one of cache,"},
		{name: "property twice", corefile: "verdict http://127.0.0.1 {\n token FILE\n mode monitor\n mode enforce\n}", err: "given twice"},
		{name: "stanza twice", corefile: "verdict http://127.0.0.1 {\n token FILE\n}\nverdict http://127.0.0.1 {\n token FILE\n}", err: "once per Server Block"},
		{name: "resolver of a name that no token has", corefile: "verdict http://127.0.0.1 {\n token FILE\n resolver \"ns 1\"\n}", err: "resolver 'ns 1': expected the name that its token was issued for"},
		{name: "resolver of a name without end", corefile: "verdict http://127.0.0.1 {\n token FILE\n resolver " + strings.Repeat("x", 64) + "\n}", err: "1 to 63 of letters"},
		{name: "resolver of the longest name", corefile: "verdict http://127.0.0.1 {\n token FILE\n resolver 1" + strings.Repeat("@", 62) + "\n}", check: func(s *settings) bool {
			return len(s.engine.resolver) == 63
		}},
		{name: "unknown mode", corefile: "verdict http://127.0.0.1 {\n token FILE\n mode block\n}", err: "mode 'block': expected monitor or enforce"},
		{name: "timeout no duration", corefile: "verdict http://127.0.0.1 {\n token FILE\n timeout 100\n}", err: "timeout '100': expected a duration"},
		{name: "timeout zero", corefile: "verdict http://127.0.0.1 {\n token FILE\n timeout 0s\n}", err: "timeout '0s': expected a duration from 1ms"},
		{name: "wait of a frame", corefile: "verdict http://127.0.0.1 {\n token FILE\n frame 256 2s\n}", err: "frame '2s': expected a duration from 0s to 1s"},
		{name: "on_error unknown", corefile: "verdict http://127.0.0.1 {\n token FILE\n on_error refuse\n}", err: "expected pass or servfail"},
		{name: "upstream unknown", corefile: "verdict http://127.0.0.1 {\n token FILE\n upstream first\n}", err: "expected parallel or hold"},
		{name: "dnssec unknown", corefile: "verdict http://127.0.0.1 {\n token FILE\n dnssec sign\n}", err: "expected forge or refuse"},
		{name: "targets unknown", corefile: "verdict http://127.0.0.1 {\n token FILE\n targets none\n}", err: "expected lists or all"},
		{name: "cache too small", corefile: "verdict http://127.0.0.1 {\n token FILE\n cache 10\n}", err: "expected a number from 256"},
		{name: "cache with a third word", corefile: "verdict http://127.0.0.1 {\n token FILE\n cache 1000 1h x\n}", err: "unexpected 'x'"},
		{name: "frame too large", corefile: "verdict http://127.0.0.1 {\n token FILE\n frame 1025\n}", err: "from 1 to 1024"},
		{name: "max_concurrent zero", corefile: "verdict http://127.0.0.1 {\n token FILE\n max_concurrent 0\n}", err: "from 1 to 1024"},
		{name: "max_concurrent with a second word", corefile: "verdict http://127.0.0.1 {\n token FILE\n max_concurrent 3 4\n}", err: "unexpected '4'"},
		{name: "except without zones", corefile: "verdict http://127.0.0.1 {\n token FILE\n except\n}", err: "one or more zones"},
		{name: "except all below a zone", corefile: "verdict http://127.0.0.1 {\n token FILE\n except *.example.org\n}", err: "'*.example.org': expected a zone"},
		{name: "except a zone that nobody can ask for", corefile: "verdict http://127.0.0.1 {\n token FILE\n except b\u00fccher.example\n}", err: "xn--"},
		{name: "tls without https", corefile: "verdict http://127.0.0.1 {\n token FILE\n tls /ca.pem\n}", err: "tls needs an endpoint with https"},
		{name: "tls with four words", corefile: "verdict https://127.0.0.1 {\n token FILE\n tls a b c d\n}", err: "expected [CERT KEY] [CA]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := parse(caddy.NewTestController("dns", strings.ReplaceAll(c.corefile, "FILE", file)))
			switch {
			case c.err == "" && err != nil:
				t.Fatal(err)
			case c.err == "" && !c.check(s):
				t.Errorf("got %+v", s)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "Testfile:")):
				t.Errorf("error %v, expected one with a line and %q", err, c.err)
			}
		})
	}
}

// The manual has every option, in the syntax and by itself, and its default as the code has it.
func TestTheManualHasEveryOptionAndItsDefault(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, syntax, _ := strings.Cut(string(text), "## Syntax")
	syntax, _, _ = strings.Cut(syntax, "## Actions")
	given := map[string]string{
		"token": "required", "tls": "without it, the system's", "resolver": "the host's name by default", "mode": "`monitor` by default",
		"timeout": defaultTimeout.String() + " by default", "on_error": "`pass`, the default", "upstream": "`parallel` by default",
		"targets": "`lists` by default", "cache": fmt.Sprintf("%d verdicts by default", defaultCapacity), "except": "none by default",
		"frame": fmt.Sprintf("%d by default", defaultFrame), "max_concurrent": fmt.Sprintf("%d by default", defaultMaxConcurrent),
		"dnssec": "`forge`, the default",
	}
	for option := range properties {
		_, told, found := strings.Cut(syntax, "\n* `"+option+"`")
		told, _, _ = strings.Cut(told, "\n* ")
		told = strings.Join(strings.Fields(told), " ")
		if want := given[option]; !found || want == "" || !strings.Contains(told, want) || !strings.Contains(syntax, "\n    "+option+" ") {
			t.Errorf("`%s`: expected in the syntax, and %q in %q", option, want, told)
		}
		for of, second := range map[string]string{
			"cache": strings.TrimSuffix(defaultUnheard.String(), "0m0s") + " by default",
			"frame": defaultWait.String() + " by default",
		} {
			if of == option && !strings.Contains(told, second) {
				t.Errorf("`%s`: expected %q in %q", option, second, told)
			}
		}
	}
}

// What would stop the start is found before it, and the error names line and file.
func TestSetupNamesLineAndFile(t *testing.T) {
	token := tokenFile(t)
	one := "verdict http://127.0.0.1:8000 {\n token " + token + "\n resolver r\n"
	for name, c := range map[string]struct{ first, second, want string }{
		"an authority that is none":    {"", "verdict https://127.0.0.1 {\n token " + token + "\n tls " + token + "\n}", "tls " + token + ": "},
		"a certificate that is absent": {"", "verdict https://127.0.0.1 {\n token " + token + "\n tls /nowhere " + token + "\n}", "expected [CERT KEY] [CA]"},
		"a token that is absent":       {"", "verdict http://127.0.0.1 {\n token /nowhere/token\n}", "/nowhere/token"},
		"a token that is a folder":     {"", "verdict http://127.0.0.1 {\n token /\n}", "token file: read /"},
		"stanzas that disagree":        {one + "}", one + " frame 7\n}", "share one engine"},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := caddy.NewTestController("dns", c.second)
			if c.first != "" {
				c0 := caddy.NewTestController("dns", c.first)
				if err := setup(c0); err != nil {
					t.Fatal(err)
				}
				c1.Set(corefileKey{}, c0.Get(corefileKey{}))
			}
			if err := setup(c1); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Testfile:") {
				t.Errorf("error %v, expected one with a line and %q", err, c.want)
			}
		})
	}
}

// Relative paths lie below *root*, in the server as in a replay.
func TestRelativePathsLieBelowRoot(t *testing.T) {
	path := tokenFile(t)
	c := caddy.NewTestController("dns", "verdict http://127.0.0.1:8000 {\n token token\n}")
	dnsserver.GetConfig(c).Root = filepath.Dir(path)
	if err := setup(c); err != nil {
		t.Error(err)
	}
	text := ". {\n root " + filepath.Dir(path) + "\n verdict https://a.example.net {\n token token\n tls /c k ca\n }\n}"
	s, err := stanzaOf("Corefile", strings.NewReader(text), "", "")
	if err != nil || s.engine.tokenFile != path || s.engine.tls != "/c "+filepath.Dir(path)+"/k "+filepath.Dir(path)+"/ca" {
		t.Errorf("%+v, %v: expected files below %s", s, err, filepath.Dir(path))
	}
}

// Whatever stands in a Corefile, it is refused or gives settings that an engine can be made of.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"verdict http://127.0.0.1:8000 {\n token /t\n}",
		"verdict https://a.example.net https://b.example.net/ {\n token /t\n tls /c /k /ca\n resolver r\n mode enforce\n timeout 50ms\n" +
			" on_error servfail\n upstream hold\n cache 1000 10m\n frame 64 2ms\n max_concurrent 3\n except example.org 2.0.192.in-addr.arpa\n" +
			" dnssec refuse\n targets all\n}",
		"verdict http://[::1 {\n token\n}", "verdict http://h { \n token \"a b\"\n except \\\n}", "verdict http://h {\n cache 99999999999999999999 -1s\n}",
		"verdict http://h {\n token {$HOME}\n timeout 1e9h\n}", "verdict http://h%zz",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(caddy.NewTestController("dns", text))
		if err != nil {
			return
		}
		e := s.engine
		if e.endpoints == "" && !strings.Contains(text, "verdict") {
			return // no stanza at all
		}
		for _, url := range e.urls() {
			if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
				t.Errorf("endpoint %q", url)
			}
		}
		if len(e.urls()) == 0 || e.tokenFile == "" || e.resolver == "" || e.timeout < time.Millisecond || e.timeout > 10*time.Second ||
			e.capacity < leastCapacity || e.unheard < time.Second || e.frame < 1 || e.frame > maxFrame || e.wait < 0 || e.wait > time.Second ||
			e.maxConcurrent < 1 || e.maxConcurrent > 1024 {
			t.Errorf("%q gives %+v", text, s)
		}
	})
}

// tracer is a plugin that traces, as *trace* does.
type tracer struct{ plugin.Handler }

func (tracer) Name() string               { return "trace" }
func (tracer) Tracer() opentracing.Tracer { return nil }

func TestATracedBlockIsKnown(t *testing.T) {
	for _, c := range []struct {
		name string
		with plugin.Handler
		want bool
	}{
		{"traced", tracer{}, true}, {"not traced", &Handler{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			block := &dnsserver.Config{Zone: "."}
			block.AddPlugin(func(plugin.Handler) plugin.Handler { return c.with })
			if _, err := dnsserver.NewServer("dns://127.0.0.1:0", []*dnsserver.Config{block}); err != nil {
				t.Fatal(err)
			}
			if got := traced(block); got != c.want {
				t.Errorf("%t", got)
			}
		})
	}
}

// Where queries are traced, the chain behind the plugin has a span of its own.
func TestATracedQueryHasASpanOfTheChain(t *testing.T) {
	h := newHarness(t, stanza{mode: modeEnforce})
	h.traced = true
	spans := mocktracer.New()
	ctx := opentracing.ContextWithSpan(context.Background(), spans.StartSpan("query"))
	h.ServeDNS(ctx, &udpWriter{}, query1("www.example.org", dns.TypeA))
	if ended := spans.FinishedSpans(); len(ended) != 1 || ended[0].OperationName != h.chain.Name() {
		t.Errorf("spans %v, expected one of the chain", ended)
	}
}
