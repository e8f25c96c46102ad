package verdict

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// exposed makes the plugin do all that it counts, and returns each metric's name with its labels.
func exposed(t *testing.T) map[string][]string {
	t.Helper()
	h := newHarness(t, stanza{mode: modeEnforce})
	h.chain.aliases["www.example.org."] = test.CNAME("www.example.org. 60 IN CNAME x.example.net.")
	h.ask(t, query1("www.example.org", dns.TypeA))
	h.stub.set(func() {
		h.stub.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	eventually(t, "the breaker open", func() bool {
		h.ask(t, query1("other.example.org", dns.TypeA))
		return h.engine.cluster.blocked() == reasonBreaker
	})
	h.ask(t, query1("new.example.org", dns.TypeA))
	h.engine.gauge()
	eventually(t, "a report", func() bool { return h.engine.answered.Load() })
	found := map[string][]string{}
	eventually(t, "every metric", func() bool {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if name, ours := strings.CutPrefix(family.GetName(), "coredns_verdict_"); ours {
				found[name] = nil
				for _, label := range family.GetMetric()[0].GetLabel() {
					found[name] = append(found[name], label.GetName())
				}
				for _, one := range family.GetMetric() {
					for _, label := range one.GetLabel() {
						if value := label.GetValue(); strings.Contains(value, ".example") || strings.Contains(value, "192.0.2.7") {
							t.Errorf("%s{%s=%q}: a client or a name is a label", name, label.GetName(), value)
						}
					}
				}
			}
		}
		return found["reports_total"] != nil && found["breaker_open"] != nil
	})
	return found
}

var (
	namesMetric  = regexp.MustCompile(`coredns_verdict_([a-z_]+)`)
	manualMetric = regexp.MustCompile("`coredns_verdict_([a-z_]+)\\{([a-z, ]*)\\}`")
	selected     = regexp.MustCompile(`coredns_verdict_([a-z_]+)\{([a-z]+)=`)
)

// Every metric that the operating files and the manual name is one that the plugin exposes; the manual has them all.
func TestTheFilesForOperatorsNameRealMetrics(t *testing.T) {
	real := exposed(t)
	files, err := filepath.Glob("../../docs/operating/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v: expected dashboard, scrape file and alerts", files, err)
	}
	shown := map[string]bool{}
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range namesMetric.FindAllStringSubmatch(string(text), -1) {
			name := match[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if short, ok := strings.CutSuffix(name, suffix); ok && real[name] == nil {
					name = short
				}
			}
			if _, ok := real[name]; !ok {
				t.Errorf("%s: coredns_verdict_%s is not exposed", file, match[1])
			}
			shown[filepath.Base(file)+" "+name] = true
		}
		for _, match := range selected.FindAllStringSubmatch(string(text), -1) {
			if labels := real[match[1]]; match[2] != "instance" && len(labels) > 0 && !slices.Contains(labels, match[2]) {
				t.Errorf("%s: coredns_verdict_%s has no label %s but %v", file, match[1], match[2], labels)
			}
		}
	}
	manual, _ := os.ReadFile("README.md")
	for _, match := range manualMetric.FindAllStringSubmatch(string(manual), -1) {
		labels := strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		if got := real[match[1]]; !slices.Equal(got, labels) {
			t.Errorf("the manual gives coredns_verdict_%s the labels %v, it has %v", match[1], labels, got)
		}
	}
	for name := range real {
		for _, file := range []string{"README.md", "grafana.json"} {
			if !shown[file+" "+name] {
				t.Errorf("%s does not show coredns_verdict_%s", file, name)
			}
		}
	}
}

// TestAnEngineThatEndsLeavesTheMetrics: neither its cache nor its open breaker stand there for the rest of the process's life.
func TestAnEngineThatEndsLeavesTheMetrics(t *testing.T) {
	s := newStub(t)
	s.set(func() {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	config := testConfig(t, s.URL)
	config.resolver = "resolver-that-ends"
	e, err := newEngine(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() (gauges []string, open float64) {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				for _, label := range one.GetLabel() {
					switch {
					case label.GetValue() == config.resolver:
						gauges = append(gauges, family.GetName())
					case label.GetValue() == s.URL && strings.HasSuffix(family.GetName(), "breaker_open"):
						open += one.GetGauge().GetValue()
					}
				}
			}
		}
		return gauges, open
	}
	e.gauge()
	for i := range openAfter {
		fl, _, _ := e.framer.ask(fmt.Sprintf("n%d.example.org", i))
		<-fl.done
	}
	if gauges, open := shown(); len(gauges) != 3 || open != 1 {
		t.Errorf("gauges %v, %v left out: expected three, and one", gauges, open)
	}
	e.close()
	if gauges, open := shown(); len(gauges) != 0 || open != 0 {
		t.Errorf("gauges %v, %v left out after its end", gauges, open)
	}
}

// TestEveryBreakerStandsInTheMetrics: an alert compares all endpoints of an instance. So one that never failed is among them, and one that
// no engine has any more is not.
func TestEveryBreakerStandsInTheMetrics(t *testing.T) {
	failing, well := newStub(t), newStub(t)
	failing.set(func() {
		failing.fault = func(w http.ResponseWriter, _ *http.Request, _ func()) { http.Error(w, "", 500) }
	})
	shown := func(url string) (open float64, found bool) {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				if strings.HasSuffix(family.GetName(), "breaker_open") && one.GetLabel()[0].GetValue() == url {
					return one.GetGauge().GetValue(), true
				}
			}
		}
		return 0, false
	}
	var both [2]*engine // as for a moment in a reload
	for i := range both {
		e, err := newEngine(testConfig(t, failing.URL, well.URL), nil)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = e
	}
	for i := 0; both[0].cluster.endpoints[0].breaker.blocked() == reasonNone && i < 1000; i++ {
		if fl, _, _ := both[0].framer.ask(fmt.Sprintf("n%d.example.org", i)); fl != nil {
			<-fl.done
		}
	}
	if open, _ := shown(failing.URL); open != 1 {
		t.Errorf("%v engines leave the failing endpoint out, expected one", open)
	}
	if open, found := shown(well.URL); !found || open != 0 {
		t.Errorf("the endpoint that is well: %v, found %t", open, found)
	}
	for i, e := range both {
		e.close()
		for _, url := range []string{failing.URL, well.URL} {
			if open, found := shown(url); open != 0 || found != (i == 0) {
				t.Errorf("after the end of engine %d: %v, found %t", i, open, found)
			}
		}
	}
}

// TestTheGaugesTellOfAllEnginesOfAResolver: two server blocks may ask two clusters under one name.
func TestTheGaugesTellOfAllEnginesOfAResolver(t *testing.T) {
	entries := func() (found []float64) {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				if family.GetName() == "coredns_verdict_cache_entries" && one.GetLabel()[0].GetValue() == "resolver-of-two" {
					found = append(found, one.GetGauge().GetValue())
				}
			}
		}
		return found
	}
	engines := []*engine{{}, {}} // that do nothing by themselves: what they hold changes when a cluster is heard
	for _, e := range engines {
		e.config.resolver = "resolver-of-two"
	}
	for i, want := range []float64{3, 7} {
		showState(engines[i], &state{entries: i + 3})
		if got := entries(); !slices.Equal(got, []float64{want}) {
			t.Errorf("%v verdicts shown, expected %v", got, want)
		}
	}
	showState(engines[0], nil)
	if got := entries(); !slices.Equal(got, []float64{4}) {
		t.Errorf("%v verdicts shown once one has ended, expected 4", got)
	}
	showState(engines[1], nil)
	if got := entries(); got != nil {
		t.Errorf("%v verdicts shown once both have ended, expected none", got)
	}
}
