package verdict

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// goldenCase is one case of a file in tests/golden; tests/test_golden.py reads the same files.
type goldenCase struct {
	Name    string    `json:"name"`
	Names   []string  `json:"names"`
	Body    string    `json:"body"`
	Error   *string   `json:"error"`
	Encoded *bool     `json:"encoded"` // false: the plugin reads this but would write it otherwise
	Changed *[]string `json:"changed"`
	Refresh bool      `json:"refresh"`
	Paused  bool      `json:"paused"`
	Count   int       `json:"overrides"`
}

func golden(t *testing.T, file string) []goldenCase {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "tests", "golden", file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Cases []goldenCase `json:"cases"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Cases) == 0 {
		t.Fatalf("%s: no cases", file)
	}
	return found.Cases
}

func written(c goldenCase) bool { return c.Error == nil && (c.Encoded == nil || *c.Encoded) }

func TestGoldenRequests(t *testing.T) {
	for _, c := range golden(t, "verdicts_request") {
		if !written(c) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if got := string(appendNames(nil, c.Names)); got != c.Body {
				t.Errorf("got  %s\nwant %s", got, c.Body)
			}
			for _, name := range c.Names {
				if got := string(normalise(nil, name)); got != name {
					t.Errorf("normalise(%q) = %q", name, got)
				}
			}
		})
	}
}

func TestGoldenReplies(t *testing.T) {
	for _, c := range golden(t, "verdicts_reply") {
		t.Run(c.Name, func(t *testing.T) {
			f, err := decodeFrame([]byte(c.Body), c.Names)
			if c.Error != nil {
				if err == nil || !strings.Contains(err.Error(), *c.Error) {
					t.Fatalf("error %v, expected one with %q", err, *c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var told struct {
				Asked    *uint32
				Verdicts []map[string]any
			}
			if err := json.Unmarshal([]byte(c.Body), &told); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(f.asked, told.Asked) {
				t.Errorf("asked %v, want %v", f.asked, told.Asked)
			}
			for i, v := range f.verdicts {
				got := []any{v.name, v.label.String(), v.tier.String(), v.action.String(), v.source.String(), v.score, v.generated}
				w := told.Verdicts[i]
				want := []any{c.Names[i], w["label"], w["tier"], w["action"], w["source"], w["score"], w["generated"]}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("verdicts[%d]: got %v, want %v", i, got, want)
				}
				told := 0
				if v.sinkhole != nil {
					told = len(v.answers)
				}
				if answers, _ := w["answers"].([]any); told != len(answers) {
					t.Errorf("verdicts[%d]: %d answers, want %d", i, told, len(answers))
				}
			}
		})
	}
}

// goldenBatch is a batch as the golden files hold it.
type goldenBatch struct {
	head
	Rows []struct {
		QName, QType, Client, Label, Action, Source, Rule, Model, Tier, RCode, Reason string
		Enforced                                                                      bool
		First, Last                                                                   int64
		Count                                                                         *uint32
		Score, Generated                                                              float64
		LatencySum                                                                    int64  `json:"latency_sum"`
		LatencyMax                                                                    int64  `json:"latency_max"`
		TargetOf                                                                      string `json:"target_of"`
		Addresses                                                                     []netip.Addr
		Targets                                                                       []string
	}
}

func TestGoldenObservations(t *testing.T) {
	for _, c := range golden(t, "observations") {
		if !written(c) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			var told goldenBatch
			if err := json.Unmarshal([]byte(c.Body), &told); err != nil {
				t.Fatal(err)
			}
			b := &batch{number: told.Batch, discarded: told.Discarded}
			for i := range told.Rows {
				r, s := goldenRow(t, &told, i)
				if i > 0 {
					b.rows = append(b.rows, ',')
				}
				b.rows = appendRow(b.rows, &r, &s)
				b.queries += uint64(r.count)
			}
			got, want := withDefaults(t, sentBody(t, b, told.head)), withDefaults(t, []byte(c.Body))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// sentBody is a batch as it goes over the wire.
func sentBody(t *testing.T, b *batch, h head) []byte {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, observationsPath, nil)
	b.body(h)(request)
	body, err := io.ReadAll(request.Body)
	if err != nil || int64(len(body)) != request.ContentLength {
		t.Fatalf("%d octets and %v, expected %d", len(body), err, request.ContentLength)
	}
	return body
}

func goldenRow(t *testing.T, told *goldenBatch, i int) (row, story) {
	t.Helper()
	w := told.Rows[i]
	count := uint32(1)
	if w.Count != nil {
		count = *w.Count
	}
	find := func(names []string, text, fallback string) uint8 {
		if text == "" {
			text = fallback
		}
		i, ok := index(names, text)
		if !ok {
			t.Fatalf("no %q among %v", text, names)
		}
		return i
	}
	rcode := -1
	if value, ok := dns.StringToRcode[w.RCode]; ok {
		rcode = value
	} else if w.RCode == "RCODE3841" {
		rcode = 3841
	}
	qtype, ok := dns.StringToType[w.QType]
	if !ok {
		qtype = 65280
	}
	r := row{
		verdict: &verdict{tier: tier(find(tierNames[:], w.Tier, "none")), score: w.Score, generated: w.Generated},
		key: keyOf(qtype, netip.MustParseAddr(w.Client), &outcome{
			rcode: rcode, enforced: w.Enforced, action: action(find(actionNames[:], w.Action, "passthru")),
			reason: reason(find(reasonNames[:], w.Reason, "")),
		}),
		count: count, first: w.First, span: uint32(w.Last - w.First),
	}
	s := story{
		qname: w.QName, rule: w.Rule, model: w.Model, targetOf: w.TargetOf,
		label:      label(find(labelNames[:], w.Label, "")),
		source:     source(find(sourceNames[:], w.Source, "none")),
		latencySum: w.LatencySum, latencyMax: w.LatencyMax, addresses: w.Addresses, targets: w.Targets,
	}
	return r, s
}

// withDefaults reads a batch with the fields that may be absent filled in.
func withDefaults(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var read map[string]any
	if err := json.Unmarshal(body, &read); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for _, r := range read["rows"].([]any) {
		r := r.(map[string]any)
		for field, value := range map[string]any{"count": 1., "action": "passthru", "source": "none", "tier": "none"} {
			if _, ok := r[field]; !ok {
				r[field] = value
			}
		}
	}
	return read
}

func TestGoldenAcknowledgements(t *testing.T) {
	for _, c := range golden(t, "acknowledgements") {
		t.Run(c.Name, func(t *testing.T) {
			a, err := decodeAcknowledgement([]byte(c.Body))
			if c.Error != nil {
				if err == nil || !strings.Contains(err.Error(), *c.Error) {
					t.Fatalf("error %v, expected one with %q", err, *c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(a.Changed, c.Changed) || a.Refresh != c.Refresh || a.Paused != c.Paused {
				t.Errorf("got changed %v, refresh %t, paused %t", a.Changed, a.Refresh, a.Paused)
			}
			if d := newDirectives(a); d.wrong != "" || len(d.clients) != c.Count {
				t.Errorf("%d overrides and %q, expected %d", len(d.clients), d.wrong, c.Count)
			}
		})
	}
}

// The cluster holds what older plugins and imported logs say of types to the same rule.
func TestTypesAreToldAsTheClusterHoldsThem(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "tests", "golden", "qtypes.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Names map[string]uint16
		Told  [][2]int
	}
	if err := json.Unmarshal(text, &rule); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{}
	for _, span := range rule.Told {
		for number := span[0]; number <= span[1]; number++ {
			want[number] = "TYPE" + strconv.Itoa(number)
		}
	}
	for name, number := range rule.Names {
		want[int(number)] = name
	}
	for number := range 1 << 16 {
		expected, ok := want[number]
		if !ok {
			expected = "other"
		}
		if got := qtypeText(qtypeTold(uint16(number))); got != expected {
			t.Errorf("type %d: got %s, want %s", number, got, expected)
		}
	}
}
