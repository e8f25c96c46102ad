package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	"google.golang.org/protobuf/proto"
)

// get asks a URL of the server, once it listens.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get(url); err == nil {
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			return response.StatusCode, string(text)
		}
	}
	t.Fatalf("nobody listens at %s", url)
	return
}

// page waits until a URL of the server answers with 200.
func page(t *testing.T, s *server, url string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, body := get(t, url)
		if status == http.StatusOK {
			return body
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d %s\n%s", url, status, body, s.out.String())
		}
	}
}

// TestReadyWaitsForTheCluster: with `on_error servfail` a server is alive at once, and ready when the cluster has answered.
func TestReadyWaitsForTheCluster(t *testing.T) {
	late := newCluster(t)
	address := late.Listener.Addr().String()
	late.Close()
	corefile, ports := local(t, `.:1053 {
    bind 127.0.0.1
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    verdict http://127.0.0.1:8000 {
        token /etc/coredns/verdict.token
        on_error servfail
    }
    forward . 192.0.2.1
}
`, "http://"+address)
	s := start(t, corefile)
	page(t, s, "http://127.0.0.1:"+ports["8080"]+"/health")
	url := "http://127.0.0.1:" + ports["8181"] + "/ready"
	if status, body := get(t, url); status != http.StatusServiceUnavailable || !strings.Contains(body, "verdict") {
		t.Errorf("%d %s: ready without a cluster", status, body)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the cluster's port was taken meanwhile: %v", err)
	}
	back := &http.Server{Handler: http.HandlerFunc(late.serve)}
	go back.Serve(listener)
	defer back.Close()
	page(t, s, url)
}

// TestDnstapShowsTheVerdict: the example's `extra` has what metadata tells.
func TestDnstapShowsTheVerdict(t *testing.T) {
	text, err := os.ReadFile("../../examples/observed.corefile")
	if err != nil {
		t.Fatal(err)
	}
	corefile, ports := local(t, string(text), newCluster(t).URL)
	listener, err := net.Listen("tcp", "127.0.0.1:"+ports["6000"])
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	extras := make(chan string, 1000)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		reader, err := dnstap.NewReader(connection, &dnstap.ReaderOptions{Bidirectional: true})
		if err != nil {
			return
		}
		frame := make([]byte, 64<<10)
		for {
			n, err := reader.ReadFrame(frame)
			var tap dnstap.Dnstap
			if err != nil || proto.Unmarshal(frame[:n], &tap) != nil {
				return
			}
			if tap.GetMessage().GetType() == dnstap.Message_CLIENT_RESPONSE {
				extras <- string(tap.Extra)
			}
		}
	}()
	s := start(t, corefile)
	want := map[string]bool{"malicious nxdomain": true, "benign passthru": true}
	for end := time.Now().Add(30 * time.Second); len(want) > 0 && time.Now().Before(end); {
		for _, name := range []string{"www.blocked.test-zone.", "www.example.com."} {
			if m := ask(t, s, "udp", "127.0.0.1:"+ports["1053"], name); len(m.Question) != 1 {
				t.Fatalf("got %s", m)
			}
		}
		for waiting := true; waiting; {
			select {
			case extra := <-extras:
				delete(want, extra)
			case <-time.After(100 * time.Millisecond):
				waiting = false
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("dnstap did not show %v\n%s", want, s.out.String())
	}
}
