package verdict

import "github.com/coredns/coredns/plugin/ready"

var _ ready.Readiness = (*Handler)(nil)

// Ready implements ready.Readiness. A resolver that passes without verdicts is ready at once; one that must not is
// ready when the cluster has answered.
func (h *Handler) Ready() bool {
	return h.started.Load() && (!h.servfail || h.engine.answered.Load())
}
