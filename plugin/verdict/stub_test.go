package verdict

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const stubToken = "not-a-secret"

// stub is a cluster: it judges names by rules of its own, keeps the batches, and misbehaves when told to.
type stub struct {
	*httptest.Server
	mu         sync.Mutex
	rules      map[string]string // suffix to the fields of its verdict
	asked      []string
	frames     []int
	batches    []goldenBatch
	epoch      uint64
	generation string
	ack        map[string]any
	fault      func(w http.ResponseWriter, r *http.Request, answer func()) // instead of an answer to a frame
	reports    http.HandlerFunc                                            // instead of an acknowledgement
}

const (
	saysBenign = `"label":"benign","tier":"none","action":"passthru","cache_ttl":300,"source":"model","score":0.1,"generated":0.2`
	saysBlock  = `"label":"malicious","tier":"block","action":"nxdomain","cache_ttl":300,"source":"model","score":0.9,"generated":0.99,"rule":"generated>=0.95"`
)

// listed is the verdict of a list's entry for suffix.
func listed(source, action, suffix string) string {
	extra := ""
	if action == "local-data" {
		extra = `,"answers":["192.0.2.53","2001:db8::53"],"answer_ttl":60`
	}
	tier, label, score := "block", "malicious", 1
	if source == "benign-list" {
		tier, label, score = "none", "benign", 0
	}
	return fmt.Sprintf(`"label":"%s","tier":"%s","action":"%s","cache_ttl":300,"source":"%s","score":%d,"generated":0,"rule":"%s"%s`,
		label, tier, action, source, score, suffix, extra)
}

func newStub(t testing.TB) *stub {
	t.Helper()
	s := &stub{rules: map[string]string{}, epoch: 1, generation: "g1", ack: map[string]any{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Server.Close)
	return s
}

func (s *stub) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+stubToken {
		http.Error(w, `{"code":"unauthorised"}`, http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	fault, reports := s.fault, s.reports
	s.mu.Unlock()
	switch {
	case r.URL.Path == healthPath:
		fmt.Fprint(w, "{}")
	case r.URL.Path == observationsPath && reports != nil:
		reports(w, r)
	case r.URL.Path == observationsPath:
		s.acknowledge(w, r)
	case fault != nil:
		fault(w, r, func() { s.judge(w, r) })
	default:
		s.judge(w, r)
	}
}

func (s *stub) judge(w http.ResponseWriter, r *http.Request) {
	var request struct{ Names []string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &request) != nil || r.Header.Get("Verdict-Budget-Ms") == "" {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, request.Names...)
	s.frames = append(s.frames, len(request.Names))
	fmt.Fprintf(w, `{"asked":%d,%s`, crc32.ChecksumIEEE(body), s.answer(request.Names)[1:])
}

// answer is the reply to a frame; the caller holds the lock.
func (s *stub) answer(names []string) string {
	verdicts := make([]string, len(names))
	for i, name := range names {
		verdicts[i] = "{" + saysBenign + "}"
		for suffix, fields := range s.rules {
			if isUnder(name, suffix) {
				verdicts[i] = "{" + fields + "}"
			}
		}
	}
	return fmt.Sprintf(`{"epoch":%d,"generation":"%s","model":"m1","verdicts":[%s]}`,
		s.epoch, s.generation, strings.Join(verdicts, ","))
}

func (s *stub) acknowledge(w http.ResponseWriter, r *http.Request) {
	var b goldenBatch
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
	reply := map[string]any{"epoch": s.epoch, "generation": s.generation}
	for field, value := range s.ack {
		reply[field] = value
	}
	json.NewEncoder(w).Encode(reply)
}

func (s *stub) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *stub) count(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if asked == name {
			n++
		}
	}
	return n
}

// sent is the reports that came.
func (s *stub) sent() []goldenBatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches
}

// rows are all rows reported of a name.
func (s *stub) rows(qname string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		for _, r := range b.Rows {
			if r.QName == qname {
				n := uint32(1)
				if r.Count != nil {
					n = *r.Count
				}
				found = append(found, fmt.Sprintf("%d %s %s %s enforced=%t %s %s", n, r.Label, r.Action, r.Source, r.Enforced, r.RCode, r.Reason))
			}
		}
	}
	slices.Sort(found)
	return found
}

func tokenFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(stubToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testConfig asks the given endpoints with a deadline that a busy machine keeps.
func testConfig(t testing.TB, urls ...string) engineConfig {
	return engineConfig{
		endpoints: strings.Join(urls, " "), tokenFile: tokenFile(t), resolver: "resolver-1", timeout: 2 * time.Second,
		capacity: 4096, unheard: time.Hour, frame: defaultFrame, wait: defaultWait, maxConcurrent: defaultMaxConcurrent,
	}
}

func newTestEngine(t testing.TB, config engineConfig) *engine {
	t.Helper()
	e, err := newEngine(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}
