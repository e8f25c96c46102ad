package verdict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
)

const (
	maxFrame       = 1024    // names a request may hold (contract 1)
	maxReplyOctets = 4 << 20 // 1,024 verdicts with 16 addresses and long rules are under 2 MiB
	maxAnswers     = 64
	maxHead        = 1024      // values of a reply beside its verdicts
	maxValues      = 128       // of a verdict, unknown fields among them
	maxText        = maxNormal // octets of a rule, which may be a name, of a model's version and of a generation
	maxEpoch       = 1 << 53   // no cluster gets there, and none takes a report that says more
)

// errMalformed is an answer that breaks the contract; nothing of it is believed.
type errMalformed struct{ what string }

func (e errMalformed) Error() string { return "malformed answer: " + e.what }

func malformed(format string, args ...any) error { return errMalformed{fmt.Sprintf(format, args...)} }

// crowded refuses a reply that has more values than any that is valid: decoded, a value takes up to a hundred times the octets that it is
// sent in. Most names and texts have no comma.
func crowded(body []byte, most int) error {
	if n := bytes.Count(body, []byte{','}); n > most {
		return malformed("%d commas, expected at most %d", n, most)
	}
	return nil
}

// frame is a decoded reply to a frame of names.
type frame struct {
	epoch      uint64
	generation string
	model      string  // "" where none was needed
	asked      *uint32 // CRC-32 of the request's body that this answers; nil where it does not say
	verdicts   []*verdict
}

// appendNames appends the request for a frame of normalised names.
func appendNames(dst []byte, names []string) []byte {
	dst = append(dst, `{"names":[`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
	}
	return append(dst, "]}"...)
}

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	escapes := false
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' {
			text, _ := json.Marshal(s) // cannot fail: what is no UTF-8 is replaced
			return append(dst, text...)
		} else if c == '\\' {
			escapes = true
		}
	}
	dst = append(dst, '"')
	if !escapes {
		return append(append(dst, s...), '"')
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// wireFrame and wireVerdict are the reply as JSON; a pointer tells an absent field from a zero.
type wireFrame struct {
	Epoch      *uint64       `json:"epoch"`
	Generation *string       `json:"generation"`
	Model      string        `json:"model"`
	Asked      *uint32       `json:"asked"`
	Verdicts   []wireVerdict `json:"verdicts"`
}

type wireVerdict struct {
	Label     *string  `json:"label"`
	Tier      *string  `json:"tier"`
	Action    *string  `json:"action"`
	Source    *string  `json:"source"`
	Score     *float64 `json:"score"`
	Generated *float64 `json:"generated"`
	CacheTTL  *uint32  `json:"cache_ttl"`
	Rule      string   `json:"rule"`
	Answers   []string `json:"answers"`
	AnswerTTL uint32   `json:"answer_ttl"`
}

// decodeFrame reads the reply to a request for names, and believes either all of it or nothing.
func decodeFrame(body []byte, names []string) (*frame, error) {
	if err := crowded(body, maxHead+maxValues*len(names)); err != nil {
		return nil, err
	}
	var wire wireFrame
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, malformed("%v", err)
	}
	if err := stamped(wire.Epoch, wire.Generation); err != nil {
		return nil, err
	}
	if len(wire.Verdicts) != len(names) {
		return nil, malformed("%d verdicts, expected %d", len(wire.Verdicts), len(names))
	}
	if len(wire.Model) > maxText {
		return nil, malformed("model of %d octets, expected at most %d", len(wire.Model), maxText)
	}
	f := &frame{
		epoch: *wire.Epoch, generation: *wire.Generation, model: wire.Model, asked: wire.Asked, verdicts: make([]*verdict, len(names)),
	}
	from := originOf(f.epoch, wire.Model)
	for i := range wire.Verdicts {
		v := new(verdict) // each by itself: in one array, the last to leave the cache would keep all of the frame
		if err := wire.Verdicts[i].into(v, names[i]); err != nil {
			return nil, malformed("verdicts[%d]: %v", i, err)
		}
		v.origin = from
		f.verdicts[i] = v
	}
	return f, nil
}

// stamped checks the epoch and the generation of a reply. The cache follows them and never goes back: one wrong epoch would keep all
// that comes after it from being believed.
func stamped(epoch *uint64, generation *string) error {
	switch {
	case epoch == nil || generation == nil:
		return malformed("no epoch or no generation")
	case *epoch > maxEpoch:
		return malformed("epoch %d, expected at most 2^53", *epoch)
	case len(*generation) > maxText:
		return malformed("generation of %d octets, expected at most %d", len(*generation), maxText)
	}
	return nil
}

// into checks one verdict on name and copies it into v.
func (w *wireVerdict) into(v *verdict, name string) error {
	if w.Score == nil || w.Generated == nil || w.CacheTTL == nil {
		return fmt.Errorf("expected score, generated and cache_ttl")
	}
	if !(*w.Score >= 0 && *w.Score <= 1) || !(*w.Generated >= 0 && *w.Generated <= 1) {
		return fmt.Errorf("score %v, generated %v: expected 0 to 1", *w.Score, *w.Generated)
	}
	l, err := word("label", labelNames[:unknown], w.Label)
	if err != nil {
		return err
	}
	t, err := word("tier", tierNames[:], w.Tier)
	if err != nil {
		return err
	}
	a, err := word("action", actionNames[:], w.Action)
	if err != nil {
		return err
	}
	s, err := word("source", sourceNames[sourceBenignList:], w.Source)
	if err != nil {
		return err
	}
	*v = verdict{
		label: label(l), tier: tier(t), action: action(a), source: source(s) + sourceBenignList,
		score: *w.Score, generated: *w.Generated, rule: w.Rule, cacheTTL: *w.CacheTTL,
	}
	v.call(name)
	// The one visible sign of verdicts in another order than their names: a list's rule is a suffix of its name.
	if v.source.listed() && !isUnder(name, w.Rule) {
		return fmt.Errorf("rule %.80q of %s: expected a suffix of %.80q", w.Rule, v.source, name)
	}
	if len(w.Rule) > maxText {
		return fmt.Errorf("rule of %d octets, expected at most %d", len(w.Rule), maxText)
	}
	if len(w.Answers) > maxAnswers {
		return fmt.Errorf("%d answers, expected at most %d", len(w.Answers), maxAnswers)
	}
	if w.AnswerTTL > math.MaxInt32 { // a TTL has 31 bits (RFC 2181, section 8)
		return fmt.Errorf("answer_ttl %d, expected at most %d", w.AnswerTTL, math.MaxInt32)
	}
	to := &sinkhole{answerTTL: w.AnswerTTL}
	for _, text := range w.Answers {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return fmt.Errorf("answer %.60q: expected an IP address", text)
		}
		to.answers = append(to.answers, address.Unmap())
	}
	if v.action == localData && len(to.answers) == 0 {
		return fmt.Errorf("local-data without answers")
	}
	if len(to.answers) > 0 {
		v.sinkhole = to
	}
	return nil
}

func word(field string, words []string, given *string) (uint8, error) {
	if given == nil {
		return 0, fmt.Errorf("no %s", field)
	}
	i, ok := index(words, *given)
	if !ok {
		return 0, fmt.Errorf("%s %.40q: expected one of %v", field, *given, words)
	}
	return i, nil
}
