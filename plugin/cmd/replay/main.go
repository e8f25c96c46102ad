// Command replay puts the queries of a dnstap file through the plugin's decision path and prints what would have
// happened, had the stanza of a Corefile been in force in mode enforce. The cluster is the stanza's, or a file of recorded
// answers. Nothing is reported, and nobody is asked for addresses.
//
//	replay [-json] [-wait 10s] [-answers verdicts.jsonl] COREFILE FILE.dnstap
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/verdict/verdict"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// line is one query of the output.
type line struct {
	Time   string `json:"time"`
	Client string `json:"client"`
	QName  string `json:"qname"`
	QType  string `json:"qtype"`
	verdict.Decided
}

func run(arguments []string, out, said io.Writer) error {
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(said)
	flags.Usage = func() {
		fmt.Fprintln(said, "usage: replay [-json] [-wait DURATION] [-answers FILE] COREFILE FILE.dnstap")
		flags.PrintDefaults()
	}
	asJSON := flags.Bool("json", false, "one JSON object a query instead of a line with tabs")
	wait := flags.Duration("wait", 10*time.Second, "how long a verdict is waited for, 1ms to 10s")
	answers := flags.String("answers", "", "recorded answers from `FILE` (python -m loadtest.recorded take writes one), instead of the cluster")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 2 || *wait < time.Millisecond || *wait > 10*time.Second {
		flags.Usage()
		return fmt.Errorf("replay: expected a Corefile and a dnstap file, and a wait from 1ms to 10s")
	}
	url, token, end, err := cluster(*answers)
	if err != nil {
		return err
	}
	defer end()
	corefile, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer corefile.Close()
	replay, err := verdict.NewReplay(flags.Arg(0), corefile, *wait, url, token)
	if err != nil {
		return err
	}
	defer replay.Close()
	buffered := bufio.NewWriter(out)
	counts, err := decideAll(replay, flags.Arg(1), writer(buffered, *asJSON))
	if err := buffered.Flush(); err != nil {
		return err
	}
	tell(said, counts)
	return err
}

func writer(out io.Writer, asJSON bool) func(line) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		return func(l line) error { return encoder.Encode(l) }
	}
	return func(l line) error {
		what := l.Action
		switch {
		case l.Untouched:
			what = "untouched"
		case l.Reason != "" && !l.Enforced: // an alias target's verdict may have acted
			what = l.Reason
		}
		_, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%t\t%s\t%s\t%.4f\n",
			l.Time, l.Client, l.QName, l.QType, what, l.Enforced, l.Source, l.Rule, l.Score)
		return err
	}
}

// tell sums up: how many queries had which action by whose decision.
func tell(said io.Writer, counts map[string]int) {
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		fmt.Fprintf(said, "%9d  %s\n", counts[key], key)
	}
}
