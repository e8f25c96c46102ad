package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	random "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

// runMain makes this test binary the server itself: the tests start it as a process of its own.
const runMain = "VERDICT_TEST_RUN_COREDNS"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// cluster is a stub that blocks what lies under blocked.test-zone, and has one zone for each of some other actions.
type cluster struct {
	*httptest.Server
	mu        sync.Mutex
	seen      uint64
	epoch     uint64
	overrides string // JSON
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{epoch: 1, overrides: "[]"}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) serve(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Names []string
		Seen  uint64
	}
	json.NewDecoder(r.Body).Decode(&body)
	if r.URL.Path == "/v1/observations" {
		c.mu.Lock()
		c.seen += body.Seen
		fmt.Fprintf(w, `{"epoch":%d,"generation":"g","overrides":%s}`, c.epoch, c.overrides)
		c.mu.Unlock()
		return
	}
	verdicts := make([]string, len(body.Names))
	for i, name := range body.Names {
		verdicts[i] = `{"label":"benign","tier":"none","action":"passthru","cache_ttl":300,"source":"model","score":0.1,"generated":0.1}`
		for zone, action := range map[string]string{
			"blocked.test-zone": `"action":"nxdomain","source":"blocklist"`, "nodata.test-zone": `"action":"nodata","source":"blocklist"`,
			"drop.test-zone":  `"action":"drop","source":"blocklist"`,
			"honey.test-zone": `"action":"local-data","source":"honeypot-list","answers":["192.0.2.53","2001:db8::53"],"answer_ttl":60`,
		} {
			if strings.HasSuffix(name, zone) {
				verdicts[i] = `{"label":"malicious","tier":"block","cache_ttl":300,"score":1,"generated":0,"rule":"` + zone + `",` + action + `}`
			}
		}
	}
	fmt.Fprintf(w, `{"epoch":1,"generation":"g","model":"m","verdicts":[%s]}`, strings.Join(verdicts, ","))
}

// upstream answers every query with one address, over UDP and TCP.
func upstream(t *testing.T) string {
	address := "127.0.0.1:" + port(t)
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		server := &dns.Server{Addr: address, Net: network, NotifyStartedFunc: func() { close(started) }}
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetReply(r)
			rr, _ := dns.NewRR(r.Question[0].Name + " 60 IN A 192.0.2.80")
			m.Answer = []dns.RR{rr}
			w.WriteMsg(m)
		})
		go server.ListenAndServe()
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return address
}

// port is one that is free for UDP and TCP at the moment, and not of those that the kernel gives to connections.
func port(t *testing.T) string {
	for range 100 {
		number := strconv.Itoa(10000 + random.IntN(10000))
		l, err := net.Listen("tcp", "127.0.0.1:"+number)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", "127.0.0.1:"+number)
		l.Close()
		if err == nil {
			pc.Close()
			return number
		}
	}
	t.Fatal("no free port")
	return ""
}

// material is the files that the examples name.
func material(t *testing.T) string {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"cert.pem": certificate, "ca.pem": certificate, "verdict.token": []byte("not-a-secret\n"),
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// server is a CoreDNS process.
type server struct {
	*exec.Cmd
	out *output
}

// output is what it has said so far.
type output struct {
	mu   sync.Mutex
	said bytes.Buffer // not embedded: its ReadFrom would pass the lock by
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.String()
}

func start(t *testing.T, corefile string) *server {
	path := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{exec.Command(os.Args[0], "-conf", path), &output{}}
	s.Env = append(os.Environ(), runMain+"=1")
	s.Stdout, s.Stderr = s.out, s.out
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	if s.ProcessState == nil {
		s.Process.Signal(os.Interrupt)
		s.Wait()
	}
}

var (
	listeners = regexp.MustCompile(`:(1053|1853|1443|2853|2443|9153|8080|8181|6000)\b`)
	endpoints = regexp.MustCompile(`(?m)^(\s*verdict) https?://.*\{$`)
)

// local makes an example run here: own ports, files, cluster and upstream. It returns the ports by the example's.
func local(t *testing.T, text, url string) (string, map[string]string) {
	ports := map[string]string{}
	text = listeners.ReplaceAllStringFunc(text, func(found string) string {
		if ports[found[1:]] == "" {
			ports[found[1:]] = port(t)
		}
		return ":" + ports[found[1:]]
	})
	if strings.Contains(text, "https://verdict-a") {
		url = strings.Replace(url, "http://", "https://", 1) + " " + url // the first cannot be reached: the second answers
	}
	text = endpoints.ReplaceAllString(text, "$1 "+url+" {")
	text = strings.ReplaceAll(text, "/etc/coredns/", material(t)+"/")
	return strings.ReplaceAll(text, "forward . 192.0.2.1", "forward . "+upstream(t)), ports
}
