package verdict

import (
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestNormalise(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "www.example.org.", "www.example.org"},
		{"case", "WwW.ExAmPlE.oRg.", "www.example.org"},
		{"root", ".", "."},
		{"no final dot", "example.org", "example.org"},
		{"escaped dot", `a\.b.example.org.`, `a\.b.example.org`},
		{"escaped final dot", `example\..`, `example\.`},
		{"backslash", `a\\b.example.org.`, `a\\b.example.org`},
		{"escaped letter", `\A\098c.example.org.`, "abc.example.org"},
		{"special octets of package dns", `a\ b\@c\"d\;e.example.org.`, `a\032b\064c\034d\059e.example.org`},
		{"control and high octets", `\000\255.example.org.`, `\000\255.example.org`},
		{"octets that need no escape in package dns", "a*b<c>=d.example.org.", `a\042b\060c\062\061d.example.org`},
		{"dot as a number", `a\046b.example.org.`, `a\.b.example.org`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(normalise(nil, c.in)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestIsUnder(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		want       bool
	}{
		{"example.org", "example.org", true},
		{"www.example.org", "example.org", true},
		{"www.example.org", ".", true},
		{"notexample.org", "example.org", false},
		{"example.org", "www.example.org", false},
		{`a\.example.org`, "example.org", false},
		{`a\\.example.org`, "example.org", true},
	} {
		if got := isUnder(c.name, c.zone); got != c.want {
			t.Errorf("isUnder(%q, %q) = %t", c.name, c.zone, got)
		}
		if got := anySuffix(c.name, map[string]struct{}{c.zone: {}}); got != c.want {
			t.Errorf("anySuffix(%q, %q) = %t", c.name, c.zone, got)
		}
	}
}

// Every name of package dns has one normal form, which is its own normal form and means the same octets.
func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{".", "example.org.", `\000\.\\.x.`, "A-z_0.", strings.Repeat("a.", 127)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		name, _, err := dns.UnpackDomainName(wire, 0)
		if err != nil {
			return
		}
		form, _ := normal(name, nil)
		normal := string(normalise(nil, name))
		if form != normal {
			t.Fatalf("the normal form of %q is %q, without a copy %q", name, normal, form)
		}
		if again := string(normalise(nil, normal)); again != normal {
			t.Fatalf("normalise(%q) = %q, and again %q", name, normal, again)
		}
		if len(normal) > maxNormal {
			t.Fatalf("%d octets", len(normal))
		}
		fqdn := normal
		if normal != "." {
			fqdn += "."
		}
		var one, other [255]byte
		n, err := dns.PackDomainName(strings.ToLower(name), one[:], 0, nil, false)
		if err != nil {
			return
		}
		m, err := dns.PackDomainName(fqdn, other[:], 0, nil, false)
		if err != nil || !strings.EqualFold(string(one[:n]), string(other[:m])) {
			t.Fatalf("%q and its normal form %q are other octets: %x, %x (%v)", name, fqdn, one[:n], other[:m], err)
		}
	})
}

// Whatever a cluster answers, it is refused whole or fits the names.
func FuzzDecodeFrame(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"generation":"g","verdicts":[{` + saysBenign + `}]}`))
	f.Add([]byte(`{"epoch":1,"generation":"g","verdicts":[{` + listed("honeypot-list", "local-data", "example.org") + `}]}`))
	f.Add([]byte(`{"epoch":1,"generation":"g","model":"m","asked":4294967296,"verdicts":[{` + saysBenign + `}]}`))
	f.Add([]byte(`{"epoch":-1,"generation":null,"verdicts":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := decodeFrame(body, []string{"www.example.org"})
		if err != nil {
			return
		}
		v := answer.verdicts[0]
		if len(answer.verdicts) != 1 || v.score < 0 || v.score > 1 || v.generated < 0 || v.generated > 1 ||
			v.action == localData && len(v.answers) == 0 || int(v.action) >= len(actionNames) || v.source == sourceNone {
			t.Fatalf("believed %+v", v)
		}
	})
}

func FuzzDecodeAcknowledgement(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"generation":"g","changed":["example.org"],"overrides":[{"client":"192.0.2.0/24","mode":"off"}]}`))
	f.Add([]byte(`{"epoch":1,"generation":"g","changed":null,"overrides":[{"client":"::/0","mode":"enforce"},{"client":"x","mode":""}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decodeAcknowledgement(body)
		if err != nil {
			return
		}
		d := newDirectives(a)
		if len(d.clients) > maxOverrides {
			t.Fatalf("%d overrides", len(d.clients))
		}
		if a.Changed != nil {
			changedSet(*a.Changed)
		}
	})
}

// TestARefusedAnswerCostsWhatItIs: not a hundred times its octets, which eight frames in flight would take at the same time.
func TestARefusedAnswerCostsWhatItIs(t *testing.T) {
	const most = 64 << 20
	many := func(element string) string {
		return strings.Repeat(element+",", maxReplyOctets/(len(element)+1)-100) + element
	}
	for name, decode := range map[string]func() error{
		"verdicts": func() error {
			_, err := decodeFrame([]byte(`{"epoch":1,"generation":"g1","verdicts":[`+many("{}")+`]}`), []string{"example.org"})
			return err
		},
		"overrides": func() error {
			_, err := decodeAcknowledgement([]byte(`{"epoch":1,"generation":"g1","overrides":[` + many("0") + `]}`))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := decode()
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > most {
				t.Errorf("%d MiB for it, expected at most %d; error %v", took>>20, most>>20, err)
			}
		})
	}
}
