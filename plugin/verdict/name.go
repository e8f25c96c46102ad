package verdict

import (
	"strings"
	"unsafe"
)

// maxNormal bounds a normalised name in octets: 255 on the wire, each escaped as \DDD.
const maxNormal = 1024

// normalise appends the contract's normal form of a name in the presentation form of package dns: lower case, no
// final dot, every octet that is not a letter, digit, '-' or '_' as \DDD, but '.' and '\' within a label as \. and
// \\. The root is ".". Equal names always give equal octets (verdicts/names.py states the same).
func normalise(dst []byte, name string) []byte {
	if name == "." || name == "" {
		return append(dst, '.')
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if i+1 < len(name) {
				dst = append(dst, '.')
			}
			continue
		case c == '\\' && i+1 < len(name):
			c, i = unescape(name, i)
		}
		dst = appendOctet(dst, c)
	}
	return dst
}

// verbatim is what a name of package dns can hold in its normal form as it stands.
var verbatim = func() (set [256]bool) {
	for c := range set {
		set[c] = c == '.' || len(appendOctet(nil, byte(c))) == 1 && appendOctet(nil, byte(c))[0] == byte(c)
	}
	return set
}()

// normal is the normal form of a name in the presentation form of package dns. Most names have it but for the final dot, and then
// it is a part of the name; else it is made in room, which must not be used again before the normal form was.
func normal(name string, room []byte) (form string, made bool) {
	last := len(name) - 1
	for i := range len(name) {
		if !verbatim[name[i]] {
			last = 0
			break
		}
	}
	if last > 0 && name[last] == '.' {
		return name[:last], false
	}
	room = normalise(room[:0], name)
	return unsafe.String(&room[0], len(room)), true
}

// unescape returns the octet that the escape at name[i] stands for and the index of the escape's last character.
func unescape(name string, i int) (byte, int) {
	if i+3 < len(name) && isDigit(name[i+1]) && isDigit(name[i+2]) && isDigit(name[i+3]) {
		return (name[i+1]-'0')*100 + (name[i+2]-'0')*10 + (name[i+3] - '0'), i + 3
	}
	return name[i+1], i + 1
}

func appendOctet(dst []byte, c byte) []byte {
	switch {
	case c >= 'a' && c <= 'z', isDigit(c), c == '-', c == '_':
		return append(dst, c)
	case c >= 'A' && c <= 'Z':
		return append(dst, c+'a'-'A')
	case c == '.' || c == '\\':
		return append(dst, '\\', c)
	}
	return append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isUnder tells whether a normalised name is the normalised zone or lies below it.
func isUnder(name, zone string) bool {
	if zone == "." || name == zone {
		return true
	}
	return strings.HasSuffix(name, zone) && isLabelStart(name, len(name)-len(zone))
}

// isLabelStart tells whether a label begins at name[i]: an unescaped dot stands before it.
func isLabelStart(name string, i int) bool {
	if i < 2 || name[i-1] != '.' {
		return false
	}
	escapes := 0
	for j := i - 2; j >= 0 && name[j] == '\\'; j-- {
		escapes++
	}
	return escapes%2 == 0
}

// anySuffix tells whether the normalised name or one of its parents, or the root, is in the set.
func anySuffix(name string, set map[string]struct{}) bool {
	if _, ok := set[name]; ok {
		return true
	}
	for i := 1; i < len(name); i++ {
		if name[i-1] != '.' || !isLabelStart(name, i) {
			continue
		}
		if _, ok := set[name[i:]]; ok {
			return true
		}
	}
	_, root := set["."]
	return root
}
