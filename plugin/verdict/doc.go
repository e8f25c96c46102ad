// Package verdict is a CoreDNS plugin that asks an inference cluster about every name before the answer leaves.
//
// A query's way: Handler.ServeDNS looks its normalised name up in the engine's cache. A hit is acted on at once. A
// miss is asked of the cluster, in a frame with other names, while the chain below looks the answer up; the verdict
// and the answer then meet within the deadline, or the query falls back.
//
// Parts: config and setup read the Corefile; name, wire and verdict are pure; cache, framer, endpoint and reporter
// make the engine, which equal stanzas share and which survives a reload; handler, capture, reply and targets are
// the DNS side.
package verdict
