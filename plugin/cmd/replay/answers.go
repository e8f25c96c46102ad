package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// benign is the verdict on a name that was not recorded.
const benign = `{"label":"benign","tier":"none","action":"passthru","cache_ttl":300,"source":"model","score":0,"generated":0}`

// recording is verdicts by name, under the epoch, generation and model they were taken with.
type recording struct {
	head     map[string]json.RawMessage
	verdicts map[string]json.RawMessage
}

// cluster serves recorded answers on the loopback, and returns its URL and a token file; without a file both are empty.
func cluster(path string) (url, token string, end func(), err error) {
	if path == "" {
		return "", "", func() {}, nil
	}
	r, err := load(path)
	if err != nil {
		return "", "", nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", nil, err
	}
	file, err := os.CreateTemp("", "verdict-replay-token")
	if err != nil {
		listener.Close()
		return "", "", nil, err
	}
	fmt.Fprintln(file, "recorded")
	file.Close()
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), file.Name(), func() { server.Close(); os.Remove(file.Name()) }, nil
}

// load reads what `python -m loadtest.recorded take` writes: a line for the head, then one a name.
func load(path string) (*recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := &recording{verdicts: map[string]json.RawMessage{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		var row struct{ Name *string }
		if number == 1 {
			err = json.Unmarshal(lines.Bytes(), &r.head)
		} else if err = json.Unmarshal(lines.Bytes(), &row); err == nil && row.Name == nil {
			err = fmt.Errorf("no name")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w: expected what `python -m loadtest.recorded take` writes", path, number, err)
		}
		if number > 1 {
			r.verdicts[*row.Name] = append(json.RawMessage(nil), lines.Bytes()...)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: after %d names: %w", path, len(r.verdicts), err)
	}
	if r.head["epoch"] == nil || r.head["generation"] == nil {
		return nil, fmt.Errorf("%s:1: no epoch or no generation: expected what `python -m loadtest.recorded take` writes", path)
	}
	return r, nil
}

// ServeHTTP answers a frame of names.
func (r *recording) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var frame struct{ Names []string }
	if err := json.NewDecoder(request.Body).Decode(&frame); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verdicts := make([]json.RawMessage, len(frame.Names))
	for i, name := range frame.Names {
		verdicts[i] = json.RawMessage(benign)
		if found, ok := r.verdicts[strings.TrimSuffix(name, ".")]; ok {
			verdicts[i] = found
		}
	}
	reply := map[string]any{"verdicts": verdicts}
	for field, value := range r.head {
		reply[field] = value
	}
	json.NewEncoder(w).Encode(reply)
}
